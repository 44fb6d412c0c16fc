"""Each run in a process of its own, noted in a file

A child process gets its job as json and answers with one line of json. What it cannot import is a peer that is not installed. Whatever else
goes wrong is named in the table, and the others go on."""
import json, os, subprocess, sys
from pathlib import Path
from types import SimpleNamespace
import cv2, numpy as np
from unet_nbdev.core import DataError, write_json
from unet_nbdev.images import open_image
from benchmarks import data, growth, inputs, measure, prediction, scoring, training # registers the contenders
from benchmarks.registry import CONTENDERS, INPUTS, find_contender
from benchmarks.results import run_summary

# ── a child process ──────────────────────────────────────────────────────────────────────────────
def child_main():
    "Make an input, or run a contender, and print what it returns"
    job = SimpleNamespace(**json.loads(sys.argv[1]))
    job.work = Path(job.work)
    job.out = Path(job.out)
    job.out.mkdir(parents=True, exist_ok=True)
    if job.threads: cv2.setNumThreads(job.threads)
    try: result = run_job(job)
    except ImportError as e: result = dict(missing=e.name or str(e))
    print('\n'+json.dumps(result))

def run_job(job)->dict:
    "What the contender returns, with the peak memory unless it measured that itself; an input returns nothing"
    if job.make:
        INPUTS[job.make](job)
        return {}
    result = find_contender(job.run)(job)
    return result if 'gb' in result else dict(gb=measure.peak_memory(), **result)

def start_child(job)->dict:
    "Run a job in a new process → what it returns, or why it returns nothing"
    env = dict(os.environ, MPLBACKEND='Agg', HF_HUB_OFFLINE='1', NO_ALBUMENTATIONS_UPDATE='1', PYTHONWARNINGS='ignore')
    clone = str(Path(__file__).resolve().parent.parent)
    env['PYTHONPATH'] = os.pathsep.join(filter(None, [clone, os.environ.get('PYTHONPATH')]))
    if job['threads']: env.update(OMP_NUM_THREADS=str(job['threads']), MKL_NUM_THREADS=str(job['threads']))
    code = 'from benchmarks.runs import child_main; child_main()'
    try: p = subprocess.run([sys.executable, '-c', code, json.dumps(job)], env=env, capture_output=True, text=True, timeout=job['limit'])
    except subprocess.TimeoutExpired: return dict(failed=f'not done after {job["limit"]} s')
    if p.returncode:
        said = p.stderr.strip().splitlines() or [f'exit {p.returncode}']
        return dict(failed=said[-1][:200])
    return json.loads(p.stdout.splitlines()[-1])

# ── runs that are kept ───────────────────────────────────────────────────────────────────────────
def read_runs(file)->list:
    "The runs of a json file"
    try: return json.loads(file.read_text(encoding='utf-8'))['runs']
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError('holds no runs of a benchmark', 'Choose another file for them', file) from None

class Runs:
    "All runs of a benchmark, written to a file as they come"
    def __init__(self, file, settings):
        self.file = file
        self.settings = settings
        kept = read_runs(file) if file and file.exists() else []
        self.other = [r for r in kept if r['settings']!=settings] # of another size, for example
        self.all = [r for r in kept if r['settings']==settings and 'failed' not in r and 'missing' not in r]

    def has(self, name, k): return any(r['name']==name and r['round']==k for r in self.all)

    def add(self, **run):
        self.all.append(dict(run, settings=self.settings))
        if self.file: write_json(self.file, dict(runs=self.other+self.all))

# ── one benchmark ────────────────────────────────────────────────────────────────────────────────
def schedule(rows, sweeps, rounds)->list: # of (round, contender)
    "All runs: contenders in another order each round, sweeps and the machine's limits once"
    names = [*dict.fromkeys(name for row in rows for name in row.names())]
    todo = [(0, 'limits')]
    for k in range(rounds):
        first = k%len(names) if names else 0
        todo += [(k, name) for name in names[first:]+names[:first]]
    return todo+[(0, name) for name in sweeps]

class Session:
    "One call of `bench`: makes inputs when the first contender needs them, and starts the contenders in turn"
    def __init__(self, runs, work, job, tell):
        self.runs = runs
        self.work = Path(work)
        self.job = dict(job, make='', run='', work=str(work), out=str(self.work/'made'))
        self.tell = tell
        self.made = {} # input → what its process returned

    def folder(self, name)->Path:
        "What a contender leaves behind"
        return self.work/'out'/''.join(c if c.isalnum() else '_' for c in name)

    def need(self, name)->dict:
        "Make an input, once → why it is not there"
        if name not in self.made:
            given = name=='coco' and self.job['coco']
            self.made[name] = {} if given else start_child({**self.job, 'make':name})
        return self.made[name]

    def run(self, name)->dict:
        "Run a contender"
        for need in getattr(CONTENDERS.get(name), 'needs', ()):
            why = self.need(need)
            if 'failed' in why: return dict(failed=f'input {need}: {why["failed"]}')
            if why: return why
        return start_child({**self.job, 'run':name, 'out':str(self.folder(name))})

    def go(self, todo):
        "Run what the file does not hold yet"
        todo = [(k, name) for k,name in todo if not self.runs.has(name, k)]
        for i,(k,name) in enumerate(todo, 1):
            result = self.run(name)
            load = os.getloadavg()[0] if hasattr(os, 'getloadavg') else None
            self.runs.add(name=name, round=k, load=load, **result)
            if self.tell: self.tell(f'{i}/{len(todo)}  {name}: {run_summary(result)}')

    def note_agreement(self, rows):
        "Compare what both sides left behind, while it is still there"
        for row in rows:
            same = agreement(self.folder(row.ours), self.folder(row.peer)) if row.alike else None
            if same is not None: self.runs.add(name=f'{row.ours} = {row.peer}', round=0, same=same)

def load_values(f): return np.load(f) if f.suffix=='.npy' else open_image(f)

def equal_values(a, b): # → bool array
    return np.isclose(a, b, atol=1e-4, equal_nan=True) if a.dtype.kind=='f' else a==b

def agreement(a, b):
    "Share of the pixels (or numbers, to four digits) that are equal in the files that two folders share; None without such files"
    a,b = Path(a),Path(b)
    shared = sorted({f.name for f in a.glob('*')} & {f.name for f in b.glob('*')})
    pairs = [(load_values(a/name), load_values(b/name)) for name in shared]
    same = [equal_values(x, y) for x,y in pairs if x.shape==y.shape]
    if not same: return None
    return float(sum(s.sum() for s in same)/sum(s.size for s in same))
