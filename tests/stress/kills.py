# purpose: every command, killed by SIGKILL at random moments and started again, ends with the same bits: weights, logs, files
# minutes: 25 for 100 kills, 4 with --quick (14 kills)
# ci: yes
"""Exact resume under SIGKILL, proven by killing: `python tests/stress/kills.py --kills 100 --same 5 --overhead`

Half of the kills hit trainings, the other half all commands that write something: unet_train with two workers, accumulation and EMA,
--folds, unet_tune, unet_calibrate, unet_predict, unet_export, unet_doctor --repair.

A training on synthetic images is killed, continued from its run folder and killed again, until its share of the kills is used up;
then it may end. Last weights, best weights (sha256) and log must be those of the run that nobody disturbed, with 0 and 2 data workers.
- A kill counts once the session has taken a step that no session before it had taken; others are shown with ·, and do not count.
- At least half of the kills hit while last.ckpt or best.pth is written: the temporary file, left behind, is the proof.
- After each kill last.ckpt must open, and stand at most one save interval (1 or 3 steps) before the last step that was reached.
- The next session must go on, and remove the leftovers. Data workers are not killed: they have to notice by themselves, and end.
Sessions are forks of this process, which imports all and computes nothing; a tenth are `unet_train`, each a process of its own, with
the default network.

A command is killed at a step, or just before or after a file gets its name, and started again with the same options, as often as its share
says; then it may end. All that it wrote must be what the undisturbed command wrote, but for times, and no half-written file may be left."""
import argparse, csv, hashlib, itertools, json, os, shutil, signal, sys, tempfile, time, traceback
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
os.environ.update(MPLBACKEND='Agg', HF_HUB_OFFLINE='1', OPENBLAS_NUM_THREADS='1') # threads do not go well with forks
import numpy as np, torch
from fastai.callback.core import Callback
from fastai.learner import defaults
from unet_nbdev import batch, callbacks, calibrate, cli, doctor, evaluate, export, repair, report, runs, training
from unet_nbdev.checkpoint import load_train, load_unet
from unet_nbdev.core import DataError
from unet_nbdev.data import seg_dls
from unet_nbdev.items import read_items
from unet_nbdev.prep import Prep
from unet_nbdev.synth import synth_coco

# ── what is trained: `train` starts or continues in a folder, and tells its steps ────────────────────────────────────────────────
class Told(Callback):
    "Write each completed step to `fd`, and have last.ckpt written at every `every`-th"
    order = 60 # after the step, before `CheckpointCallback`
    def __init__(self, fd, every=1): self.fd,self.every = fd,every
    def after_batch(self):
        if not self.training: return
        state = self.train_state
        if state.n%state.plan['grad_accum']: return
        state.budget.last_save = -np.inf if state.step%self.every==0 else np.inf
        os.write(self.fd, b'%d\n'%state.step)

def ours(opt, sched, workers, every=1, grad_accum=1, **kw): # a network of half a million weights: written in 30 ms
    def train(fd, coco, run):
        dls = seg_dls(read_items(coco=coco), Prep('pad'), crop=32, bs=2, n_epoch=32*grad_accum, device='cpu', num_workers=workers)
        learn = training.seg_learner(dls, 'classic', width=16, depth=3, dropout=.1, opt=opt, cbs=[Told(fd, every)])
        plan = dict(resume=run) if (run/'last.ckpt').is_file() else dict(run=run, epochs=5, sched=sched, grad_accum=grad_accum, **kw)
        with learn.no_bar(), learn.no_logging(): learn.fit_unet(live=False, **plan)
    return SimpleNamespace(name=f'{opt} {sched} {workers} workers', train=train, whole=train, same=(opt,sched), every=every, n=80, secs=.03)

def command(n=50): # the default network: written in 0.2 s
    def run_it(cmd, coco, run, minutes):
        new = ['--coco', coco, '--crop', 64, '--bs', 2, '--max_steps', n, '--device', 'cpu', '--out', f'{run}.pth']
        args = ['--resume', run] if (run/'last.ckpt').is_file() else new
        os.execvp(cmd[0], [str(o) for o in (*cmd, *args, '--save_minutes', minutes)])
    def train(fd, coco, run):
        os.set_inheritable(fd, True)
        run_it((sys.executable, __file__, 'unet_train', fd), coco, run, 0)
    whole = lambda fd, coco, run: run_it(('unet_train',), coco, run, 9)
    return SimpleNamespace(name='unet_train', train=train, whole=whole, same='unet_train', every=1, n=n, secs=.2)

