"Read real data sets with no option but the folder, and compare what comes out with the files: python .ci/real.py ../shared/data"
import sys
from pathlib import Path
import numpy as np
from PIL import Image
from unet_nbdev.items import item2mask, read_items

ROOT = Path(sys.argv[1])

def stored(item): # the mask file as Pillow reads it
    return np.asarray(Image.open(item.msk).convert('L')).astype(int)

def nearest(values): # function of an item: index of the nearest of these values
    def expected(item): return np.abs(stored(item)[...,None]-np.array(values)).argmin(-1)
    return expected

def check_masks(name, n, values, equal=1.):
    "Compare every label map with the nearest of the values that the set is known to hold"
    items = read_items(images=ROOT/name/'images', masks=ROOT/name/'masks')
    expected = nearest(values)
    same = [np.mean(item2mask(o, items.codes)==expected(o)) for o in items]
    assert len(items)==n and not items.bad, (name, items, items.bad[:2])
    assert len(items.codes.names)==len(values)-1, (name, items.codes)
    assert min(same)>=equal, (name, min(same))
    print(f'{name}: {items}; at least {min(same):.2%} of the pixels of each mask as stored')

def check_outlines(name, n_train, n_valid, names, n_objects):
    "Count images, classes and outlines"
    items = read_items(ROOT/name)
    objects = sum(not a.get('unet_role') for o in items for a in o.anns)
    assert (len(items.train), len(items.valid))==(n_train, n_valid), (name, items)
    assert items.codes.names==names, (name, items.codes.names)
    assert objects==n_objects and not items.bad, (name, objects, items.bad[:2])
    print(f'{name}: {items}; {objects} outlines')

if __name__=='__main__':
    check_masks('wbc', 84, [0,128,255])
    check_masks('tiles', 100, [0,255], .98)
    check_masks('roads', 22, [0,235], .98)
    check_masks('nuclei', 128, [0,255])
    check_masks('membrane', 25, [0,255])
    check_outlines('kudzu', 24, 16, ['kudzu'], 869)
    facade = 'balcony-fence,car,facade,fence,non-building-infrastructure,shop,street,traffic-infrastructure,vegetation,window'
    check_outlines('facade', 28, 8, facade.split(','), 1259)
