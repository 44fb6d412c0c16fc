"Run the Python code of CONTRIBUTING.md in one go, in the current folder: `python .ci/guide.py CONTRIBUTING.md`"
import json, re, sys
from pathlib import Path

blocks = re.findall(r'^```python\n(.*?)^```', Path(sys.argv[1]).read_text(encoding='utf-8'), re.M|re.S)
assert len(blocks)>=3, len(blocks)
for block in blocks: exec(block)

# the reader of the last recipe reads
from unet_nbdev.all import read_items, item2mask, write_image, np
Path('boxes').mkdir()
write_image('boxes/a.png', np.zeros((20,30,3), np.uint8))
Path('boxes/a.boxes.json').write_text(json.dumps([[2,3,10,5]]))
items = read_items('boxes')
assert item2mask(items[0], items.codes).sum()==50