MORE = {('adamw','one_cycle'): dict(ema=.9, clip=1.), ('adamw','flat_cos'): dict(clip=.5, freeze_epochs=1), # all state of a training occurs
        ('sgd','one_cycle'): dict(ema=.9, every=3), ('sgd','flat_cos'): dict(grad_accum=2, every=3)}

def configs(kills): # [(configuration, its share of the kills)]; few kills go to two, which show both of everything
    cs = [ours(*k, w, **m) for w,(k,m) in itertools.product((0,2), MORE.items())]
    if kills<40: cs = [cs[0], cs[7]]
    cmd = max(1, kills//10)
    return [(c, (kills-cmd+i)//len(cs)) for i,c in enumerate(cs)]+[(command(), cmd)]

# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
sids = set() # all sessions ever started

def start(f, log, *args): # → process id of a fork that runs `f`, and where it tells its steps
    r,w = os.pipe()
    if pid := os.fork():
        os.close(w); os.set_blocking(r, False); sids.add(pid)
        return pid,r
    try:
        os.setsid()
        for fd in (1,2): os.dup2(os.open(log, os.O_CREAT|os.O_WRONLY|os.O_APPEND), fd)
        f(w, *args)
        os._exit(0)
    except BaseException: traceback.print_exc()
    finally: os._exit(1)

def last_step(r, n): # told since, else `n`
    try: said = os.read(r, 65536).split()
    except BlockingIOError: return n
    return int(said[-1]) if said else n

def attend(pid, r, ready=lambda n: False, wait=0.): # kill `wait` seconds after it is `ready` → last step told, exit status
    n,res = 0,(0,0)
    while not res[0] and not ready(n := last_step(r, n)):
        time.sleep(.0002)
        res = os.waitpid(pid, os.WNOHANG)
    if not res[0]:
        time.sleep(wait)
        os.kill(pid, signal.SIGKILL)
        res = os.waitpid(pid, 0)
    n = last_step(r, n)
    os.close(r)
    return n,res[1]

def whole(c, coco, run): # nobody disturbs it
    run.parent.mkdir(exist_ok=True)
    log = run.with_suffix('.log')
    if attend(*start(c.whole, log, coco, run))[1]: sys.exit(f'{c.name} failed:\n{log.read_text()[-3000:]}')
    return result(run)

def result(run): # what must be the same: sha256 of the last and of the best weights, and the log
    state,train,_ = load_train(run/'last.ckpt')
    rows = [{k:v for k,v in r.items() if k!='seconds'} for r in train['run']['rows']]
    return sha(state),sha(load_unet(run/'best.pth').model.state_dict()),repr(rows),table_without_times(run/'log.csv')

def table_without_times(f): # text of a CSV file
    with open(f, newline='', encoding='utf-8') as o: return repr([{k:v for k,v in r.items() if k!='seconds'} for r in csv.DictReader(o)])

def sha(state): return hashlib.sha256(b''.join(k.encode()+v.contiguous().numpy().tobytes() for k,v in state.items())).hexdigest()

# ── killing ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
class Chain:
    "Runs of one configuration, killed `want` times in all"
    def __init__(self, c, want, coco, path, rng, kills, faults):
        self.c,self.want,self.coco,self.path,self.rng,self.kills,self.faults = c,want,coco,path,rng,kills,faults
        self.mine,self.ended = 0,[] # kills that counted; of each run: was its result the right one?

    def fault(self, what): self.faults.append(f'{self.c.name}, run {len(self.ended)+1}, session {self.session}: {what}')

    def go(self, truth):
        while self.mine<self.want and not self.faults or not self.ended:
            self.run,self.best,self.session = self.path/f'run{len(self.ended)+1}',0,0 # `best`: last step that a session reached
            try:
                while not self.one(): pass
                same = result(self.run)==truth
            except (DataError, OSError) as e: same = self.fault(f'does not open: {e}')
            if not same: self.fault('not the result of the undisturbed run')
            self.ended.append(bool(same))

    def one(self): # session; → did it end by itself?
        self.session += 1
        before,log,kill = self.saved(),self.run.with_suffix('.log'),self.mine<self.want
        pid,r = start(self.c.train if kill else self.c.whole, log, self.coco, self.run)
        n,status = attend(pid, r, *(self.moment(pid) if kill else ()))
        done = status in (0, signal.SIGKILL) and self.finished() # killed after its last word: nothing is left to go on with
        if self.best and (n>self.best or done): self.kills[-1].resumed = True
        if not done and status==signal.SIGKILL: return self.judge(before, n, pid)
        if not done: self.fault(f'status {status}\n{log.read_text()[-2000:]}')
        return True

    def saved(self): # step at which last.ckpt stands
        if not (self.run/'last.ckpt').is_file(): return 0
        train = load_train(self.run/'last.ckpt')[1]
        return train['n']//train['plan']['grad_accum']

    def finished(self):
        f = self.run/'settings.json'
        return f.is_file() and json.loads(f.read_text(encoding='utf-8'))['finished']

    def moment(self, pid): # → when to kill, and how many seconds later
        r,c = self.rng,self.c
        if r.random()<.12: return (lambda n: True),r.uniform(0, 20*c.secs) # soon after the start
        far = max(1, 2*(c.n-self.best)//(self.want-self.mine+1))
        goal = min(self.best+r.integers(1, far+1), c.n-1)
        if sum(k.tmp for k in self.kills)>=.63*(len(self.kills)+1): return (lambda n: n>=goal),r.exponential(5*c.secs)
        tmp = f'.best.tmp{pid}-*' if r.random()<.15 else f'.last.tmp{pid}-*'
        return (lambda n: n>=goal and any(self.run.glob(tmp))),r.uniform(0, .4*c.secs)

    def judge(self, before, n, pid):
        saved,reached,new,tmps = self.saved(),max(n, before),n>self.best,[o.name for o in self.run.rglob('.*.tmp*')]
        tmp = any(o.startswith((f'.last.tmp{pid}', f'.best.tmp{pid}')) for o in tmps)
        k = SimpleNamespace(c=self.c, lost=reached-saved, tmp=tmp, resumed=False)
        if k.lost>self.c.every: self.fault(f'{k.lost} steps lost')
        if new and (old := [o for o in tmps if f'.tmp{pid}' not in o]): self.fault(f'leftovers of earlier sessions: {old}')
        if new: self.kills.append(k); self.mine += 1; self.best = n
        print(f'{len(self.kills) if new else "·":>4}  {self.c.name:27} run {len(self.ended)+1} session {self.session:<3} '
              f'{before:>3} → {reached:>3}, saved {saved:>3}  {"while saving " if tmp else ""}{" ".join(tmps)}', flush=True)

def kill_all(n, seed, coco, path): # → faults, the line that sums up
    rng,kills,faults,chains,truths = np.random.default_rng(seed),[],[],[],defaultdict(set)
    for i,(c,want) in enumerate(configs(n)):
        truth = whole(c, coco, path/f'{i}'/'whole')
        truths[c.same].add(truth)
        chains.append(Chain(c, want, coco, path/f'{i}', rng, kills, faults))
        chains[-1].go(truth)
    faults += [f'{k}: undisturbed runs differ' for k,v in truths.items() if len(v)>1]
    if m := orphans(): faults.append(f'{m} processes of killed sessions still run')
    table(chains, kills)
    most,saving,resumed = max((k.lost/k.c.every for k in kills), default=0),sum(k.tmp for k in kills),sum(k.resumed for k in kills)
    ended = [e for o in chains for e in o.ended]
    if n>=10 and 2*saving<len(kills): faults.append('less than half of the kills while saving')
    if not resumed==len(kills)>=n: faults.append(f'{resumed} of {len(kills)} kills resumed, {n} wanted')
    return faults,(f'{len(kills)} kills, {saving} of them while saving; {resumed} resumed; at most {most:.2g} save interval lost; '
                   f'{sum(ended)} of {len(ended)} runs bit-identical')

def table(chains, kills):
    row = '{:27} {:>6} {:>7} {:>5} {:>9} {:>5} {:>10}'.format
    print('\n'+row('', 'kills', 'saving', 'lost', 'interval', 'runs', 'identical'))
    for o in chains:
        ks = [k for k in kills if k.c is o.c]
        lost = max((k.lost for k in ks), default=0)
        print(row(o.c.name, len(ks), sum(k.tmp for k in ks), lost, o.c.every, len(o.ended), sum(o.ended)))

def orphans(seconds=20): # processes of our sessions that are left; data workers look for their parent every five seconds
    end = time.time()+seconds
    while (n := sum(map(_ours, Path('/proc').glob('[0-9]*/stat')))) and time.time()<end: time.sleep(.5)
    return n

def _ours(stat):
    try: state,_,_,sid,*_ = stat.read_text().rpartition(')')[2].split()
    except OSError: return False # it has just ended
    return state!='Z' and int(sid) in sids

# ── all commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────
NET = '--encoder test_efficientnet --weights none --device cpu --crop 32 --bs 4'
COMMANDS = dict( # what is killed → how it is started; {c} is the COCO set, {m} a model, {o} the folder to write to
    train=f'unet_train --coco {{c}} {NET} --max_steps 50 --grad_accum 2 --ema .9 --num_workers 2 --save_minutes 0 --out {{o}}/m.pth',
    folds=f'unet_train --coco {{c}} {NET} --max_steps 20 --folds 2 --grad_accum 2 --loss dice --save_minutes .01 --out {{o}}/m.pth',
    tune='unet_tune --coco {c} --crop 32 --device cpu --search lr,bs --trials 3 --max_steps 25 --out {o}/tune',
    calibrate='unet_calibrate --coco {c} --model {m} --all_images --tune --device cpu --out {o}/m.pth --plot {o}/plot.png',
    predict='unet_predict --input {c}/train --model {m} --mask --json --objects --device cpu --output {o}/drawn',
    export='unet_export --model {m} --out {o}/m.onnx',
    repair='unet_doctor --coco {c} --repair {o}/repaired')
UNTOLD = ('report.html', 'settings.json', 'study.db', 'last.ckpt') # hold times, or what is compared otherwise

def run_command(fd, name, coco, model, out): # in a fork
    "Run a command in this process, or go on with it, and tell each of its steps and files"
    out.mkdir(parents=True, exist_ok=True)
    defaults.callbacks.append(Told(fd))
    n,real = itertools.count(1),os.replace
    def tell(): os.write(fd, b'%d\n'%next(n))
    def replace(a, b):
        tell()
        real(a, b)
        tell()
    os.replace = replace
    Told.after_batch = lambda self: tell()
    command,*words = COMMANDS[name].format(c=coco, m=model, o=out).split()
    if name=='train' and (out/'m'/'last.ckpt').is_file(): words = ['--resume', str(out/'m'), '--save_minutes', '0']
    status = getattr(cli, command)(words)
    if status: sys.exit(f'{command} ended with {status}')

def written(out): # file → what it holds, without times and places
    found = {}
    for f in sorted(out.rglob('*')):
        name = str(f.relative_to(out))
        if f.name.startswith('.') and not f.name.startswith('.unet_predict'): found[name] = 'left half-written'
        if f.is_dir() or f.name in UNTOLD or f.name.startswith('.'): continue
        if f.suffix=='.pth':
            ckpt = load_unet(f)
            info = {k:ckpt.info.get(k) for k in ('scores','epoch','extremes','calibration')}
            found[name] = sha(ckpt.model.state_dict()),repr(ckpt.post),repr(info)
        elif f.suffix=='.csv': found[name] = table_without_times(f)
        else: found[name] = hashlib.sha256(f.read_bytes().replace(str(out).encode(), b'')).hexdigest()
    for f in out.rglob('last.ckpt'): found[str(f)] = sha(load_train(f)[0])
    return {k.replace(str(out), ''):v for k,v in found.items()}

def kill_command(name, want, coco, model, path, rng): # → kills, chains, faults
    "Kill a command `want` times, as often as it can be in one chain of sessions, and compare"
    path.mkdir(parents=True)
    log = path/f'{name}.log'
    last,status = attend(*start(run_command, log, name, coco, model, path/'whole'))
    if status: return 0,0,[f'{name} failed:\n{log.read_text()[-2000:]}']
    truth,killed,chains,faults = written(path/'whole'),0,0,[]
    while killed<want and not faults:
        out = path/f'cut{chains}'
        chains += 1
        ended,places = False,[]
        while not ended:
            goal = int(rng.integers(1, max(2, last//(2 if not places else 4)))) if killed<want and len(places)<6 else None
            ready = () if goal is None else ((lambda n: n>=goal), rng.exponential(.01)*(rng.random()<.5))
            n,status = attend(*start(run_command, log, name, coco, model, out), *ready)
            ended = status==0
            if ended: break
            if status!=signal.SIGKILL:
                faults.append(f'{name}, killed at {places}, then status {status}:\n{log.read_text()[-2000:]}')
                break
            places.append(n)
            killed += 1
        found = written(out)
        differ = [k for k in {**truth, **found} if truth.get(k)!=found.get(k)]
        if ended: faults += [f'{name}, killed at {places}: {k}: {str(found.get(k))[:300]} instead of {str(truth.get(k))[:300]}' for k in differ[:3]]
        print(f'{name:10} {last} steps and files, killed at {places}: {"the same" if not faults else "NOT the same"}', flush=True)
        shutil.rmtree(out, ignore_errors=True)
    return killed,chains,faults

def kill_commands(n, seed, coco, path): # → faults, the line that sums up
    attend(*start(run_command, path/'model.log', 'train', coco, None, path/'made'))
    rng,kills,chains,faults = np.random.default_rng([seed, 1]),0,0,[]
    for i,name in enumerate(COMMANDS):
        want = (n+i)//len(COMMANDS)
        k,c,found = kill_command(name, want, coco, path/'made'/'m.pth', path/name, rng)
        kills,chains,faults = kills+k,chains+c,faults+found
        if k<want: faults.append(f'{name} was killed {k} times, {want} wanted')
    return faults,f'{kills} kills of {len(COMMANDS)} commands in {chains} chains of sessions'

# ── same seed, one result; what saving costs ─────────────────────────────────────────────────────────────────────────────────────
def same(n, coco, path): # → faults
    res = {whole(command(), coco, path/f'same{i}') for i in range(n)}
    print(f'same seed {n} times: {len(res)} hash{"es"*(len(res)>1)} of the weights, {min(res)[0][:16]}')
    return ['the same seed gives several results'] if len(res)>1 else []

def overhead(path, epochs=6): # → faults
    torch.set_num_threads(os.cpu_count())
    secs = defaultdict(list)
    saver = callbacks.CheckpointCallback
    saver.save = timed(saver.save, lambda self: secs['last'])
    report.save_unet = timed(report.save_unet, lambda *_: secs['best'])
    dls = seg_dls(synth_coco(path/'beach'), device='cpu')
    learn = training.seg_learner(dls)
    t = time.perf_counter()
    with learn.no_bar(), learn.no_logging(): learn.fit_unet(epochs=epochs, run=path/'overhead', live=False)
    t,last,best = time.perf_counter()-t,np.median(secs['last']),np.median(secs['best'])
    spent = sum(secs['last'])+sum(secs['best'])
    print(f'saving, default network: last.ckpt {last:.2f} s (median of {len(secs["last"])}), best.pth {best:.2f} s; every 5 minutes: '
          f'{last/300:.2%} of the time\nafter each epoch, here {t/epochs:.1f} s ({len(dls.train)} steps): {spent/t:.2%} of {t:.0f} s')
    return ['saving costs 2 % or more'] if last/300>=.02 else []

def timed(f, where):
    def g(*args, **kw):
        t = time.perf_counter()
        res = f(*args, **kw)
        where(*args).append(time.perf_counter()-t)
        return res
    return g

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--kills', type=int, default=100, help='how many (default 100); below 80, trainings in two configurations and unet_train')
    p.add_argument('--quick', action='store_true', help='the same as --kills 14')
    p.add_argument('--only', choices=('trainings','commands'), help='all kills for one half')
    p.add_argument('--seed', type=int, default=0, help='of the moments')
    p.add_argument('--same', type=int, default=0, help='train so often with the same seed, and compare')
    p.add_argument('--overhead', action='store_true', help='measure what saving costs')
    o,t,path,faults,summary = p.parse_args(),time.time(),Path(tempfile.mkdtemp()),[],'nothing was killed'
    if o.quick: o.kills = 14
    shares = dict(trainings=o.kills//2, commands=o.kills-o.kills//2) if o.only is None else {o.only:o.kills}
    torch.set_num_threads(1) # none more before a fork
    try:
        attend(*start(lambda fd: synth_coco(path/'coco', n=12, sz=32), path/'coco.log'))
        said = []
        for which,kill in dict(trainings=kill_all, commands=kill_commands).items():
            if not shares.get(which): continue
            (path/which).mkdir()
            found,line = kill(shares[which], o.seed, path/'coco', path/which)
            faults += found
            said.append(line)
        summary = '; '.join(said) or summary
        if o.same: faults += same(o.same, path/'coco', path)
        if o.overhead: faults += overhead(path)
    finally: shutil.rmtree(path, ignore_errors=True)
    print(f'{time.time()-t:.0f} s', *faults, summary, sep='\n')
    return bool(faults)

if __name__=='__main__':
    if sys.argv[1:2]!=['unet_train']: sys.exit(main())
    defaults.callbacks.append(Told(int(sys.argv[2]))) # a session: the command, and its steps told
    sys.exit(cli.unet_train(sys.argv[3:]))
