# purpose: for every option, a training that was interrupted anywhere and resumed writes what the undisturbed one writes: log, weights, models
# minutes: 20 for all options, 6 with --quick
# ci: yes
"""Exact resume for every option: `python tests/stress/resumes.py [--quick] [--seed 0] [--cuts 8] [--only accum ema]`

Each row of the table below is a training by `train_unet` or `cross_validate`: a tiny network on tiny images, a few steps in two epochs.
It is trained once undisturbed, and then in sessions: an error that nobody catches, raised after a step or after a file was
written, ends each of them. Log (all columns but the times), last weights, best weights and model files must be the same to the bit.
Everything happens in one process, so that hundreds of sessions take minutes; `kills.py` kills real processes."""
import argparse, csv, os, shutil, sys, tempfile, time, warnings
from collections import Counter
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from hashlib import sha256
from io import StringIO
from pathlib import Path
os.environ.update(MPLBACKEND='Agg', HF_HUB_OFFLINE='1')
import numpy as np, torch
from fastai.callback.core import Callback
from fastai.learner import defaults
from unet_nbdev import report, training
from unet_nbdev.budget import ManualClock
from unet_nbdev.checkpoint import load_train, load_unet
from unet_nbdev.core import DataError
from unet_nbdev.runs import cross_validate, resume_run, train_unet
from unet_nbdev.settings import Settings
from unet_nbdev.synth import synth_coco, synth_masks

# ── what is tried ────────────────────────────────────────────────────────────────────────────────────────────────────────────────
OPTIONS = dict( # name → settings, beside BASE
    plain=dict(),
    steps=dict(epochs=None, max_steps=26),
    length=dict(epochs=None, max_steps=26, aug='medium', save_minutes=0.),
    accum=dict(grad_accum=2),
    accum_dice=dict(grad_accum=3, loss='dice'),
    ema=dict(ema=.9),
    ema_accum=dict(ema=.9, grad_accum=2, clip=.5, opt='sgd', sched='flat_cos'),
    freeze=dict(freeze_epochs=1, ema=.8, encoder='test_efficientnet'),
    boundary=dict(loss='ce+0.5*boundary'),
    workers=dict(num_workers=2, save_minutes=0.),
    patience=dict(epochs=6, patience=1, lr=.5),
    sgd=dict(opt='sgd', lr=.01),
    find_lr=dict(lr='auto'),
    full=dict(decoder='full', loss='gen_dice', encoder='test_efficientnet'),
    multilabel=dict(coco=True, multilabel=True),
    classes=dict(coco=True, class_weights=True, oversample='both', loss='focal', grad_accum=2),
    samples=dict(paste=.5, elastic=.5, invert=.3, foreground=.4, flips='h', aug='strong'),
    lovasz=dict(loss='lovasz', size=48, norm='invert_light', warmup=.4),
    folds=dict(folds=2, valid=None, grad_accum=2, ema=.9),
    folds_steps=dict(folds=3, valid=None, epochs=None, max_steps=30),
    clock=dict(epochs=None, max_minutes=.5),
    memory=dict(loss='dice', seed=1),
    nan=dict(seed=2, lr=.01),
)
BASE = dict(encoder='classic', weights='none', epochs=2, bs=4, crop=32, device='cpu', valid='val_*')
QUICK_CUTS,LONG = 2,('samples','folds_steps','lovasz')

def settings_of(name, data, out): # → Settings
    given = {**BASE, **OPTIONS[name], 'out':str(out)}
    if given.pop('coco', False): return Settings.from_given({**{k:v for k,v in given.items() if k!='valid'}, 'coco':str(data/'coco')})
    return Settings.from_given(dict(given, images=str(data/'masks'/'images'), masks=str(data/'masks'/'masks')))

class Troubles(Callback):
    "What happens to some trainings at the same place whenever they come by: memory is full, a loss is NaN; and how long steps take"
    order = 12
    def __init__(self, which): self.which = which
    def after_loss(self):
        state = getattr(self.learn, 'train_state', None)
        if not state or not self.training: return
        if self.which=='memory' and state.step>=19 and self.dls.train.bs>2: raise MemoryError('memory is full')
        if self.which=='nan' and state.step==21 and state.plan['lr_scale']==1: self.learn.loss = self.learn.loss*float('nan')
    def after_batch(self):
        if self.which=='clock' and self.training: self.learn.clock.wait(1.)

# ── interruptions ────────────────────────────────────────────────────────────────────────────────────────────────────────────────
class Cut(BaseException): "A session ends here"

class Cutter(Callback):
    "Count steps and files that are written, and end the session at one of them"
    order = 80
    def __init__(self): self.arm(None, None)
    def arm(self, what, n): self.what,self.n,self.seen = what,n,Counter()
    def note(self, what):
        self.seen[what] += 1
        if what==self.what and self.seen[what]==self.n: raise Cut()
    def after_batch(self):
        if hasattr(self.learn, 'train_state'): self.note('batch') # of training or validation
    def replace(self, a, b, real=os.replace):
        real(a, b)
        self.note('file')

