# purpose: a damaged COCO file is read the same way whether it is small or large, or refused in the same words
# minutes: 10 for 20,000 files and 100,000 annotations, 1 with --quick (2,000 and 10,000)
# ci: yes
"""Damages COCO files and annotations at random: `python tests/stress/coco.py [--quick] [--files 20000] [--annotations 100000] [--seed 0]`

Files of several kinds are damaged in their bytes (tests/mutate.py) or in their values, and read twice: as usual, and as files above `LAZY_BYTES` are read, with their annotations as text,
cut at other places each time and now and then in several processes. Items, errors and notes must be the same. Nothing but a `DataError` may be raised, each of one line that can
be printed, and no image may come from outside of the data set. What was read is drawn, and written, read and written again without a change.

Single annotations are damaged, too: each either has a fault, or is drawn as a mask of its image's size with nothing in it but 0 and 1."""
import argparse, json, random, runpy, tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from unet_nbdev import coco, large
from unet_nbdev.coco import ann2mask, ann_ids, annotation_fault, anns2mask, read_coco, write_coco
from unet_nbdev.core import Codes, DataError
from unet_nbdev.faults import data_error
from unet_nbdev.images import write_image
from unet_nbdev.shapes import mask2rle, mask2segm, unpack_counts

mutate = SimpleNamespace(**runpy.run_path(str(Path(__file__).resolve().parents[1]/'mutate.py')))
ORDERS = [('images','annotations','categories'), ('annotations','images','categories'), ('info','categories','annotations','images')]

def outline(rng, h, w):
    "A segmentation of a random blob: polygons, run lengths, packed or not"
    msk = np.zeros((h, w), np.uint8)
    y,x = rng.randrange(h-3),rng.randrange(w-3)
    msk[y:y+rng.randint(3, h), x:x+rng.randint(3, w)] = 1
    how = rng.randrange(4)
    if how<2: return mask2segm(msk)
    rle = mask2rle(msk)
    if how==2: rle['counts'] = unpack_counts(rle['counts']).tolist()
    return rle

def annotation(rng, i, image):
    "A sound annotation"
    a = dict(id=i, image_id=image['id'], category_id=rng.choice((3, 8)), segmentation=outline(rng, image['height'], image['width']))
    a |= dict(iscrowd=int(rng.random()<.1), bbox=[1,1,5,5], area=25)
    if rng.random()<.1: a['note'] = rng.choice(['},{', '"}]', '\\"{', [{'a':1},{'b':[{}]}], '}, {"annotations": [{'])
    if rng.random()<.05: a['unet_layer'] = rng.random()
    if rng.random()<.05: a['unet_role'] = rng.choice(('ignore','background'))
    return a

def whole_file(rng):
    "A sound COCO file as a dict"
    images = [dict(id=i, file_name=f'{i}.png', height=16+i, width=24) for i in range(1, 5)]
    anns = [annotation(rng, i, rng.choice(images)) for i in range(1, rng.randint(2, 30))]
    d = dict(images=images, annotations=anns, categories=[dict(id=3, name='fish'), dict(id=8, name='plant')], info=dict(year=2026))
    kind = rng.randrange(6)
    if kind==0: d['licenses'] = [dict(id=1, url='')]
    if kind==1: # coordinates from 0 to 1
        for a in anns: a['segmentation'] = [[.1,.1, .6,.1, .6,.7]]
    if kind==2: anns.append(rng.choice([7, None, [], 'x', {}]))
    order = rng.choice(ORDERS)
    return {k:d[k] for k in [*order, *(o for o in d if o not in order)]}

def damaged_file(rng):
    "The bytes of a COCO file with one or a few faults"
    d = whole_file(rng)
    if rng.random()<.5: d = mutate.mutated_value(d, rng, rng.choice([(), ('annotations',), ('images',), ('categories',)]))
    try: raw = json.dumps(d, indent=rng.choice((None, 1)), ensure_ascii=rng.random()<.5).encode(errors='surrogatepass')
    except ValueError: return b'[]' # an integer of too many digits
    if rng.random()<.4: raw = mutate.mutated(raw, rng)
    if rng.random()<.05: raw = raw.rstrip()[:-1]+rng.choice([b',"annotations":[]}', b',"annotations":[{}]}', b',"images":[7]}', b',"\\u0061nnotations":[]}', b']}', b' x'])
    return raw

def outcome(file, imgs):
    "What reading a file gives, as text → (text, items or None)"
    try: items = read_coco(file, imgs, max_bad=1)
    except DataError as e: return f'refused: {e}',None
    said = [(o.id, str(o.img), o.sz, list(o.anns), o.split, o.extra) for o in items]
    meta = {k:v for k,v in items.meta.items()}
    return json.dumps([said, [str(e) for e in items.bad], items.notes, items.codes and items.codes.to_dict(), meta], default=str),items

