"Data sets, photos and models that contenders share, each made once in a process of its own"
import json, os
from operator import methodcaller
from pathlib import Path
import numpy as np
from unet_nbdev.core import Codes, write_json
from unet_nbdev.images import write_image
from benchmarks.measure import cpu_precision
from benchmarks.registry import made_once

# ── data ─────────────────────────────────────────────────────────────────────────────────────────
@made_once
def make_coco(job):
    "A beach of `synth_coco` at the size of photos"
    from unet_nbdev.synth import synth_coco
    synth_coco(job.work/'coco', job.n, job.sz, valid_pct=.1)

def train_json(job):
    "Json file and image folder of the training images, of the user's COCO set where one is given"
    from unet_nbdev.coco import find_coco
    found = find_coco(job.coco or job.work/'coco')
    return next((f for f in found if f[2]=='train'), found[0])[:2]

def coco_items(job):
    "Items of the training images"
    from unet_nbdev.coco import read_coco
    return read_coco(*train_json(job))

@made_once
def make_pairs(job):
    "Images next to masks as PNG, which is what fastai reads"
    from unet_nbdev.items import item2mask
    items = coco_items(job)
    for item in items:
        link = job.work/'pairs'/f'{item.img.stem}{item.img.suffix}'
        write_image(link.with_suffix('.png'), item2mask(item, items.codes))
        os.symlink(item.img.absolute(), link)

def pair_images(job):
    "The images of `make_pairs`"
    return sorted(f for f in (job.work/'pairs').iterdir() if f.suffix!='.png')

@made_once
def make_photos(job):
    "JPEG files of 640×480"
    from unet_nbdev.synth import synth_image
    side = 64 if job.scale=='tiny' else 640
    for k in range(job.photos):
        write_image(job.work/'photos'/f'{k:04}.jpg', synth_image(k, side, seed=1)[0][:480])

@made_once
def make_large(job):
    "One large image, from four tiles turned in all directions"
    from unet_nbdev.synth import synth_image
    tiles = [synth_image(k, min(512, job.side//2), seed=2)[0] for k in range(4)]
    n = job.side//len(tiles[0])
    def row(i): return np.concatenate([np.rot90(tiles[(i*i+j)%4], i+j) for j in range(n)], 1)
    np.save(job.work/'large.npy', np.concatenate([row(i) for i in range(n)]))

@made_once
def make_big(job):
    "A COCO set of many images, which repeats a small one"
    small,folder = train_json(job)
    coco = json.loads(Path(small).read_text(encoding='utf-8'))
    anns_of = {}
    for ann in coco['annotations']: anns_of.setdefault(ann['image_id'], []).append(ann)
    train = job.work/'big'/'train'
    train.mkdir(parents=True)
    images,anns = [],[]
    for k in range(job.big):
        image = coco['images'][k%len(coco['images'])]
        images.append({**image, 'id':k+1, 'file_name':f'{k:06}.jpg'})
        first_id = len(anns)+1
        anns += [{**ann, 'id':first_id+j, 'image_id':k+1} for j,ann in enumerate(anns_of.get(image['id'], []))]
        os.symlink((Path(folder)/image['file_name']).absolute(), train/f'{k:06}.jpg')
    write_json(job.work/'big'/'annotations'/'instances_train.json', {**coco, 'images':images, 'annotations':anns}, indent=None)

# ── models ───────────────────────────────────────────────────────────────────────────────────────
def resnet34_unet():
    "SMP's ResNet-34 U-Net, or ours where SMP is not installed"
    try: import segmentation_models_pytorch as smp
    except ImportError:
        from unet_nbdev.model import create_unet
        return create_unet('resnet34', n_cls=4)
    return smp.Unet('resnet34', encoder_weights=None, classes=4)

def learn_beach(model, job):
    "Train for a few steps: the masks of an untrained network would differ by rounding alone"
    import torch
    from unet_nbdev.data import seg_dls
    from unet_nbdev.losses import CEDiceLoss
    from unet_nbdev.synth import synth_coco
    items = synth_coco(job.work/f'beach{os.getpid()}', 24, 128)
    batches = seg_dls(items, crop=96, bs=8, n_epoch=8*job.train, device='cpu').train
    opt = torch.optim.AdamW(model.parameters(), 2e-3)
    loss_func = CEDiceLoss()
    bf16 = cpu_precision()=='bf16'
    model.to(memory_format=torch.channels_last).train()
    for xb,yb in batches:
        with torch.autocast('cpu', torch.bfloat16, enabled=bf16):
            preds = model(xb.contiguous(memory_format=torch.channels_last))
        loss_func(preds.float(), yb).backward()
        opt.step()
        opt.zero_grad()
    return model.eval()

@made_once
def make_r34(job):
    "Weights of the ResNet-34 U-Net that both sides use"
    import torch
    torch.manual_seed(0)
    torch.save(learn_beach(resnet34_unet(), job).state_dict(), job.work/'r34.pt')

def load_r34(job):
    "The ResNet-34 U-Net of `make_r34`"
    import torch
    model = resnet34_unet()
    model.load_state_dict(torch.load(job.work/'r34.pt', weights_only=True))
    return model.eval()

def beach_checkpoint(model, **prep):
    "A checkpoint with the classes of the beach, around any network"
    from unet_nbdev.checkpoint import Checkpoint
    from unet_nbdev.postprocessing import PostProcess
    from unet_nbdev.prep import Prep
    return Checkpoint(model, Codes(['pebble','shell','starfish']), Prep(**prep), PostProcess())

@made_once
def make_lite0(job):
    "Model file of our default network, trained on the beach"
    import torch
    from unet_nbdev.checkpoint import save_unet
    from unet_nbdev.model import create_unet
    torch.manual_seed(0)
    model = learn_beach(create_unet(n_cls=4, weights='auto'), job)
    save_unet(job.work/'lite0.pth', beach_checkpoint(model, fit='resize', size=256))

@made_once
def make_classic(job):
    "Model file of the classic U-Net, untrained"
    import torch
    from unet_nbdev.checkpoint import save_unet
    from unet_nbdev.model import create_unet
    torch.manual_seed(0)
    model = create_unet('classic', n_cls=4, width=32).eval()
    save_unet(job.work/'classic.pth', beach_checkpoint(model, fit='resize', size=256))

@made_once
def make_export(job):
    "The file that fastai's `load_learner` opens"
    from fastai.vision.all import Resize, ResizeMethod, SegmentationDataLoaders, unet_learner
    from torchvision.models import resnet34
    files = [f for f in (job.work/'pairs').iterdir() if f.suffix!='.png'][:8]
    dls = SegmentationDataLoaders.from_label_func(job.work, files, methodcaller('with_suffix', '.png'), codes=list('0123'), bs=2,
                                                  num_workers=0, item_tfms=Resize(256, ResizeMethod.Squish))
    unet_learner(dls, resnet34, pretrained=False, n_out=4, path=job.work).export('fastai.pkl')
