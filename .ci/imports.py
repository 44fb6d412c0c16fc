"What modules load when they are imported, in the environment that this runs in: `python .ci/imports.py`"
import subprocess, sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'tests'))
from house import NO_FASTAI, NO_TORCH_AT_TOP, is_light, module_order

def loads(code, *never):
    "Run code in a new process → True if it fails or loads one of the modules"
    src = f'import sys; {code}; print(*[m for m in {never!r} if m in sys.modules])'
    run = subprocess.run([sys.executable, '-c', src], capture_output=True, text=True)
    found = run.stderr[-800:] if run.returncode else run.stdout.strip()
    print(code, '→', found or 'ok')
    return bool(found)

order = module_order(Path(__file__).resolve().parent.parent/'nbs')
bad = loads('import unet_nbdev', 'torch', 'fastai', 'numpy', 'cv2', 'matplotlib')
for m in order:
    if is_light(m, order) or m in NO_TORCH_AT_TOP: bad |= loads(f'import unet_nbdev.{m}', 'torch', 'fastai')
    elif m in NO_FASTAI: bad |= loads(f'import unet_nbdev.{m}', 'fastai', 'torchvision')
bad |= loads('from unet_nbdev.all import *; UNet, Segmenter, read_items, seg_learner, PostProcess')
sys.exit(bad)
