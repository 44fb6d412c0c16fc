"""Break healthy data on purpose, one fault at a time

The notebooks `13_doctor` and `14_repair` use this to test whether every fault is named, and whether it is repaired.
Each table maps a family of faults (the kind, with a variant in brackets) to a function that causes one.
"""
import json, shutil
from pathlib import Path
import cv2, numpy as np
from PIL import Image
from unet_nbdev.core import Codes
from unet_nbdev.images import open_image, write_image
from unet_nbdev.coco import find_coco
from unet_nbdev.shapes import mask2rle
from unet_nbdev.masks import open_mask

def family_kind(family): # 'odd polygon' for 'odd polygon (long)'
    return family.split(' (')[0]

# %% Image files: functions of the file and its COCO entry

def quarter_turn(): # EXIF data that says: turn this picture by 90°
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif

def save_as(path, fmt, mode='RGB', **kwargs):
    with Image.open(path) as im: pixels = im.convert('RGB').convert(mode)
    pixels.save(path, fmt, **kwargs)

def rename(path, entry, suffix):
    entry['file_name'] = path.rename(path.with_suffix(suffix)).name

def cut_file(path, entry):
    path.write_bytes(path.read_bytes()[:-max(40, path.stat().st_size//3)])

def swap_format(path, entry):
    save_as(path, 'PNG' if path.suffix=='.jpg' else 'JPEG')

def turn(path, entry):
    save_as(path, 'JPEG' if path.suffix=='.jpg' else 'PNG', exif=quarter_turn())

def use_palette(path, entry):
    save_as(path, 'PNG', 'P')
    rename(path, entry, '.png')

def add_alpha(path, entry):
    save_as(path, 'PNG', 'RGBA')
    rename(path, entry, '.png')

def use_cmyk(path, entry):
    save_as(path, 'JPEG', 'CMYK')
    rename(path, entry, '.jpg')

def use_16_bit(path, entry):
    png = path.with_suffix('.png')
    cv2.imwrite(str(png), open_image(path).astype(np.uint16)*256)
    entry['file_name'] = png.name

FILE_FAULTS = {
    'empty file': lambda p,o: p.write_bytes(b''),
    'truncated image': cut_file,
    'unreadable image': lambda p,o: p.write_bytes(b'<html>404 not found</html>'),
    'missing file': lambda p,o: p.unlink(),
    'wrong suffix': swap_format,
    'exif orientation': turn,
    'palette image': use_palette,
    'alpha channel': add_alpha,
    'cmyk image': use_cmyk,
    '16-bit image': use_16_bit,
    'size mismatch': lambda p,o: write_image(p, open_image(p)[:-3]),
    'blank image': lambda p,o: write_image(p, open_image(p)*0+90),
}

# %% Image entries: functions of the JSON and an entry; they return the image id that must be named

def drop_height(d, entry):
    del entry['height']
    return entry['id']

def list_again(d, entry, **changes):
    d['images'].append(entry | changes)
    return d['images'][-1]['id']

ENTRY_FAULTS = {
    'image entry': drop_height,
    'duplicate image id': list_again,
    'duplicate file name': lambda d,o: list_again(d, o, id=o['id']+10**6),
}

# %% Annotations: functions of the JSON, an annotation with one polygon, and the size of its image

def polygon(a): return a['segmentation'][0]

def use_rle(a, sz, **changes): # an RLE that fits, apart from the changes
    a['segmentation'] = dict(size=list(sz), counts=[0, 99, sz[0]*sz[1]-99]) | changes

def cut_rle(d, a, sz):
    whole = mask2rle(np.eye(*sz, dtype=np.uint8))['counts']
    use_rle(a, sz, counts=whole[:-1]+'o')

def reach_outside(d, a, sz):
    a.update(segmentation=[[-9,0,12,0,12,12,-9,12]], bbox=[-9,0,21,12], area=252)

def same_id(d, a, sz):
    other = dict(a, segmentation=[[2,2,30,2,30,30]], area=392, bbox=[2,2,28,28])
    d['annotations'].insert(0, other)

ANNOTATION_FAULTS = {
    'annotation entry': lambda d,a,sz: d['annotations'].append([a['id']]),
    'unknown image': lambda d,a,sz: a.update(image_id=987654321),
    'unknown image (text)': lambda d,a,sz: a.update(image_id=str(a['image_id'])),
    'unknown category': lambda d,a,sz: a.update(category_id=4711),
    'no segmentation': lambda d,a,sz: a.update(segmentation=[]),
    'no segmentation (none)': lambda d,a,sz: a.pop('segmentation'),
    'flat polygon': lambda d,a,sz: a.update(segmentation=polygon(a)),
    'short polygon': lambda d,a,sz: a.update(segmentation=[[3,3,9,9]]),
    'short polygon (part)': lambda d,a,sz: a['segmentation'].append([1,2,3,4]),
    'odd polygon': lambda d,a,sz: polygon(a).append(5),
    'non-finite polygon': lambda d,a,sz: polygon(a).__setitem__(2, float('nan')),
    'non-finite polygon (inf)': lambda d,a,sz: polygon(a).__setitem__(3, float('inf')),
    'not a number': lambda d,a,sz: polygon(a).__setitem__(1, 'x'),
    'far polygon': lambda d,a,sz: polygon(a).__setitem__(0, 1e7),
    'outside polygon': reach_outside,
    'normalised polygon': lambda d,a,sz: a.update(segmentation=[[.1,.1,.6,.1,.6,.7]]),
    'rle size': lambda d,a,sz: use_rle(a, sz, size=[sz[0]+1, sz[1]]),
    'rle length': lambda d,a,sz: use_rle(a, sz, counts=[5,20]),
    'rle corrupt': lambda d,a,sz: use_rle(a, sz, counts='ÿÿ<~'),
    'rle corrupt (cut)': cut_rle,
    'no pixels': lambda d,a,sz: a.update(segmentation=[[5,5,5,5,5,5]]),
    'area': lambda d,a,sz: a.update(area=a['area']*4+100),
    'bbox': lambda d,a,sz: a.update(bbox=[a['bbox'][0]+15, *a['bbox'][1:]]),
    'bbox (form)': lambda d,a,sz: a.update(bbox=[1,2,3]),
    'duplicate annotation id': same_id,
    'duplicate annotation': lambda d,a,sz: d['annotations'].insert(0, dict(a, id=a['id']+10**9)),
}

N_COCO_FAMILIES = len(FILE_FAULTS)+len(ENTRY_FAULTS)+len(ANNOTATION_FAULTS)

# %% A whole COCO data set

def copy_coco(root, folder): # → (the JSON as dict, its path, its image folder) of a copy that may be broken
    shutil.copytree(root, folder)
    file,img_dir,_ = find_coco(folder)[0]
    return json.loads(file.read_bytes()),file,Path(img_dir)

def plant_coco(d, img_dir, rng, n): # `n` faults of each family → [(family, kind, ('image' or 'annotation', id))] that must be named
    by_image = {o['id']:[] for o in d['images']}
    for a in d['annotations']:
        if len(a['segmentation'])==1 and a['area']>60: by_image[a['image_id']].append(a)
    order = [d['images'][k] for k in rng.permutation(len(d['images']))]
    entries = [o for o in order if by_image[o['id']]]
    planted = []
    for family in [*FILE_FAULTS, *ENTRY_FAULTS, *ANNOTATION_FAULTS]*n:
        entry = entries.pop()
        who = plant_one(family, d, img_dir, entry, by_image[entry['id']][0])
        planted.append((family, family_kind(family), who))
    return planted

def plant_one(family, d, img_dir, entry, ann): # → ('image' or 'annotation', the id that must be named)
    if family in FILE_FAULTS:
        FILE_FAULTS[family](img_dir/entry['file_name'], entry)
        return 'image',entry['id']
    if family in ENTRY_FAULTS: return 'image',ENTRY_FAULTS[family](d, entry)
    who = 'annotation',ann['id']
    ANNOTATION_FAULTS[family](d, ann, (entry['height'], entry['width']))
    return who

def is_named(report, kind, who): # does the report name this fault by its kind and its id?
    without_id = kind in ('annotation entry','unknown image')
    return any(f.kind==kind and (without_id or f.ids.get(who[0])==who[1]) for f in report.findings)

def tally(report, planted): # {family: (planted, found)}
    counts = {}
    for family,kind,who in planted:
        n,found = counts.get(family, (0,0))
        counts[family] = n+1,found+is_named(report, kind, who)
    return counts

# %% Folders of masks of 0 and 255: functions of the image and the mask

def remake_mask(path, f): # replace a mask by what `f` makes of its labels, 0 and 1
    labels = open_mask(path, Codes(['x'], [255]))
    write_image(path, f(labels).astype(np.uint8))

def copy_pair(img, msk):
    for path in (img, msk): shutil.copyfile(path, path.with_stem(path.stem+'b'))

MASK_FAULTS = {
    'empty file': lambda i,m: m.write_bytes(b''),
    'truncated image': lambda i,m: i.write_bytes(i.read_bytes()[:-200]),
    'truncated image (mask)': lambda i,m: m.write_bytes(m.read_bytes()[:m.stat().st_size//2]),
    'mask size': lambda i,m: remake_mask(m, lambda a: a[:-2]*255),
    'mixed 0/255': lambda i,m: remake_mask(m, lambda a: a),
    'soft mask': lambda i,m: remake_mask(m, lambda a: cv2.GaussianBlur(a*255, (5,5), 0)),
    'mask values': lambda i,m: remake_mask(m, lambda a: a*7),
    'full mask': lambda i,m: remake_mask(m, lambda a: a*0+255),
    'empty mask': lambda i,m: remake_mask(m, lambda a: a*0),
    'no mask': lambda i,m: m.unlink(),
    'no image': lambda i,m: i.unlink(),
    'duplicate picture': copy_pair,
}

def plant_masks(folder, truth, n): # `n` faults of each family in folder/images and folder/masks → [(family, image)]
    imgs = [o for o in sorted((folder/'images').iterdir()) if truth[o.stem].any()]
    families = [name for name in MASK_FAULTS for _ in range(n)]
    planted = list(zip(families, imgs))
    for name,img in planted: MASK_FAULTS[name](img, folder/'masks'/(img.stem+'.png'))
    return planted
