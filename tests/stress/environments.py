# purpose: in every environment a command does its work, or says in one line why it cannot: never a traceback
# minutes: 8, 3 with --quick (fewer commands in each environment, fewer interruptions)
# ci: yes
"""Commands in bad surroundings: `python tests/stress/environments.py [--quick] [--only disk] [--seed 0]`

Closed and broken output, output in five encodings, a disk that is full, files that may not grow, a folder that is read-only, no home, few open
files, little memory, little shared memory, another user, eight threads in one `Segmenter`, and Ctrl-C at random moments.
Each case is a fork of this process, which imports all and computes nothing; interrupted commands are processes of their own.
A case is right if the command ends with 0 or 1 and its files are there, or with 2 and one line that names the command; if nothing says
Traceback; if no temporary file is left. Environments that this system cannot make are named at the end."""
import argparse, ctypes, os, random, re, resource, shutil, signal, subprocess, sys, tempfile, time, traceback
from dataclasses import dataclass
from pathlib import Path
os.environ.update(OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1', MPLBACKEND='Agg', HF_HUB_OFFLINE='1')

ENCODINGS = 'cp1252 latin-1 ascii cp437 koi8-r'.split()
NOBODY = 65534

class Impossible(Exception): "This system cannot make the environment"

# ── environments: what is done in the fork before the command runs ───────────────────────────────────────────────────────────────
def set_output(fd=None, encoding='utf-8', **files):
    "Connect the standard output to a descriptor; None: close it"
    if fd is None: os.close(1)
    else: os.dup2(fd, 1)
    sys.stdout = fd if fd is None else open(1, 'w', encoding=encoding, closefd=False)

def close_all(here):
    for fd in range(3): os.close(fd)
    sys.stdin = sys.stdout = sys.stderr = None

def broken_pipe(here):
    r,w = os.pipe()
    os.close(r)
    set_output(w)

def encoded(name): return lambda here: set_output(os.open(here/'printed.txt', os.O_WRONLY|os.O_CREAT), name)
def limited(what, n): return lambda here: resource.setrlimit(what, (n, resource.getrlimit(what)[1]))

def little_memory(mb):
    "Allow this much more address space than the process has"
    def limit(here):
        pages = int(Path('/proc/self/statm').read_text().split()[0])
        limited(resource.RLIMIT_AS, pages*resource.getpagesize()+mb*2**20)(here)
    return limit

def mount(folder, size):
    "Mount a small memory disk that only this process sees"
    libc = ctypes.CDLL(None, use_errno=True)
    private,namespace = 1<<18|1<<14,0x20000
    if libc.unshare(namespace) or libc.mount(b'none', b'/', None, private, None): raise Impossible
    if libc.mount(b'tmpfs', str(folder).encode(), b'tmpfs', 0, f'size={size}'.encode()): raise Impossible

def full_disk(size):
    def fill(here):
        if os.getuid(): raise Impossible
        mount(here/'out', size)
    return fill

def small_shm(here):
    if os.getuid(): raise Impossible
    mount('/dev/shm', 65536)

def be_nobody():
    if os.getuid(): return
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)

def another_user(here):
    for o in (here, here/'out', here/'out'/'old.pth'): os.chmod(o, 0o777)
    be_nobody()

def read_only(here):
    os.chmod(here/'out', 0o555)
    be_nobody()

def no_home(here):
    os.environ.pop('HOME')
    os.environ.pop('XDG_CACHE_HOME', None)

ENVIRONMENTS = {
    'as usual': lambda here: None, 'output closed': lambda here: set_output(), 'all closed': close_all, 'broken pipe': broken_pipe,
    'output to a full disk': lambda here: set_output(os.open('/dev/full', os.O_WRONLY)),
    **{f'output in {o}': encoded(o) for o in ENCODINGS},
    **{f'files of {n} bytes': limited(resource.RLIMIT_FSIZE, n) for n in (0, 4096, 65536)},
    **{f'disk of {n} kB': full_disk(n<<10) for n in (4, 64, 512)},
    'read-only folder': read_only, 'another user': another_user, 'no home': no_home,
    'home that does not exist': lambda here: os.environ.update(HOME='/nonexistent'),
    '64 open files': limited(resource.RLIMIT_NOFILE, 64),
    **{f'{mb} MB of memory': little_memory(mb) for mb in (8, 64, 256)}, 'small shared memory': small_shm}

# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass
class Command:
    name:str
    args:str          # {d}: folder of data and models, {out}: folder to write to
    writes:str        # a file that is there after 0 or 1
    share:float=1.    # of the environments in which --quick runs it
    code:int=0        # exit status where all is well

