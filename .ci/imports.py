"What modules load when they are imported, in the environment that this runs in: `python .ci/imports.py`"
import subprocess, sys
from pathlib import Path
top = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(top/'tests'))
from house import NO_FASTAI, NO_TORCH_AT_TOP, is_light, module_order

CHECK = '''import importlib, sys
for m in {names!r}:
    importlib.import_module(m)
    loaded = [o for o in {never!r} if o in sys.modules]
    print(m, '→', *loaded or ['ok'], flush=True)
    if loaded: sys.exit(1)
'''

def loads(names, *never):
    "Import modules one after the other in a new process → True if one fails, or is the first that loads one of `never`"
    run = subprocess.run([sys.executable, '-c', CHECK.format(names=names, never=never)], capture_output=True, text=True)
    print(run.stdout, run.stderr[-800:], sep='')
    return run.returncode!=0

order = module_order(top/'nbs')
light = [f'unet_nbdev.{m}' for m in order if is_light(m, order) or m in NO_TORCH_AT_TOP]
torch_only = [f'unet_nbdev.{m}' for m in order if m in NO_FASTAI and not is_light(m, order)]
bad = loads(['unet_nbdev'], 'torch', 'fastai', 'numpy', 'cv2', 'matplotlib')
bad |= loads(light, 'torch', 'fastai')
bad |= loads(torch_only, 'fastai', 'torchvision')
everything = 'from unet_nbdev.all import *; UNet, Segmenter, read_items, seg_learner, PostProcess'
bad |= subprocess.run([sys.executable, '-c', everything]).returncode!=0
sys.exit(bad)
