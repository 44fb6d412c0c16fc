"Write small data sets for the steps of .ci/run into the current folder, whole ones and some that are broken in one way each"
import json, shutil
from pathlib import Path
import numpy as np, torch
from PIL import Image
from unet_nbdev.synth import synth_coco

rng = np.random.default_rng(0)
yy,xx = np.mgrid[:72,:96]

def write_pair(root, name, mask_size=(72,96)):
    "An image with a bright disc, and its mask 0/255"
    y,x,r = rng.integers(20,50),rng.integers(24,72),rng.integers(8,18)
    disc = (yy-y)**2+(xx-x)**2 <= r*r
    img = (60+120*disc[...,None]+rng.normal(0, 20, (72,96,3))).clip(0,255).astype(np.uint8)
    msk = disc[:mask_size[0],:mask_size[1]].astype(np.uint8)*255
    for folder,pixels in (('images',img), ('masks',msk)):
        (root/folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root/folder/f'{name}.png')

class Evil:
    "Opened carelessly, it creates the file `owned`"
    def __reduce__(self): return (Path.touch, (Path('owned'),))

synth_coco('coco', n=8, sz=64)
for root,mask_size in (('folder',(72,96)), ('misfit',(60,60))):
    for i in range(8): write_pair(Path(root), f'{"val" if i>5 else "train"}_{i}', mask_size)
Path('cut.png').write_bytes(Path('folder/images/val_6.png').read_bytes()[:300])
Path('nomodel.pth').write_text('this is no model')
torch.save(dict(model=Evil()), 'evil.pth')
Path('nococo/annotations').mkdir(parents=True)
Path('nococo/annotations/instances_train2017.json').write_text(json.dumps([1,2]))
Path('empty').mkdir()
Path('afile').write_text('x')
shutil.copytree('folder/masks', 'odd')
Image.fromarray(np.full((72,96), 7, np.uint8)).save('odd/train_0.png')
