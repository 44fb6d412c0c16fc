"""The Kaggle notebook as Kaggle runs it: `python .ci/kaggle.py DATA [--minutes 2] [--first 1] [--out DIR]`

DATA is a COCO folder with `train2017`, `val2017` and `annotations`. It is laid where Kaggle mounts COCO 2017, in a file system of its own
that cannot be written to; there is no network, and the variable of *Save & Run All* is set. The notebook runs twice, from its first cell to
its last: the first session is stopped by its clock, the second finds the first one's output attached and goes on to the end.
What both said is printed, with the scores of the class at their ends. The exit status is 0 if the second went on where the first stopped."""
import argparse, json, os, re, shutil, subprocess, sys, tempfile, time
from pathlib import Path

NB = Path(__file__).parents[1]/'nbs'/'tutorials'/'kaggle.ipynb'
COCO = 'datasets/awsaf49/coco-2017-dataset/coco2017'

def lay_out(root, data, earlier=None): # folders like Kaggle's
    to = root/'input'/COCO; to.mkdir(parents=True)
    for d in ('annotations','train2017','val2017'): shutil.copytree(Path(data)/d, to/d)
    if earlier: shutil.copytree(earlier, root/'input'/'notebooks'/'me'/'unet')
    (root/'working').mkdir()

def settings(nb, **kw): # the settings cell, with other values
    cell = next(c for c in nb.cells if c.cell_type=='code' and 'inputs ' in c.source and 'hours' in c.source)
    for k,v in kw.items():
        cell.source,n = re.subn(rf'^{k} *=.*$', lambda _: f'{k} = {v}', cell.source, flags=re.M)
        if n!=1: sys.exit(f'{k} is not in the settings cell')

def execute(root, minutes, hours, out): # within the namespaces: run the notebook, print what it says
    import nbformat
    from nbclient import NotebookClient
    nb = nbformat.read(NB, 4)
    settings(nb, inputs=f'Path({str(root/"input")!r})', work=f'Path({str(root/"working")!r})', minutes=minutes, hours=hours)
    t = time.time()
    try: NotebookClient(nb, timeout=None, kernel_name='python3', resources={'metadata':{'path':str(root/'working')}}).execute()
    finally: nbformat.write(nb, out)
    text = '\n'.join(o.get('text') or o.get('data', {}).get('text/plain', '') for c in nb.cells if c.cell_type=='code' for o in c.outputs)
    lines = [l for l in text.replace('\r', '\n').splitlines() if l.strip()]
    print('\n'.join(lines), f'\n{time.time()-t:.0f} s', flush=True)

INSIDE = '''set -e
ip link set lo up 2>/dev/null || true
mount --bind "$1/input" "$1/input"; mount -o remount,bind,ro "$1/input"
if touch "$1/input/probe" 2>/dev/null; then echo "the input can be written to"; exit 3; fi
shift; exec "$@"'''

def session(root, minutes, hours, out):
    env = os.environ | dict(KAGGLE_KERNEL_RUN_TYPE='Batch', HF_HUB_OFFLINE='1', MPLBACKEND='Agg', COLUMNS='100')
    env.pop('IN_TEST', None)
    cmd = [sys.executable, __file__, '--inside', str(root), '--minutes', str(minutes), '--hours', str(hours), '--out', str(out)]
    res = subprocess.run(['unshare','-rmn','bash','-c',INSIDE,'-',str(root),*cmd], env=env, text=True, capture_output=True)
    print(res.stdout, flush=True)
    if res.returncode: sys.exit(f'the notebook stopped with exit status {res.returncode}\n{res.stderr[-4000:]}')
    return res.stdout

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data', nargs='?'); p.add_argument('--inside'); p.add_argument('--hours', type=float)
    p.add_argument('--minutes', type=float, default=2, help='of training, in both sessions together')
    p.add_argument('--first', type=float, default=1.5, help='minutes after which the first session is over')
    p.add_argument('--out', default=None, help='folder for the executed notebooks')
    a = p.parse_args()
    if a.inside: return execute(Path(a.inside), a.minutes, a.hours, a.out)
    with tempfile.TemporaryDirectory() as tmp:
        tmp,out = Path(tmp),Path(a.out or tempfile.mkdtemp()).absolute(); out.mkdir(parents=True, exist_ok=True)
        lay_out(tmp/'1', a.data)
        print('── first session'); first = session(tmp/'1', a.minutes, a.first/60, out/'first.ipynb')
        lay_out(tmp/'2', a.data, tmp/'1'/'working')
        print('── second session'); second = session(tmp/'2', a.minutes, 11., out/'second.ipynb')
        done = json.loads((tmp/'2'/'working'/'unet'/'settings.json').read_text())['finished']
    if not re.search("'begins'", first): sys.exit('the first session did not begin anew')
    if not (m := re.search(r'goes on after (\d+) epochs', second)) or not done: sys.exit('the second session did not go on to the end')
    print(f'stopped by its clock, went on after {m[1]} epochs, complete')

if __name__=='__main__': main()
