# The demo, prediction by the commands, and input that must be refused.
session predict

demo() {
  use user; mkdir -p "$tmp/u"; cd "$tmp/u"
  timeout 1500 unet_demo --out demo | tee out.txt
  has demo/model.pth demo/training.png demo/predictions.png demo/output.png demo/results.json
  local s; s=$(score out.txt); [ -n "$s" ] || die 'the last line is not: mean IoU 0.xxx'
  say "mean IoU $s"; at_least "$s" 0.80 'mean IoU of the demo'
}
predict() {
  use user; cd "$tmp/u"; rm -rf p
  unet_predict --input "$tmp/t/folder/images/val_6.png" --model demo/model.pth --output p/one.png
  unet_predict --input "$tmp/t/folder/images" --model demo/model.pth --output p/all --mask --json --probs
  unet_predict --input "$tmp/t/folder/images/val_*.png" --model demo/model.pth --output p/some
  python "$tmp/src/script.py" --input "$tmp/t/folder/images/val_6.png" --model demo/model.pth --output p/script.png
  has p/one.png p/script.png p/all/results.json
  cmp p/one.png p/script.png
  python - <<'PY'
import json
from pathlib import Path
import numpy as np
from PIL import Image
ms = sorted(Path('p/all').glob('*_mask.png')); assert len(ms)==8, ms
m = np.array(Image.open(ms[0])); assert m.shape==(72,96) and m.dtype==np.uint8, (m.shape, m.dtype)
assert Image.open('p/one.png').size==(96,72)
assert isinstance(json.load(open('p/all/results.json')), list)
assert len([o for o in Path('p/some').glob('val_*') if o.suffix in ('.png','.jpg')])==2
PY
}
bad_input() {
  use user; cd "$tmp/t"
  local m=$tmp/u/demo/model.pth i=folder/images/val_6.png d=(--images folder/images --masks folder/masks)
  refuses nothere.png  o1     unet_predict --input nothere.png --model "$m" --output o1/a.png
  refuses cut.png      o2     unet_predict --input cut.png --model "$m" --output o2/a.png
  refuses empty        o3     unet_predict --input empty --model "$m" --output o3
  refuses 'none_*.png' o4     unet_predict --input 'folder/images/none_*.png' --model "$m" --output o4
  refuses nomodel.pth  o5     unet_predict --input "$i" --model nomodel.pth --output o5/a.png
  refuses evil.pth     o6     unet_predict --input "$i" --model evil.pth --output o6/a.png
  [ ! -e owned ] || die 'the model file ran code'
  refuses nowhere.pth  o7     unet_predict --input "$i" --model nowhere.pth --output o7/a.png
  refuses afile        afile/a.png unet_predict --input "$i" --model "$m" --output afile/a.png
  refuses nowhere      o8     unet_train --images nowhere --masks folder/masks --max_steps 1 --out o8/m.pth
  refuses .png         o9     unet_train --images misfit/images --masks misfit/masks --max_steps 1 --out o9/m.pth
  refuses nococo       o10    unet_train --coco nococo --max_steps 1 --out o10/m.pth
  refuses repository   o14    unet_bench --coco nowhere --out o14 # benchmarks/ is not in the wheel
  refuses starfish     o11    unet_train --coco coco --classes starfihs --max_steps 1 --out o11/m.pth
  refuses train_0.png  o13    unet_train --images folder/images --masks odd --max_steps 1 --out o13/m.pth
  refuses 'none_*'     o12    unet_train "${d[@]}" --valid 'none_*' --max_steps 1 --out o12/m.pth
  refuses afile        afile/m.pth unet_train "${d[@]}" --max_steps 1 --out afile/m.pth
}

step 'demo' after 'install for users' : demo
step 'predict' after 'demo' 'tiny data' : predict
step 'bad input is refused' after 'demo' 'tiny data' : bad_input
