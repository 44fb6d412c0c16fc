# purpose: prediction of a folder, killed or shared by two processes, writes the same files
# minutes: 5 for 500 images and 5 kills, 1 with --quick (60 images, 3 kills)
# ci: yes
"""A folder of images, killed and resumed, and shared by two processes: `python tests/stress/fleet.py [--model m.pth] [--images 500] [--kills 5]`

The files must be the same, by sha256, as in one uninterrupted run: pictures, masks, index.csv, results.json and objects.csv.
Without --model a small model is trained first, for 60 steps."""
import argparse, hashlib, os, random, signal, subprocess, sys, tempfile, time
from pathlib import Path

def run(*command, **env): # → a running process
    return subprocess.Popen([str(word) for word in command], env={**os.environ, 'OMP_NUM_THREADS':'1', **env}, stdout=subprocess.DEVNULL)

def finish(process):
    "Wait for a process, which has to succeed"
    if process.wait(): sys.exit(f'{process.args[0]} ended with {process.returncode}')

def train_model(path):
    "Write a small model"
    from unet_nbdev.synth import synth_coco
    synth_coco(path.parent/'coco', n=12, sz=64)
    finish(run('unet_train', '--coco', path.parent/'coco', '--max_steps', 60, '--bs', 4, '--crop', 64, '--device', 'cpu', '--out', path))

def write_images(folder, n, side):
    from unet_nbdev.images import write_image
    from unet_nbdev.synth import synth_image
    for k in range(n): write_image(folder/f'{k:04}.png', synth_image(k, side)[0])

def predict(o, out, **env):
    "Start one process that predicts the folder, which takes a while"
    return run('unet_predict', '--input', o.folder, '--model', o.model, '--output', out, '--mask', '--json', '--objects',
               '--device', 'cpu', '--precision', 'fp32', **env)

def hashes(folder): # file → sha256, hidden files left out
    files = [f for f in sorted(folder.rglob('*')) if f.is_file() and not f.name.startswith('.')]
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}

def count_lines(f): return f.read_bytes().count(b'\n') if f.exists() else 0

def predict_killed(o, out, rng)->int:
    "Predict the folder, killed `o.kills` times at random moments → how often it was killed before it finished"
    journal = out/'.unet_predict.0.jsonl'
    killed = 0
    while True:
        process = predict(o, out)
        goal = count_lines(journal)+rng.randint(1, max(2, o.images//(o.kills+1)))
        while process.poll() is None and (killed>=o.kills or count_lines(journal)<goal): time.sleep(.005)
        if process.poll() is not None:
            finish(process)
            return killed
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1

def compare(name, whole, found):
    "Stop if a run did not write the same files"
    differ = [f for f in whole if found.get(f)!=whole[f]]+sorted(set(found)-set(whole))
    if differ: sys.exit(f'{name}: {len(differ)} files differ, the first is {differ[0]}')

def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--model', type=Path, help='model file (default: one is trained)')
    p.add_argument('--images', type=int, default=500, help='default: 500')
    p.add_argument('--kills', type=int, default=5, help='default: 5')
    p.add_argument('--sz', type=int, default=96, help='side of the images (default: 96)')
    p.add_argument('--seed', type=int, default=0, help='seed of the moments')
    p.add_argument('--quick', action='store_true', help='the same as --images 60 --kills 3')
    o = p.parse_args()
    if o.quick: o.images,o.kills = 60,3
    return o

def main():
    o = parse()
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        o.folder = d/'images'
        write_images(o.folder, o.images, o.sz)
        if not o.model:
            o.model = d/'model.pth'
            train_model(o.model)
        finish(predict(o, d/'whole'))
        whole = hashes(d/'whole')
        expected = 2*o.images+3
        if len(whole)!=expected: sys.exit(f'{len(whole)} files were written, {expected} are expected')
        killed = predict_killed(o, d/'killed', random.Random(o.seed))
        if killed<o.kills: sys.exit(f'it was killed {killed} times only, {o.kills} are expected')
        compare('killed', whole, hashes(d/'killed'))
        pair = [predict(o, d/'pair', RANK=str(rank), WORLD_SIZE='2') for rank in (0,1)]
        for process in pair: finish(process)
        compare('two processes', whole, hashes(d/'pair'))
    print(f'{o.images} images, killed {killed} times: {len(whole)} files are the same, and from two processes too')

if __name__=='__main__': main()