SMALL = '--encoder test_efficientnet --weights none --crop 32 --bs 2 --max_steps 2 --device cpu'
MASKS = '--images {d}/masks/images --masks {d}/masks/masks'
COMMANDS = [
    Command('unet_doctor', '--coco {d}/coco --repair {out}/fixed --html {out}/a.html --json {out}/a.json', 'fixed/doctor/changes.json'),
    Command('unet_predict', '--input {d}/photos --model {d}/beach.pth --output {out}/drawn --mask --json --objects --probs '
            '--annotations yolo --device cpu', 'drawn/objects.csv', .8),
    Command('unet_predict', '--input {d}/photos/0.png --model {d}/beach.pth --output {out}/one.png --kaggle classes', 'one_kaggle.csv', .4),
    Command('unet_calibrate', f'--model {{d}}/stones.pth {MASKS} --all_images --out {{out}}/old.pth --plot {{out}}/a.png', 'a.png', .6),
    Command('unet_eval', f'--model {{d}}/stones.pth {MASKS} --all_images --json {{out}}/a.json --html {{out}}/a.html', 'a.html', .15),
    Command('unet_export', '--model {d}/beach.pth --out {out}/a.onnx', 'a.onnx', .4),
    Command('unet_train', f'{MASKS} {SMALL} --out {{out}}/new.pth --num_workers 2', 'new.pth', .06),
    Command('unet_tune', f'{MASKS} --crop 32 --max_steps 2 --device cpu --trials 1 --out {{out}}/search', 'search/trials.csv', .03),
    Command('unet_bench', '--rounds 0', '', .1, 2)]

def threads(d, out): # eight threads in one Segmenter
    from concurrent.futures import ThreadPoolExecutor
    from unet_nbdev.images import image_files, open_image
    from unet_nbdev.inference import Segmenter
    seg = Segmenter(f'{d}/beach.pth', 'cpu')
    images = [open_image(f) for f in image_files(f'{d}/photos')]*4
    with ThreadPoolExecutor(8) as ex: masks = list(ex.map(lambda img: seg(img).mask, images))
    if any((a!=seg(img).mask).any() for a,img in zip(masks, images)): sys.exit('threads give other masks')

# ── one case ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
def in_fork(f): # → (exit status, what it wrote to stderr)
    r,w = os.pipe()
    pid = os.fork()
    if not pid:
        code = 99
        try:
            os.setsid()
            os.close(r)
            os.dup2(w, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stderr = open(2, 'w', closefd=False)
            sys.stdout = open(1, 'w', closefd=False)
            code = f()
            for o in filter(None, (sys.stdout, sys.stderr)): o.flush() # as Python does at its end
        except SystemExit as e: code = e.code if isinstance(e.code, int) else os.write(2, f'{e.code}\n'.encode()) and 1
        except Impossible: code = 98
        except BaseException: os.write(2, traceback.format_exc().encode(errors='replace'))
        finally: os._exit(code or 0)
    os.close(w)
    with open(r, encoding='utf-8', errors='replace') as f: text = f.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]),text

def leftovers(folder): return [o.name for o in folder.rglob('.*') if re.search(r'\.tmp\d', o.name)]

def fault(command, where, code, text, out): # what is wrong with an outcome, or ''
    if 'Traceback' in text: return 'a traceback'
    if code not in (0, 1, 2): return f'it ended with {code}'
    said = [l for l in text.splitlines() if l.startswith(f'{command.name}: ')]
    if code==2 and where!='all closed' and len(said)!=1: return f'{len(said)} lines of the command instead of one'
    mounted = where.startswith('disk of') # only the fork has seen it
    if code<2 and command.writes and not mounted and not (out/command.writes).exists(): return f'{command.writes} is missing'
    if where=='as usual' and code!=command.code: return f'it ended with {code}'
    return f'{leftovers(out)} is left' if leftovers(out) else ''

def run_case(where, command, d, here):
    "Run a command in an environment → (exit status, stderr, fault)"
    from unet_nbdev import cli
    shutil.rmtree(here, ignore_errors=True)
    (here/'out').mkdir(parents=True)
    shutil.copyfile(d/'stones.pth', here/'out'/'old.pth')
    def run():
        os.chdir(here)
        ENVIRONMENTS[where](here)
        return getattr(cli, command.name)(command.args.format(d=d, out=here/'out').split())
    code,text = in_fork(run)
    (here/'out').chmod(0o755)
    return code,text,code!=98 and fault(command, where, code, text, here/'out')

