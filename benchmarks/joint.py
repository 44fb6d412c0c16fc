"""Does a decoder that has segmented before learn faster? `python benchmarks/joint.py --data DATA --train nuclei tiles kudzu --test wbc roads`

Encoder (from ImageNet) and decoder are trained together on all sets of --train, each with a head of its own, one batch of one set at a
time in shuffled turns; the heads are thrown away. Then each set of --test, which must be another, is learned twice within its training
images: from ImageNet with a decoder that starts at random, as `unet_train` does, and from the joint weights. One part of the training
images (--folds) is scored, the validation images stay unseen. Both runs have the same plan, seed, batches and number of steps.
--frozen keeps the encoder as ImageNet left it, so that only the decoder learns. DATA is laid out as for `peers.py`. A row per run is
written to --out; the same command again does what is missing. The weights go to --weights, as safetensors."""
import argparse, json, os, sys, tempfile
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent)) # the clone
os.environ.update(MPLBACKEND='Agg', HF_HUB_OFFLINE='1')
from unet_nbdev.data import fold_items, seg_dls, split_items
from unet_nbdev.items import read_items
from unet_nbdev.plan import make_plan
from unet_nbdev.training import loss_for, prepare_arithmetic, seg_learner, use_encoder_stats
from benchmarks.peers import source
import numpy as np, torch
from torch import nn

ENCODER = 'tf_efficientnet_lite0'
RATE,ENCODER_RATE = 2e-3,.3 # highest learning rate, and the encoder's part of it

def training_images(which, root):
    "The images of a set that may train; its validation images are left out"
    if which in ('kudzu','coco'): where = dict(root=root/('coco-mini' if which=='coco' else which))
    else:
        where = source(which, root)
        where['root'] = where.pop('data', None)
    valid = where.pop('valid', None)
    items = split_items(read_items(**where, quiet=True), valid)
    return items.new(replace(o, split='') for o in items if o.split=='train')

# ── the joint training ───────────────────────────────────────────────────────────────────────────
def endless(dl): # batches, one epoch after the other
    while True: yield from dl

class Task:
    "A data set with its head and its loss"
    def __init__(self, which, root, seed):
        items = split_items(training_images(which, root), .05, seed)
        plan = make_plan(items, max_steps=2000, seed=seed, loss='ce_dice')
        dls = seg_dls(items, seed=seed, device='cpu', num_workers=0, **plan.data())
        use_encoder_stats(dls, ENCODER)
        self.which,self.n_cls = which,dls.train.codes.n_cls
        self.loss = loss_for(dls, 'ce_dice', None, False)
        self.batches = endless(dls.train)
        self.head = None # set when the width of the decoder is known

    def next_loss(self, net): # of one batch; grey images reach the three channels alike
        x,y,*_ = next(self.batches)
        net.head[1] = self.head
        return self.loss(net(x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)), y)

def joint_rate(i, n): # of step i of n, as a part of the highest: a short rise, a plateau, half a cosine
    done = i/n
    return min(1, (i+1)/50)*(1 if done<.5 else .5*(1+np.cos(2*np.pi*(done-.5))))

def train_jointly(o)->dict: # state dict without a head
    from unet_nbdev.model import create_unet
    torch.manual_seed(o.seed)
    rng = np.random.default_rng(o.seed)
    net = create_unet(ENCODER, weights='auto').train()
    tasks = [Task(which, o.data, o.seed) for which in o.train]
    old = net.head[1]
    for t in tasks: t.head = nn.Conv2d(old.in_channels, t.n_cls, old.kernel_size, padding='same')
    decoder = [*net.ups.parameters(), *(p for t in tasks for p in t.head.parameters())]
    groups = [dict(params=decoder, part=1.)]
    if not o.frozen: groups.append(dict(params=[*net.encoder.parameters()], part=ENCODER_RATE))
    opt = torch.optim.AdamW(groups, lr=RATE, weight_decay=.01)
    net.to(memory_format=torch.channels_last)
    if not o.fp32: prepare_arithmetic(net, torch.device('cpu'), 'bf16')
    turns = []
    for i in range(o.joint_steps):
        turns = turns or [*rng.permutation(len(tasks))]
        for g in opt.param_groups: g['lr'] = RATE*g['part']*joint_rate(i, o.joint_steps)
        loss = tasks[turns.pop()].next_loss(net)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for g in opt.param_groups for p in g['params'] if p.grad is not None], 1.)
        opt.step()
        if i%50==49: print(f'{i+1} of {o.joint_steps} joint steps, loss {loss.item():.3f}', flush=True)
    return {k:v.contiguous() for k,v in net.state_dict().items() if not k.startswith('head')}

