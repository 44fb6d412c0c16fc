"""A folder of images, killed and resumed, and shared by two processes: `python .ci/fleet.py --model m.pth [--images 500] [--kills 5]`

The same files, by sha256, as in one uninterrupted run: pictures, masks, index.csv, results.json and objects.csv."""
import argparse, hashlib, os, random, shutil, signal, subprocess, sys, tempfile, time
from pathlib import Path

def prints(d): return {str(f.relative_to(d)):hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(d.rglob('*')) if f.is_file() and not f.name.startswith('.')}

def start(o, out, **env): # one process, which takes a while
    cmd = ['unet_predict', '--input', o.folder, '--model', o.model, '--output', out, '--mask', '--json', '--objects', '--device', 'cpu', '--precision', 'fp32']
    return subprocess.Popen([str(c) for c in cmd], env={**os.environ, 'OMP_NUM_THREADS':'1', **env}, stdout=subprocess.DEVNULL)

def done(p):
    if p.wait(): sys.exit(f'unet_predict ended with {p.returncode}')

def killed(o, out, rng): # → how often it was killed before it came to its end
    journal,n = out/'.unet_predict.0.jsonl',0
    while True:
        p,lines = start(o, out),count(journal)
        goal = lines+rng.randint(1, max(2, o.images//(o.kills+1)))
        while p.poll() is None and (n>=o.kills or count(journal)<goal): time.sleep(.005)
        if p.poll() is not None: return done(p) or n
        p.send_signal(signal.SIGKILL); p.wait(); n += 1

def count(f): return f.read_bytes().count(b'\n') if f.exists() else 0

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--model', required=True, type=Path)
    p.add_argument('--images', type=int, default=500)
    p.add_argument('--kills', type=int, default=5)
    p.add_argument('--sz', type=int, default=96)
    p.add_argument('--seed', type=int, default=0)
    o = p.parse_args()
    from unet_nbdev.core import write_image
    from unet_nbdev.synth import synth_image
    with tempfile.TemporaryDirectory() as d:
        d,o.folder = Path(d),Path(d)/'images'
        o.folder.mkdir()
        for k in range(o.images): write_image(o.folder/f'{k:04}.png', synth_image(k, o.sz)[0])
        done(start(o, d/'whole'))
        whole = prints(d/'whole')
        if len(whole)!=2*o.images+3: sys.exit(f'{len(whole)} files, {2*o.images+3} are wanted')
        n = killed(o, d/'cut', random.Random(o.seed))
        if n<o.kills: sys.exit(f'killed {n} times only')
        pair = [start(o, d/'pair', RANK=str(r), WORLD_SIZE='2') for r in (0,1)]
        for q in pair: done(q)
        for name in ('cut','pair'):
            got = prints(d/name)
            if odd := [f for f in whole if got.get(f)!=whole[f]] + sorted(set(got)-set(whole)): sys.exit(f'{name}: {len(odd)} files differ, the first is {odd[0]}')
    print(f'{o.images} images, killed {n} times: {len(whole)} files are the same, and from two processes too')

if __name__=='__main__': main()
