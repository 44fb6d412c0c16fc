"Run the recipes of README.md one by one as they stand, with shorter times, in the current folder: `python .ci/recipes.py README.md`"
import re, subprocess, sys
from pathlib import Path
import numpy as np, tifffile
from unet_nbdev.all import open_image, synth_coco, write_image
from unet_nbdev.core import write_text

# what the recipes find: the rest of the data is there already, see .ci/sessions/extras.sh
synth_coco('coco2017', n=12, sz=96, seed=1)
for f in Path('coco2017').rglob('*.json'): write_text(f, f.read_text().replace('"pebble"', '"person"'))
img = open_image('photos/val_6.png')
write_image('photo.jpg', img)
write_image('cells.png', img)
tifffile.imwrite('scene.tif', np.tile(img, (5,4,1)), tile=(64,64), photometric='rgb')

text = Path(sys.argv[1]).read_text(encoding='utf-8').split('## Your own data')[1].split('## Benchmarks')[0]
SHORTER = [('max_minutes=10','max_minutes=.2'), ('max_minutes 10','max_minutes .2'), ('max_hours 16','max_hours .006'),
           ('session_hours 11 ','session_hours .004 '), ('session_hours 11','session_hours .05')]
for long,short in SHORTER:
    assert long in text, long
    text = text.replace(long, short)

LEAVES = [['models/mine/best.pth'], ['models/mine.pth','drawn/val_6_mask.png','drawn/annotations.json'], ['mask.png'], ['cells.csv'],
          ['drawn/val_6_cover.png'], ['models/mine.onnx'], ['models/person.pth']]
blocks = re.findall(r'^```(python|bash)\n(.*?)^```', text, re.M|re.S)
assert len(blocks)==len(LEAVES), len(blocks)
for (kind,code),files in zip(blocks, LEAVES):
    print('──', code, sep='\n', flush=True)
    if kind=='python' and 'import' not in code: code = 'from unet_nbdev.all import *\n'+code # the first recipe has it
    subprocess.run([sys.executable, '-c', code] if kind=='python' else ['bash', '-ec', code], check=True)
    for f in files: assert Path(f).exists(), f
assert open_image('mask.png').shape==(360,384)
