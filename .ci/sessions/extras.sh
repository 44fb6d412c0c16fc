# What needs optional packages: the README's recipes, and prediction where there is no torch.
session extras

extras_install() { use user; pip install -q "$(echo "$tmp"/wheel/*.whl)[tiff,medical,onnx,openvino,tune]"; }
recipes() { # one by one as they stand, with shorter times
  use user; rm -rf "$tmp/r"; mkdir "$tmp/r"; cd "$tmp/r"
  cp -r "$tmp/t/folder" my_data; cp -r "$tmp/t/folder/images" photos; cp -r "$tmp/t/folder/masks" masks
  local d f; for d in images masks; do mkdir -p "more/$d"; for f in "$tmp/t/folder/$d"/*; do cp "$f" "more/$d"; cp "$f" "more/$d/too_${f##*/}"; done; done
  mkdir new_photos; cp photos/val_* new_photos
  python "$top/.ci/recipes.py" "$top/README.md"
}
torch_free() { # an exported model where there is no torch: the wheel alone, and the few packages that predicting needs
  use user; cd "$tmp/u"
  unet_calibrate --model demo/model.pth --coco demo/data --out demo/calibrated.pth
  unet_export --model demo/calibrated.pth --out demo/model.onnx
  unet_predict --model demo/model.pth --precision fp32 --input "$tmp/t/folder/images" --output with --mask
  venv bare
  pip install --no-deps "$tmp"/wheel/*.whl; pip install numpy opencv-python-headless pillow fastcore pycocotools tifffile onnxruntime matplotlib
  if python -c 'import torch' 2>/dev/null; then die 'torch is there'; fi
  unet_predict --model demo/model.onnx --input "$tmp/t/folder/images" --output without --mask --objects --cover 0.9
  has without/objects.csv without/val_6_cover.png
  python - <<'PY'
from pathlib import Path
import numpy as np
from PIL import Image
same = [(np.array(Image.open(f))==np.array(Image.open(Path('without')/f.name))).mean() for f in sorted(Path('with').glob('*_mask.png'))]
assert len(same)==8 and min(same)>.999, same
PY
}

step 'install extras' after 'install for users' : extras_install
step 'recipes of the README' after 'install extras' 'tiny data' : recipes
step 'predict without torch' after 'install extras' 'demo' 'tiny data' : torch_free