# ── Ctrl-C ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
def interrupted(command, d, here, seconds): # → fault of a command that gets Ctrl-C after some time
    args = command.args.format(d=d, out=here/'out').split()
    start = f'import sys; sys.argv[0] = {command.name!r}; from unet_nbdev.cli import {command.name}; sys.exit({command.name}())'
    def restore(): signal.signal(signal.SIGINT, signal.SIG_DFL)
    p = subprocess.Popen([sys.executable, '-c', start, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         start_new_session=True, preexec_fn=restore)
    time.sleep(seconds)
    os.killpg(p.pid, signal.SIGINT) # as a terminal does: to the workers, too
    _,text = p.communicate()
    if p.returncode==0: return '' # it was done
    early = seconds<.2 and 'site' in text # Python itself was starting
    if early or p.returncode==-signal.SIGINT and seconds<.2: return ''
    ok = p.returncode==130 and 'Traceback' not in text and 'interrupted' in text.splitlines()[-1]
    return '' if ok else f'Ctrl-C after {seconds:.2f} s: it ended with {p.returncode}: {text[-300:]}'

# ── all ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
def make_data(d):
    "Images with annotations, and two models"
    import torch
    from unet_nbdev.checkpoint import Checkpoint, save_unet
    from unet_nbdev.core import Codes
    from unet_nbdev.images import write_image
    from unet_nbdev.model import create_unet
    from unet_nbdev.postprocessing import PostProcess
    from unet_nbdev.prep import Prep
    from unet_nbdev.synth import BEACH, synth_coco, synth_image, synth_masks
    synth_coco(d/'coco', n=4, sz=64)
    synth_masks(d/'masks', n=6, sz=64)
    for k in range(3): write_image(d/'photos'/f'{k}.png', synth_image(k, 64)[0])
    for name,codes in (('beach', BEACH), ('stones', Codes(['stone'], [255]))):
        net = create_unet('classic', width=4, depth=2, n_cls=codes.n_cls)
        save_unet(d/f'{name}.pth', Checkpoint(net, codes, Prep(), PostProcess(), {}))
    for o in [d, *d.rglob('*')]: o.chmod(0o755 if o.is_dir() else 0o644)

def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--quick', action='store_true', help='slow commands in a few environments only, fewer interruptions')
    p.add_argument('--only', default='', help='cases whose names contain this, such as "no home: unet_train"')
    p.add_argument('--seed', type=int, default=0, help='of the moments of interruption, and of what --quick leaves out')
    p.add_argument('--verbose', action='store_true', help='print each case')
    return p.parse_args()

def main():
    o = parse()
    rng = random.Random(o.seed)
    faults,impossible,n = [],set(),0
    with tempfile.TemporaryDirectory() as top:
        top = Path(top).resolve()
        top.chmod(0o755)
        d,here = top/'data',top/'case'
        code,text = in_fork(lambda: make_data(d))
        if code: sys.exit(f'the data cannot be made: {text}')
        import unet_nbdev.all, unet_nbdev.batch, unet_nbdev.evaluate, unet_nbdev.export, unet_nbdev.runs # before the forks
        import multiprocessing.popen_fork, timm # another user may not see them
        try: import onnx, onnxruntime # nor these
        except ImportError: pass
        from unet_nbdev.show import figure, save_fig
        with figure(1, 1) as (fig,_): save_fig(fig, top/'a.png') # loads the fonts
        code,text = in_fork(lambda: threads(d, top))
        if code: faults.append(f'8 threads in one Segmenter: {text}')
        for where in ENVIRONMENTS:
            for command in COMMANDS:
                if o.only not in f'{where}: {command.name}': continue
                always = o.only or where=='as usual' or command.name=='unet_train' and where in ('small shared memory', '64 open files')
                if o.quick and not always and rng.random()>command.share: continue
                began = time.perf_counter()
                code,text,wrong = run_case(where, command, d, here)
                n += 1
                if code==98: impossible.add(where)
                if wrong: faults.append(f'{where}: {command.name}: {wrong}\n{text[-3000:]}')
                last = (text.splitlines() or [''])[-1]
                if o.verbose: print(f'{where:24} {command.name:15} {code:3} {time.perf_counter()-began:5.1f} s  {wrong or last[:150]}', flush=True)
        moments = [rng.uniform(.1, 6) for _ in range(4 if o.quick else 30)] if not o.only or o.only in 'ctrl-c' else []
        for k,seconds in enumerate(moments):
            shutil.rmtree(here, ignore_errors=True)
            (here/'out').mkdir(parents=True)
            shutil.copyfile(d/'stones.pth', here/'out'/'old.pth')
            wrong = interrupted(COMMANDS[k%7], d, here, seconds)
            if wrong: faults.append(f'{COMMANDS[k%7].name}: {wrong}')
    print(*faults, sep='\n')
    if impossible: print(f'not possible on this system: {", ".join(sorted(impossible))}')
    if faults: sys.exit(f'{len(faults)} faults')
    print(f'{n} commands in {len(ENVIRONMENTS)} environments, {len(moments)} interruptions: each did its work or said in one line why not')

if __name__=='__main__': main()
