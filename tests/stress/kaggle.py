# purpose: the Kaggle notebook runs over two sessions, without a network, on an input that is read-only
# minutes: 5
# ci: no, it needs a COCO set and the right to mount (root, or user namespaces)
"""The Kaggle notebook as Kaggle runs it: `python tests/stress/kaggle.py DATA [--minutes 2] [--first 1] [--out DIR]`

DATA is a COCO folder with `train2017`, `val2017` and `annotations`. It is put where Kaggle mounts COCO 2017, in a file system of its own
that is read-only. There is no network, and the variable of *Save & Run All* is set. The notebook runs twice, from its first cell to its
last: the first session is stopped by its clock; the second finds the first one's output attached and finishes the training.
What both printed is shown, with the scores of the class at their ends. The exit status is 0 if the second resumed where the first stopped."""
import argparse, json, os, re, shutil, subprocess, sys, tempfile, time
from pathlib import Path

NOTEBOOK = Path(__file__).resolve().parents[2]/'nbs'/'tutorials'/'kaggle.ipynb'
COCO = 'datasets/awsaf49/coco-2017-dataset/coco2017'

def make_folders(root, data, earlier=None):
    "Folders like Kaggle's, with the output of an earlier session attached"
    coco = root/'input'/COCO
    coco.mkdir(parents=True)
    for name in ('annotations','train2017','val2017'): shutil.copytree(Path(data)/name, coco/name)
    if earlier: shutil.copytree(earlier, root/'input'/'notebooks'/'me'/'unet')
    (root/'working').mkdir()

def change_settings(nb, **values):
    "Give the settings cell other values"
    cell = next(c for c in nb.cells if c.cell_type=='code' and 'inputs ' in c.source and 'hours' in c.source)
    for name,value in values.items():
        cell.source,n = re.subn(rf'^{name} *=.*$', lambda _: f'{name} = {value}', cell.source, flags=re.M)
        if n!=1: sys.exit(f'the settings cell has {n} lines for {name}, one is expected')

def printed(nb)->list: # of lines
    "What the cells of a notebook printed or showed as text"
    outputs = [o for c in nb.cells if c.cell_type=='code' for o in c.outputs]
    text = '\n'.join(o.get('text') or o.get('data', {}).get('text/plain', '') for o in outputs)
    return [line for line in text.replace('\r', '\n').splitlines() if line.strip()]

def run_notebook(root, minutes, hours, out):
    "Within the namespaces: run the notebook, print what it printed"
    import nbformat
    from nbclient import NotebookClient
    nb = nbformat.read(NOTEBOOK, 4)
    change_settings(nb, inputs=f'Path({str(root/"input")!r})', work=f'Path({str(root/"working")!r})', minutes=minutes, hours=hours)
    client = NotebookClient(nb, timeout=None, kernel_name='python3', resources={'metadata':{'path':str(root/'working')}})
    start = time.time()
    try: client.execute()
    finally: nbformat.write(nb, out)
    print('\n'.join(printed(nb)), f'\n{time.time()-start:.0f} s', flush=True)

INSIDE = '''set -e
ip link set lo up 2>/dev/null || true
mount --bind "$1/input" "$1/input"; mount -o remount,bind,ro "$1/input"
if touch "$1/input/probe" 2>/dev/null; then echo "the input can be written to"; exit 3; fi
shift; exec "$@"'''

def run_session(root, minutes, hours, out)->str:
    "Run the notebook without a network, with a read-only input → what it printed"
    env = os.environ | dict(KAGGLE_KERNEL_RUN_TYPE='Batch', HF_HUB_OFFLINE='1', MPLBACKEND='Agg', COLUMNS='100')
    env.pop('IN_TEST', None)
    inner = [sys.executable, __file__, '--inside', root, '--minutes', minutes, '--hours', hours, '--out', out]
    command = ['unshare', '-rmn', 'bash', '-c', INSIDE, '-', root, *inner]
    res = subprocess.run([str(word) for word in command], env=env, text=True, capture_output=True)
    print(res.stdout, flush=True)
    if res.returncode: sys.exit(f'the notebook stopped with exit status {res.returncode}\n{res.stderr[-4000:]}')
    return res.stdout

def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data', nargs='?', help='COCO folder')
    p.add_argument('--minutes', type=float, default=2, help='of training, in both sessions together (default: 2)')
    p.add_argument('--first', type=float, default=1.5, help='minutes after which the first session is over (default: 1.5)')
    p.add_argument('--out', help='folder for the executed notebooks (default: a temporary one)')
    p.add_argument('--inside', type=Path, help=argparse.SUPPRESS)
    p.add_argument('--hours', type=float, help=argparse.SUPPRESS)
    o = p.parse_args()
    if not o.inside and not o.data: p.error('DATA is missing: give a COCO folder')
    return o

def main():
    o = parse()
    if o.inside: return run_notebook(o.inside, o.minutes, o.hours, o.out)
    out = Path(o.out or tempfile.mkdtemp()).absolute()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as d:
        one,two = Path(d)/'1',Path(d)/'2'
        make_folders(one, o.data)
        print('── first session')
        first = run_session(one, o.minutes, o.first/60, out/'first.ipynb')
        make_folders(two, o.data, one/'working')
        print('── second session')
        second = run_session(two, o.minutes, 11., out/'second.ipynb')
        finished = json.loads((two/'working'/'unet'/'settings.json').read_text())['finished']
    if not re.search('starts a new training', first): sys.exit('the first session did not start a new training')
    resumed = re.search(r'resumes after (\d+) epochs?', second)
    if not resumed or not finished: sys.exit('the second session did not resume and finish the training')
    print(f'stopped by its clock, resumed after {resumed[1]} epochs, complete')

if __name__=='__main__': main()
