"""Contenders: cleaning a mask, and scoring masks

A mask with 2,000 objects of three classes, with specks and holes: holes are filled, threads cut, specks dropped, objects counted and outlined.
scikit-image is used twice: as its users do, who ask for the contours of each object's mask, and as well as it can be, with each outline taken
from the object's own box. Scores are the confusion table and what follows from it: Dice, IoU, precision and recall per class, their means,
accuracy."""
import cv2, numpy as np
from unet_nbdev.core import IGNORE, Codes
from unet_nbdev.images import write_image
from benchmarks.measure import median_seconds
from benchmarks.registry import contender

HOLE,SPECK = 64,20 # square pixels
N_CLS = 81

# ── cleaning ─────────────────────────────────────────────────────────────────────────────────────
def dotted_mask(side, n, room=None, seed=0): # → (side,side) uint8
    "Draw `n` discs, some with a hole, and specks; `room`: number of discs that the grid is made for"
    rng = np.random.default_rng(seed)
    msk = np.zeros((side,side), np.uint8)
    per_row = int(np.ceil((room or n)**.5))
    cell = side/per_row
    for i in range(n):
        centre = int((i%per_row+.5)*cell),int((i//per_row+.5)*cell)
        r = max(3, int(cell*rng.uniform(.22, .38)))
        cv2.circle(msk, centre, r, int(rng.integers(1, 4)), -1)
        if i%3==0: cv2.circle(msk, centre, max(1, r//5), 0, -1)
        y,x = (int(v) for v in rng.integers(0, side-2, 2))
        if not msk[max(0, y-2):y+4, max(0, x-2):x+4].any(): msk[y:y+2,x:x+2] = 1
    return msk

def clean_ours(msk):
    "Clean and outline with unet_nbdev → mask, COCO objects"
    from unet_nbdev.postprocessing import clean_mask, to_coco
    out = clean_mask(msk, open=1, fill_holes=HOLE, min_size=SPECK)
    return out,to_coco(out, Codes(['a','b','c']), 1)

def outlines(msk, offset):
    from skimage.measure import find_contours
    return [(c[:,::-1]+offset).ravel().tolist() for c in find_contours(msk, .5)]

def whole_outlines(region, labels):
    "What people write: each object as a mask of the whole picture"
    return outlines(labels==region.label, (0,0))

def boxed_outlines(region, labels):
    "With care: each object within its box"
    return outlines(np.pad(region.image, 1), (region.bbox[1]-1, region.bbox[0]-1))

def clean_skimage(msk, object_outlines):
    "Clean and outline with scikit-image → mask, COCO objects"
    from skimage import measure, morphology as mo
    out = np.zeros_like(msk)
    objects = []
    for k in np.unique(msk[msk>0]):
        m = mo.opening(mo.remove_small_holes(msk==k, max_size=HOLE), mo.disk(1))
        m = mo.remove_small_holes(mo.remove_small_objects(m, max_size=SPECK-1, connectivity=2), max_size=HOLE)
        out[m] = k
        labels = measure.label(m, connectivity=2)
        for region in measure.regionprops(labels):
            y,x,bottom,right = region.bbox
            objects.append(dict(category_id=int(k), bbox=[x, y, right-x, bottom-y], area=int(region.area),
                                segmentation=object_outlines(region, labels)))
    return out,objects

def cleaning_rate(job, clean, reps):
    msk = dotted_mask(job.mask, job.objects)
    out,objects = clean(msk)
    write_image(job.out/'clean.png', out)
    return dict(rate=1/median_seconds(lambda: clean(msk), reps, 0), work=('copy', msk.nbytes/1e9), objects=len(objects))

@contender('unet_nbdev')
def post_ours(job): return cleaning_rate(job, clean_ours, job.reps)

@contender('scikit-image, a mask of the whole picture for each object')
def post_skimage(job): return cleaning_rate(job, lambda msk: clean_skimage(msk, whole_outlines), 1)

@contender('scikit-image, each object in its box')
def post_cropped(job): return cleaning_rate(job, lambda msk: clean_skimage(msk, boxed_outlines), job.reps)

# ── scoring ──────────────────────────────────────────────────────────────────────────────────────
def mask_pairs(n_cls, n=16, side=512):
    "Yield (truth, prediction): blocks of classes, with a tenth of the pixels redrawn"
    rng = np.random.default_rng(0)
    for _ in range(n):
        truth = np.kron(rng.integers(0, n_cls, (16,16)), np.ones((side//16,)*2)).astype(np.uint8)
        wrong = rng.random(truth.shape)<.1
        yield truth,np.where(wrong, rng.integers(0, n_cls, truth.shape), truth).astype(np.uint8)

def confusion(n_cls, pairs, n):
    "Score `n` masks, the same few in turn, with unet_nbdev; compute every score"
    from unet_nbdev.metrics import Confusion
    c = Confusion(n_cls)
    for k in range(n):
        truth,pred = pairs[k%len(pairs)]
        c.update(pred, truth)
    c.rows()
    for name in ('dice','iou','precision','recall'): c.mean(name)
    c.accuracy()
    return c

@contender('unet_nbdev')
def metrics_ours(job):
    pairs = list(mask_pairs(N_CLS))
    np.save(job.out/'iou.npy', confusion(N_CLS, pairs, 16).iou())
    secs = median_seconds(lambda: confusion(N_CLS, pairs, job.n_masks), 1, 0)
    return dict(rate=job.n_masks/secs, work=('copy', 2*512*512/1e9))

def torch_metrics():
    "The same scores as a collection of torchmetrics"
    import torchmetrics.classification as tc
    from torchmetrics import MetricCollection
    same = dict(num_classes=N_CLS, ignore_index=IGNORE)
    metrics = dict(ConfusionMatrix=tc.MulticlassConfusionMatrix(**same))
    for name in ('JaccardIndex','F1Score','Precision','Recall'):
        metrics[name] = getattr(tc, f'Multiclass{name}')(**same, average='none')
    metrics['Accuracy'] = tc.MulticlassAccuracy(**same, average='micro')
    return MetricCollection(metrics)

@contender('torchmetrics')
def metrics_torch(job):
    import torch
    metrics = torch_metrics()
    pairs = [tuple(torch.from_numpy(msk.astype(np.int64))[None] for msk in pair) for pair in mask_pairs(N_CLS)]
    def score(n):
        metrics.reset()
        for k in range(n):
            truth,pred = pairs[k%len(pairs)]
            metrics.update(pred, truth)
        return metrics.compute()
    np.save(job.out/'iou.npy', score(16)['JaccardIndex'].numpy())
    secs = median_seconds(lambda: score(job.n_masks), 1, 0)
    return dict(rate=job.n_masks/secs, work=('copy', 2*512*512/1e9))
