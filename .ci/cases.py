"""Make the inputs of the cases and read them with no option but the folder: python .ci/cases.py ../shared/cases

A case is a script that makes data as people have it. Here it is only asked to make them; what must come out is said below."""
import contextlib, io, re, runpy, sys
from pathlib import Path
import numpy as np
from unet_nbdev.core import DataError
from unet_nbdev.images import open_image
from unet_nbdev.items import item2mask, read_items

CASES = Path(sys.argv[1]).resolve()
passed,failed = [],[]

def check(name, ok, said=''):
    "Note whether an expectation holds"
    (passed if ok else failed).append(name)
    if not ok: print(f'FAILED {name}: {said}')

def make(name):
    "Make the inputs of a case; gives its names, `D` (the folder) and `truth` among them"
    sys.argv[:] = [f'{name}.py']
    sys.modules.pop('kit', None)
    with contextlib.redirect_stdout(io.StringIO()): return runpy.run_path(str(CASES/f'{name}.py'), run_name='case')

def read(root, **options):
    "Items of a folder, or the error"
    try: return read_items(root, quiet=True, **options)
    except DataError as e: return e

def number(item): return int(re.findall('[0-9]+', item.img.stem.removesuffix('_0000'))[-1])

def labels_right(name, root, truth, n, key=number, **options):
    "Is each label map the square that the case has drawn?"
    items = read(root, **options)
    if isinstance(items, DataError): return check(name, False, items)
    wrong = [o.img.name for o in items if not np.array_equal(item2mask(o, items.codes)>0, truth(key(o))>0)]
    check(name, len(items)==n and not wrong, f'{items}, wrong: {wrong[:3]}')

def squares():
    "Binary sets, whatever stores them"
    g = make('cvat_crowd')
    labels_right('cvat_crowd', g['D'], g['truth'], 10)
    g = make('voc_labelme2voc')
    labels_right('voc_labelme2voc', g['D'], g['truth'], 6)
    labels_right('voc_labelme2voc, names', g['D'], g['truth'], 6, names='_background_,cell')
    g = make('prefix')
    for n in g['forms']: labels_right(f'prefix {n}', g['D']/n, g['truth'], 6)
    g = make('split_names')
    labels_right('split_names', g['D'], g['truth'], 18)
    g = make('stack')
    check('stack', len(read(g['D']))==30)
    g = make('stack2')
    items = read(g['D'])
    check('stack2', len(items)==15 and len({o.group for o in items})==3, items)

def mask_files():
    "One binary truth in the ways that programs store masks"
    g = make('pixels_masks')
    refused = {'onehot_npy','npz'} # may be refused, but not misread
    for n,write in g['V'].items():
        for k in range(6):
            g['pic'](g['D']/n/f'images/a{k}.png', g['truth'](k), seed=k)
            write(n, k, g['truth'](k))
        items = read(g['D']/n)
        if isinstance(items, DataError): check(f'pixels_masks {n}', n in refused|{'inverted','mixed_dtype'}, items)
        elif n=='inverted': check(n, len(items)==6) # nothing in the files says which of the two is the object
        else:
            off = [np.mean((item2mask(o, items.codes)>0)!=g['truth'](number(o))) for o in items]
            check(f'pixels_masks {n}', max(off)<.02, off)

def names():
    "Names of classes"
    g = make('names_shift')
    for first in ('background','unlabeled','_background_','void','other','Background','bg','0'):
        items = read(g['D'], names=f'{first},car,road')
        check(f'names_shift {first}', getattr(items, 'codes', None) and dict(zip(items.codes.names, items.codes.ids))==dict(car=1, road=2), items)
    g = make('colour_names')
    items = read(g['D'])
    check('colour_names', dict(zip(items.codes.names, items.codes.ids))==dict(car=(250,50,83), road=(128,64,128)), items)
    g = make('instances')
    items = read(g['D'])
    check('instances', len(items.codes.names)==1, items)
    g = make('cvat_mixed_tools')
    items = read(g['D'])
    check('cvat_mixed_tools', set(np.unique(item2mask(items[0], items.codes)))=={0,1,2}, items)

def coco():
    "One COCO set in the ways that tools write it"
    g = make('coco_variants')
    for n,options in g['V'].items():
        items = read(g['make'](n, **options))
        if isinstance(items, DataError):
            print(f'coco_variants {n}: refused: {str(items)[:160]}')
            continue
        cell = items.codes.idx('cell')
        wrong = [o.img.name for o in items if not np.array_equal(item2mask(o, items.codes)==cell, g['truth'](number(o))>0)
                 and not (item2mask(o, items.codes)==255).any()]
        check(f'coco_variants {n}', not wrong, wrong)

def pixels():
    "Pixels as stored"
    g = make('geo')
    for n,(c,dtype,planar) in g['I'].items():
        f = g['D']/n/'a.tif'
        g['tif'](f, g['img'](2, c, dtype), planar)
        check(f'geo {n}', np.array_equal(open_image(f).reshape(64, 64, c), g['img'](2, c, dtype)))
    g = make('exif180')
    for n in ('wide3','square6','tall6'):
        items = read(g['D']/n)
        for how,sz in (('training',True), ('prediction',False)):
            on = [(open_image(o.img, o.sz if sz else None)[...,0][item2mask(o, items.codes)>0]>90).mean() for o in items]
            check(f'exif180 {n}, {how}', min(on)>.99, on)

if __name__=='__main__':
    sys.path.insert(0, str(CASES))
    for group in (squares, mask_files, names, coco, pixels): group()
    print(f'{len(passed)} expectations hold, {len(failed)} do not')
    sys.exit(bool(failed))
