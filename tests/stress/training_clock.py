# purpose: trainings by the clock, in real time: slower and faster than planned; the default network with the same seed
# minutes: 2
# ci: yes
"""Trainings by the clock, in real time: slower and faster than planned; and the default network with the same seed.

Run: `python tests/stress/training_clock.py`, about 2 minutes, on a machine that does nothing else: where steps take seconds,
there is no time for more of them. `--quick`, as in CI, leaves out what measures real time; the notebooks budget and training
check the same with made-up time."""
import argparse, contextlib, io, tempfile
from pathlib import Path
from fastcore.test import test_eq, test_fail
from unet_nbdev.checkpoint import load_train
from unet_nbdev.data import seg_dls
from unet_nbdev.prep import Prep
from unet_nbdev.synth import synth_coco
from unet_nbdev.training import seg_learner


def small(items):
    dls = seg_dls(items, Prep('pad'), crop=32, bs=4, n_epoch=16, device='cpu', num_workers=0)
    return seg_learner(dls, 'classic', width=4, depth=2, dropout=.1)

def fit(learn, **kw): # quietly
    with learn.no_bar(), learn.no_logging(): return learn.fit_unet(live=False, pictures=False, **kw)

def timed(items, step, valid): # a learner whose trial steps are said to take so many seconds
    learn = small(items)
    learn.step_seconds = lambda most: step
    learn.valid_seconds = lambda most: valid
    return learn

def said(f): # → result, what went to stderr
    with contextlib.redirect_stderr(io.StringIO()) as err: res = f()
    return res,err.getvalue()


def as_planned(items, tmp):
    run = fit(timed(items, .01, 0), max_minutes=.08, run=tmp/'clock')
    assert run.settings['finished'] and 0<run.steps<=run.settings['steps']

def slower(items, tmp):
    learn = timed(items, 1e-4, 0)
    run,text = said(lambda: fit(learn, max_minutes=.06, run=tmp/'slow'))
    assert run.settings['finished'] and 0<run.steps<run.settings['steps'] and 'the time is up after' in text, text
    # by steps the schedule would still be at its start
    assert max(learn.recorder.lrs)>.2*run.settings['lr'] and run.steps<.1*run.settings['steps']
    test_eq(run.rows[-1]['mean_dice'], load_train(tmp/'slow'/'last.ckpt')[2]['info']['scores']['mean_dice'])

def faster(items, tmp):
    run,text = said(lambda: fit(timed(items, 2., 0), max_minutes=.15, run=tmp/'quick')) # 2 steps were planned
    assert 'steps are faster than in the trial' in text and run.settings['finished'] and run.steps>2, text
    test_eq(load_train(tmp/'quick'/'last.ckpt')[1]['plan']['steps'], run.settings['steps']) # so it is resumed with the new plan
    for seconds in (.3, .5, .8): # some steps were planned, fewer than ten
        run,_ = said(lambda: fit(timed(items, seconds, 0), max_minutes=.1))
        assert run.steps>2, seconds
    _,text = said(lambda: fit(timed(items, 2., 0), max_minutes=.1, freeze_epochs=1)) # faster for a while only
    assert 'steps are faster' not in text, text

def trial_leaves_no_trace(items, tmp):
    learn = small(items)
    before = {k:v.clone() for k,v in learn.model.state_dict().items()}
    assert learn.step_seconds()>0 and learn.valid_seconds()>0
    assert all(v.equal(before[k]) for k,v in learn.model.state_dict().items())

def same_seed(items, tmp): # the default network
    def fingerprint(seed):
        dls = seg_dls(items, Prep('pad'), crop=64, bs=4, seed=seed, device='cpu')
        learn = seg_learner(dls, seed=seed)
        fit(learn, max_steps=3)
        test_eq(len(learn.recorder.losses), 3)
        return sum(v.double().sum().item() for v in learn.model.state_dict().values())
    first = fingerprint(0)
    test_eq(fingerprint(0), first)
    assert fingerprint(1)!=first


REAL_TIME = (as_planned, slower, faster)
COUNTED = (trial_leaves_no_trace, same_seed)

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='only what does not depend on the speed of the machine')
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as d:
        items = synth_coco(Path(d)/'data', n=16, sz=96, seed=0)
        for check in (() if quick else REAL_TIME)+COUNTED:
            check(items, Path(d))
            print('ok', check.__name__, flush=True)

if __name__=='__main__': main()