# ── what it brings ───────────────────────────────────────────────────────────────────────────────
def fill(model, state):
    "Give a network the joint weights; where the data is grey, the first convolution adds up its three channels"
    own = model.state_dict()
    first = next(k for k,v in own.items() if v.ndim==4)
    if own[first].shape[1]==1: state = state|{first:state[first].sum(1, keepdim=True)}
    model.load_state_dict(own|state)

def learn(which, steps, seed, fold, state, o)->dict: # scores of the last epoch
    items = training_images(which, o.data)
    outer = fold_items(items, fold, o.folds, seed=0)
    plan = make_plan(outer, max_steps=steps, seed=seed)
    dls = seg_dls(outer, seed=seed, device='cpu', num_workers=0, **plan.data())
    learner = seg_learner(dls, seed=seed, **plan.learner())
    if state: fill(learner.model, state)
    with tempfile.TemporaryDirectory() as d, learner.no_bar(), learner.no_logging():
        run = learner.fit_unet(max_steps=steps, run=Path(d)/'run', pictures=False, live=False, **plan.fit())
    last = run.rows[-1]
    return dict(mean_dice=round(float(last['mean_dice']), 4), pooled_iou=round(float(last['pooled_iou']), 4))

def read_rows(out): return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []

def compare(o):
    from safetensors.torch import load_file
    state = load_file(o.weights)
    for which in o.test:
        for seed in o.seeds:
            for start in ('ImageNet','joint'):
                key = dict(which=which, steps=o.steps, seed=seed, fold=o.fold, start=start)
                if any(key.items()<=row.items() for row in read_rows(o.out)): continue
                row = key|learn(which, o.steps, seed, o.fold, state if start=='joint' else None, o)
                with open(o.out, 'a') as f: f.write(json.dumps(row)+'\n')
                print(row, flush=True)

def parser():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', type=Path, required=True, help='folder with the data sets')
    p.add_argument('--train', nargs='+', default=['nuclei','coco','tiles','kudzu'], help='sets of the joint training')
    p.add_argument('--test', nargs='+', default=['wbc','roads','membrane','facade'], help='sets that were left out')
    p.add_argument('--joint_steps', type=int, default=1200)
    p.add_argument('--steps', type=int, default=200, help='of each run that is compared')
    p.add_argument('--seeds', nargs='+', type=int, default=[0])
    p.add_argument('--seed', type=int, default=0, help='of the joint training')
    p.add_argument('--folds', type=int, default=2)
    p.add_argument('--fold', type=int, default=0)
    p.add_argument('--frozen', action='store_true', help='the encoder stays as it is in the joint training')
    p.add_argument('--fp32', action='store_true', help='for processors without bfloat16')
    p.add_argument('--weights', type=Path, default=Path('joint.safetensors'), help='is made if it is not there')
    p.add_argument('--out', type=Path, default=Path('joint.jsonl'))
    return p

def main():
    from safetensors.torch import save_file
    o = parser().parse_args()
    if both := set(o.train)&set(o.test): sys.exit(f'{", ".join(sorted(both))}: a set cannot be learned jointly and be left out')
    if not o.weights.exists(): save_file(train_jointly(o), o.weights)
    compare(o)

if __name__=='__main__': main()
