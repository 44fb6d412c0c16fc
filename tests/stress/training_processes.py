# purpose: one training in one process and in two: group and batch normalisation, stopped and resumed
# minutes: 3
# ci: yes
"""One training in one process and in two: group and batch normalisation, stopped and resumed.

Run: `python tests/stress/training_processes.py`, about 3 minutes on two cores (each process imports everything).
The notebook training compares the batches only."""
import subprocess, sys, tempfile
from pathlib import Path
import numpy as np, torch
from unet_nbdev.checkpoint import load_train
from unet_nbdev.synth import synth_coco

SCRIPT = '''
import sys, warnings
warnings.simplefilter('ignore')
from unet_nbdev.all import *
import torch
out,data,norm,stop = sys.argv[1:]
torch.set_num_threads(1)
dls = seg_dls(read_items(data), Prep('pad'), crop=32, bs=4, n_epoch=16, device='cpu', num_workers=0)
loss = CEDiceLoss(batch=False, absent=True)
learn = seg_learner(dls, 'classic', loss, precision='fp32', width=4, depth=2, norm=norm)
if int(stop): learn.fit_unet(epochs=2, run=out, session_hours=1e-9)
learn.fit_unet(pictures=False, **(dict(resume=out) if int(stop) else dict(epochs=2, run=out)))
'''

def launch(tmp, out, n, norm='group', stop=0):
    torchrun = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', n] if n>1 else []
    cmd = [sys.executable, '-W', 'ignore', *torchrun, tmp/'two.py', tmp/out, tmp/'data', norm, stop]
    r = subprocess.run([str(o) for o in cmd], capture_output=True, text=True)
    assert not r.returncode, r.stderr[-3000:]

def weights(run): return load_train(run/'last.ckpt')[0]
def scores(run): return [[v for k,v in row.items() if k!='seconds'] for row in load_train(run/'last.ckpt')[1]['run']['rows']]
def distance(a, b): return max((a[k].float()-b[k].float()).abs().max().item() for k in a)

def main():
    with tempfile.TemporaryDirectory() as d:
        tmp = Path(d)
        synth_coco(tmp/'data', n=16, sz=96, seed=0)
        (tmp/'two.py').write_text(SCRIPT)
        launch(tmp, 'one', 1)
        launch(tmp, 'two', 2)
        apart = distance(weights(tmp/'one'), weights(tmp/'two'))
        assert apart<1e-3, apart
        for one,two in zip(scores(tmp/'one'), scores(tmp/'two'), strict=True): assert np.allclose(one, two, atol=1e-3), (one, two)
        print(f'group normalisation: weights differ by {apart:.0e}, scores by less than 1e-3', flush=True)
        launch(tmp, 'group', 2, stop=1)
        a,b = weights(tmp/'two'),weights(tmp/'group')
        assert all(torch.equal(a[k], b[k]) for k in a)
        print('stopped and resumed: the same weights', flush=True)
        launch(tmp, 'batch1', 1, 'batch')
        launch(tmp, 'batch2', 2, 'batch')
        print(f'batch normalisation: weights differ by {distance(weights(tmp/"batch1"), weights(tmp/"batch2")):.0e}')

if __name__=='__main__': main()
