"""Contenders: from annotations to augmented batches

Images with a long side of 384 are mirrored and cropped to 256. `first` counts from reading the json to the end of the first epoch,
in which images are decoded; `later` is every epoch after it. The plain pipeline is the one in a hundred notebooks: PIL, `annToMask`,
Albumentations, and a `DataLoader` with one persistent worker per core. fastai is spared the annotations: its masks are PNG files already."""
import io, os, time
from contextlib import redirect_stdout
from operator import methodcaller
from pathlib import Path
import numpy as np
from unet_nbdev.core import IGNORE
from unet_nbdev.images import write_image
from benchmarks.inputs import coco_items, pair_images, train_json
from benchmarks.registry import contender

BATCH = dict(crop=256, bs=8, aug='light', flips='h', device='cpu')

def epoch_rates(dl, start, job):
    "Images per second: in the first epoch, counted from `start`, and in those after it"
    n_first = sum(len(xb) for xb,_ in dl)
    first_end = time.perf_counter()
    n_later = 0
    while not n_later or time.perf_counter()-first_end<job.look: n_later += sum(len(xb) for xb,_ in dl)
    return dict(first=n_first/(first_end-start), later=n_later/(time.perf_counter()-first_end),
                work=('copy', 256*256*4*4/1e9)) # bytes of a sample that leaves

class PlainCoco:
    "The data set that people write: PIL, `annToMask`, Albumentations"
    def __init__(self, ann_file, folder):
        import albumentations as A
        from albumentations.pytorch import ToTensorV2
        from pycocotools.coco import COCO
        with redirect_stdout(io.StringIO()): self.coco = COCO(str(ann_file))
        self.folder = Path(folder)
        self.ids = sorted(self.coco.getImgIds())
        self.index = {cat:k+1 for k,cat in enumerate(sorted(self.coco.getCatIds()))}
        self.tfm = A.Compose([A.LongestMaxSize(384), A.HorizontalFlip(), A.PadIfNeeded(256, 256, fill_mask=IGNORE),
                              A.RandomCrop(256, 256), A.Normalize(), ToTensorV2()])

    def __len__(self): return len(self.ids)

    def mask(self, image_id):
        "Label map; smaller objects lie on top"
        info = self.coco.imgs[image_id]
        msk = np.zeros((info['height'], info['width']), np.uint8)
        anns = self.coco.loadAnns(self.coco.getAnnIds(image_id))
        for ann in sorted(anns, key=lambda ann: (-ann['iscrowd'], -ann['area'])):
            msk[self.coco.annToMask(ann)>0] = IGNORE if ann['iscrowd'] else self.index[ann['category_id']]
        return msk

    def path(self, image_id): return self.folder/self.coco.imgs[image_id]['file_name']

    def __getitem__(self, k):
        from PIL import Image
        img = np.array(Image.open(self.path(self.ids[k])).convert('RGB'))
        sample = self.tfm(image=img, mask=self.mask(self.ids[k]))
        return sample['image'],sample['mask'].long()

@contender('unet_nbdev', 'coco')
def data_ours(job):
    from unet_nbdev.data import seg_dls
    from unet_nbdev.items import item2mask
    from unet_nbdev.prep import Prep
    start = time.perf_counter()
    items = coco_items(job)
    rates = epoch_rates(seg_dls(items, Prep('letterbox', 384), valid=.05, **BATCH).train, start, job)
    for item in items[:12]: write_image(job.out/f'{item.id}.png', item2mask(item, items.codes))
    return rates

@contender('PIL, annToMask, albumentations', 'coco')
def data_plain(job):
    from torch.utils.data import DataLoader
    import albumentations # its import is not timed
    start = time.perf_counter()
    ds = PlainCoco(*train_json(job))
    dl = DataLoader(ds, 8, shuffle=True, drop_last=True, num_workers=os.cpu_count(), persistent_workers=True)
    rates = epoch_rates(dl, start, job)
    for image_id in ds.ids[:12]: write_image(job.out/f'{image_id}.png', ds.mask(image_id))
    return rates

@contender('fastai, masks as PNG', 'coco pairs')
def data_fastai(job):
    from fastai.vision.all import Normalize, Resize, SegmentationDataLoaders, aug_transforms, imagenet_stats
    files = pair_images(job)
    start = time.perf_counter()
    batch_tfms = [*aug_transforms(size=256), Normalize.from_stats(*imagenet_stats)]
    dls = SegmentationDataLoaders.from_label_func(
        job.work, files, methodcaller('with_suffix', '.png'), codes=[str(k) for k in range(256)],
        bs=8, valid_pct=.05, seed=0, item_tfms=Resize(384), batch_tfms=batch_tfms)
    return epoch_rates(dls.train, start, job)

@contender('unet_nbdev', 'coco big')
def first_ours(job):
    "A large data set: from the json to the first batch"
    from unet_nbdev.data import seg_dls
    from unet_nbdev.items import read_items
    from unet_nbdev.prep import Prep
    start = time.perf_counter()
    items = read_items(coco=job.work/'big')
    next(iter(seg_dls(items, Prep('letterbox', 384), valid=.05, **BATCH).train))
    return dict(rate=1/(time.perf_counter()-start))

@contender('pycocotools, fastai DataBlock', 'coco big')
def first_fastai(job):
    from fastai.vision.all import DataBlock, ImageBlock, MaskBlock, PILMask, RandomSplitter, Resize, aug_transforms
    start = time.perf_counter()
    ds = PlainCoco(job.work/'big'/'annotations'/'instances_train.json', job.work/'big'/'train')
    block = DataBlock((ImageBlock, MaskBlock), get_items=lambda _: ds.ids, get_x=lambda image_id: ds.path(image_id),
                      get_y=lambda image_id: PILMask.create(ds.mask(image_id)), splitter=RandomSplitter(.05, seed=0),
                      item_tfms=Resize(384), batch_tfms=aug_transforms(size=256))
    next(iter(block.dataloaders(None, bs=8).train))
    return dict(rate=1/(time.perf_counter()-start))