def read_as_large(file, imgs, rng):
    "The same for a file that is read in parts"
    kept = coco.LAZY_BYTES,large.PIECE_BYTES,large.AnnotationText.parts.__defaults__
    coco.LAZY_BYTES,large.PIECE_BYTES = 0,300 if rng.random()<.02 else kept[1]
    large.AnnotationText.parts.__defaults__ = (rng.choice((1, 50, 200, 2**16)),)
    try: return outcome(file, imgs)
    finally: coco.LAZY_BYTES,large.PIECE_BYTES,large.AnnotationText.parts.__defaults__ = kept

def check_items(items, tmp):
    "Draw what was read, and write it, read it and write it again"
    for o in items:
        assert o.img.parent==tmp/'set'/'images', o.img
        assert anns2mask(o.anns, o.sz, items.codes).shape==o.sz
    try:
        one = write_coco(tmp/'one.json', items).read_bytes()
        again = read_coco(tmp/'one.json', tmp/'set'/'images', crowd='ignore', strict=True) # 'auto' may decide otherwise on fewer images
    except DataError as e: return one_line(e)
    two = write_coco(tmp/'two.json', again).read_bytes()
    assert two==one, f'{one[:3000]}\n\nwritten again: {two[:3000]}'

def one_line(e):
    "Assert that an error can be printed in one line"
    assert str(e).encode() and '\n' not in str(e), str(e)

def check_files(n, rng, tmp):
    "Read damaged files both ways → how many were read and refused"
    imgs,file = tmp/'set'/'images',tmp/'set'/'annotations'/'x.json'
    file.parent.mkdir(parents=True)
    for i in range(1, 5): write_image(imgs/f'{i}.png', np.zeros((16+i, 24), np.uint8))
    write_image(tmp/'a.png', np.zeros((20, 24), np.uint8))
    met = Counter()
    for k in range(n):
        file.write_bytes(damaged_file(rng))
        (small,items),(in_parts,_) = outcome(file, imgs),read_as_large(file, imgs, rng)
        assert small==in_parts, f'file {k}: {small[:2000]}\n\nas a large file: {in_parts[:2000]}\n\n{file.read_bytes()[:4000]}'
        if items is None: one_line(small)
        elif k%5==0: check_items(items, tmp)
        met['refused' if items is None else 'read with faults' if items.bad else 'read'] += 1
    return met

def check_annotations(n, rng):
    "Damage annotations → how many had each kind of fault"
    codes,met = Codes(['fish'], ids=[3]),Counter()
    for k in range(n):
        sz = rng.randint(4, 20),rng.randint(4, 20)
        a = dict(annotation(rng, 1, dict(id=7, height=sz[0], width=sz[1])), category_id=3)
        if k%3: a = mutate.mutated_value(a, rng, ('segmentation',))
        fault = annotation_fault(a, {7:sz}, {3}, {3})
        met[fault[0] if fault else 'drawn'] += 1
        if fault: one_line(data_error(*fault, ids=ann_ids(a, k)))
        else:
            msk,label = ann2mask(a, sz),anns2mask([a], sz, codes)
            assert msk.dtype==label.dtype==np.uint8 and msk.shape==label.shape==sz and msk.max()<=1, (k, a)
            assert np.array_equal(ann2mask(dict(segmentation=mask2segm(msk)), sz), msk), (k, a)
        try: ann2mask(a, sz) if isinstance(a, dict) else None
        except DataError as e: one_line(e)
    return met

if __name__=='__main__':
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument('--quick', action='store_true')
    ap.add_argument('--files', type=int)
    ap.add_argument('--annotations', type=int)
    ap.add_argument('--seed', type=int, default=0)
    args = ap.parse_args()
    n_files = args.files or (2000 if args.quick else 20_000)
    n_anns = args.annotations or (10_000 if args.quick else 100_000)
    kinds = check_annotations(n_anns, random.Random(args.seed))
    assert len(kinds)>7, kinds
    print(dict(kinds.most_common()))
    with tempfile.TemporaryDirectory() as d: met = check_files(n_files, random.Random(args.seed), Path(d).resolve())
    print(f'{n_files} damaged COCO files ({met["read"]} read, {met["read with faults"]} read with faults, {met["refused"]} refused) give the same small and large; '
          f'{n_anns} damaged annotations are drawn ({kinds["drawn"]}) or have a fault')
