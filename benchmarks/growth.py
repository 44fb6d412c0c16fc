"""Sweeps: how cost grows, ours alone

A pipeline that is quick on a small set and hopeless on a large one has a square in it somewhere. Four sweeps: seconds over images in a json,
pixels of a picture, classes of a score, objects in a mask. The exponent is the slope of log over log: 1 is linear, 0 is free."""
import json
import numpy as np
from unet_nbdev.core import write_json
from benchmarks.measure import median_seconds
from benchmarks.prediction import lite0_checkpoint, window
from benchmarks.registry import contender
from benchmarks.scoring import clean_ours, confusion, dotted_mask, mask_pairs

def sweep(call, inputs, reps=1):
    "Seconds of `call` for each (size, input)"
    return dict(points=[(size, median_seconds(lambda: call(x), reps)) for size,x in inputs])

def exponent(points)->float:
    "Slope in logarithms, over the larger half of the sizes: fixed costs flatten the small ones"
    x,y = np.log(points[-(len(points)//2+1):]).T
    return round(float(np.polyfit(x, y, 1)[0]), 2)+0. # 0 and not -0

@contender('read a COCO json', 'coco big')
def grow_images(job):
    from unet_nbdev.coco import read_coco
    coco = json.loads((job.work/'big'/'annotations'/'instances_train.json').read_text(encoding='utf-8'))
    def first_images(n):
        f = job.out/f'{n}.json'
        anns = [ann for ann in coco['annotations'] if ann['image_id']<=n]
        write_json(f, {**coco, 'images':coco['images'][:n], 'annotations':anns}, indent=None)
        return n,f
    sizes = sorted({max(1, job.big//10**k) for k in range(4)})
    return sweep(lambda f: read_coco(f, job.work/'big'/'train'), [first_images(n) for n in sizes])

@contender('segment a picture', 'large lite0')
def grow_pixels(job):
    from unet_nbdev.inference import Segmenter
    img = np.load(job.work/'large.npy')
    seg = Segmenter(lite0_checkpoint(job), 'cpu', win=window(job), max_values=0)
    sides = [job.side//k for k in (8,4,2,1)]
    return sweep(lambda n: seg(img[:n,:n]), [(n*n, n) for n in sides])

@contender('score masks')
def grow_classes(job):
    inputs = [(n, (n, list(mask_pairs(n, 2)))) for n in (10,30,90,250)]
    return sweep(lambda a: confusion(*a, max(1, job.n_masks//4)), inputs, job.reps)

@contender('clean and outline objects')
def grow_objects(job):
    counts = [job.objects//k for k in (10,5,2,1)]
    return sweep(clean_ours, [(n, dotted_mask(job.mask, n, job.objects)) for n in counts], job.reps)