@contextmanager
def quietly(cutter, name):
    "Within this context files are counted, and nothing is printed or drawn"
    kept = {k:getattr(report, k) for k in ('save_fig','plot_curves','predictions','draw_extremes')}
    step_seconds,valid_seconds,clock = training.SegLearner.step_seconds,training.SegLearner.valid_seconds,training.SegLearner.clock
    for k in kept: setattr(report, k, lambda *_, **__: None)
    if name=='clock':
        training.SegLearner.step_seconds = lambda self, **_: 1.
        training.SegLearner.valid_seconds = lambda self, *_: 0.
        training.SegLearner.clock = ManualClock()
    create_unet = training.create_unet
    def tiny(encoder, *args, **kw): return create_unet(encoder, *args, **kw, **(dict(width=4, depth=2) if encoder=='classic' else {}))
    training.create_unet = tiny
    cbs = [cutter, Troubles(name)]
    defaults.callbacks.extend(cbs)
    real,os.replace = os.replace,cutter.replace
    said = StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said): yield said
    finally:
        os.replace,training.create_unet = real,create_unet
        for cb in cbs: defaults.callbacks.remove(cb)
        for k,v in kept.items(): setattr(report, k, v)
        if name=='clock': del training.SegLearner.step_seconds,training.SegLearner.valid_seconds
        training.SegLearner.clock = clock

def session(settings, cutter, again): # start or go on
    run = Path(settings.out).with_suffix('')
    if settings.folds: cross_validate(settings)
    elif again and (run/'last.ckpt').is_file():
        try: resume_run(run)
        except DataError as e: # the one before was interrupted after its last step
            if 'this training is complete' not in str(e): raise
    else: train_unet(settings.updated(overwrite=True))

# ── what must be the same ────────────────────────────────────────────────────────────────────────────────────────────────────────
def sha(state): return sha256(b''.join(k.encode()+v.contiguous().numpy().tobytes() for k,v in state.items())).hexdigest()[:12]

def result(out): # of all runs next to a model file → {what: value}
    found = {}
    for run in sorted(p for p in out.parent.iterdir() if p.is_dir() and (p/'log.csv').is_file()):
        with open(run/'log.csv', newline='') as f: rows = list(csv.DictReader(f))
        for n,row in enumerate(rows): found |= {(run.name, 'log', n, k):v for k,v in row.items() if k!='seconds'}
        found[run.name,'last'] = sha(load_train(run/'last.ckpt')[0])
        found[run.name,'steps'] = load_train(run/'last.ckpt')[1]['run']['steps']
        for file in (run/'best.pth', run.with_suffix('.pth')):
            ckpt = load_unet(file)
            found[run.name,file.name] = sha(ckpt.model.state_dict())
            found |= {(run.name, file.name, k):repr(ckpt.info[k]) for k in ('scores','epoch','extremes')}
        found[run.name,'files'] = sorted(o.name for o in run.iterdir())
    return found

def differences(a, b): return [f'{"/".join(map(str, k))}: {a.get(k)} → {b.get(k)}' for k in {**a, **b} if a.get(k)!=b.get(k)]

def one(name, data, path, rng, cuts): # → sessions, list of what differs
    cutter,seed = Cutter(),0
    whole = settings_of(name, data, path/'whole'/'m.pth')
    with quietly(cutter, name): session(whole, cutter, False)
    truth,total = result(Path(whole.out)),dict(cutter.seen)
    n,faults = 1,[]
    for c in range(cuts): # one interruption at every place in turn, then a second one soon after
        cut = settings_of(name, data, path/f'cut{c}'/'m.pth')
        what = ('file','batch')[c%2]
        first = 1+int((total[what]-1)*(c+rng.random())/cuts) # spread over the training
        plans = [(what,first), (('file','batch')[rng.integers(2)], int(rng.integers(1, 9))), (None,None)]
        try:
            for again,(kind,at) in enumerate(plans):
                cutter.arm(kind, at)
                try:
                    with quietly(cutter, name) as said: session(cut, cutter, again)
                    break
                except Cut: n += 1
            faults += [f'{name}, {plans[:again]}: {d}' for d in differences(truth, result(Path(cut.out)))]
        except Exception as e: faults.append(f'{name}, {plans[:again+1]}: {type(e).__name__} {e}\n{said.getvalue()[-800:]}')
        shutil.rmtree(path/f'cut{c}', ignore_errors=True)
        n += 1
    return n,faults

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--quick', action='store_true', help=f'{QUICK_CUTS} cuts per option, without {", ".join(LONG)}')
    p.add_argument('--cuts', type=int, default=8, help='interrupted trainings per option (default 8)')
    p.add_argument('--seed', type=int, default=0, help='of the places')
    p.add_argument('--only', nargs='*', help='some of the options')
    o,t = p.parse_args(),time.time()
    torch.set_num_threads(1) # faster for networks this small
    warnings.simplefilter('ignore')
    names = o.only or [k for k in OPTIONS if not (o.quick and k in LONG)]
    cuts,n,faults,path = QUICK_CUTS if o.quick else o.cuts,0,[],Path(tempfile.mkdtemp())
    try:
        synth_coco(path/'coco', n=16, sz=48)
        synth_masks(path/'masks', n=16, sz=48)
        for k,name in enumerate(names):
            began = time.time()
            m,found = one(name, path, path/name, np.random.default_rng([o.seed, k]), cuts)
            print(f'{name:12} {m:>3} sessions  {time.time()-began:5.0f} s  {"the same" if not found else f"{len(found)} differences"}', flush=True)
            n,faults = n+m,faults+found
            for f in found[:6]: print('   ', f, flush=True)
    finally: shutil.rmtree(path, ignore_errors=True)
    print(f'{time.time()-t:.0f} s')
    print(f'{n} sessions of {len(names)} trainings; {len(faults)} differences from the undisturbed ones')
    return bool(faults)

if __name__=='__main__': sys.exit(main())
