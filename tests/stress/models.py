# purpose: damaged and lying model files, run folders and ONNX graphs end in a result or a DataError: no traceback, no hang, no memory without end
# minutes: 60 for 5,000 files and 500 graphs; 4 with --quick
# ci: yes
"""Model files (.pth, .safetensors, .onnx) and run folders that are not what they say, given to the commands in one process:
`python tests/stress/models.py [--quick] [--seed 0] [--files 5000] [--graphs 500]`

Some files are damaged byte by byte; others are whole and lie: in their settings, their tensors, the state of a training, or the operators of the
network. A second process does the work, so that a crash, and the memory it takes, are seen from outside. Seconds are those of the processor."""
import argparse, io, json, os, random, re, shutil, subprocess, sys, tempfile, time, traceback, warnings, zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parent.parent))

MOST_SECONDS = 10     # of the processor, for one command
MOST_TRAINING = 60    # the same, where a resumed training takes its last steps
MOST_BYTES = 10**9    # beyond what the process holds when it begins

class Workshop:
    "A folder with images, and one sound file of each kind"
    def __init__(self, folder):
        import numpy as np, torch
        from onnx import load
        from unet_nbdev.calibrate import Calibrated
        from unet_nbdev.checkpoint import Checkpoint, save_unet
        from unet_nbdev.cli import unet_train
        from unet_nbdev.core import Codes
        from unet_nbdev.export import export_onnx
        from unet_nbdev.model import create_unet
        from unet_nbdev.postprocessing import PostProcess
        from unet_nbdev.prep import Prep
        from unet_nbdev.synth import synth_masks
        torch.manual_seed(0)
        torch.set_num_threads(1)
        self.folder = Path(folder)
        if not (self.folder/'set').exists(): synth_masks(self.folder/'set', n=6, sz=64)
        self.images,self.masks = self.folder/'set'/'images',self.folder/'set'/'masks'
        self.image = sorted(self.images.iterdir())[0]
        net = create_unet('classic', width=4, depth=2).eval()
        info = dict(epoch=0, scores=dict(mean_dice=.5, pooled_iou=.5, images=2, classes=[dict(name='object', dice=.5)]),
                    settings=dict(valid='val_*', valid_pct=None, seed=0, group='(train|val)', fold=[0,2], flips='all', lr=.003, images=str(self.images)),
                    calibration=Calibrated(1.5, [20,20]).to_dict())
        self.ckpt = Checkpoint(net, Codes(['object'], ids=[255]), Prep(), PostProcess(open=1, dilate=[1], min_size=4), info)
        self.files = {o:self.folder/f'sound{o}' for o in ('.pth', '.safetensors', '.onnx')}
        for o in ('.pth', '.safetensors'): save_unet(self.files[o], self.ckpt)
        export_onnx(self.ckpt, self.files['.onnx'])
        self.onnx = load(self.files['.onnx'])
        self.whole = torch.load(self.files['.pth'], weights_only=True)
        self.run = self.folder/'run'
        self.data = ['--images', self.images, '--masks', self.masks]
        few = '--valid val_* --encoder test_efficientnet --weights none --max_steps 2 --bs 2 --crop 32 --device cpu --session_hours 1e-9'.split()
        if not self.run.exists(): call('unet_train', *self.data, *few, '--out', self.folder/'run.pth')
        self.last = torch.load(self.run/'last.ckpt', weights_only=True)
        self.out = self.folder/'out'

    def sound(self, kind):
        "Give sound files to the commands, which must succeed"
        run = self.folder/'sound_run'
        shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(self.out, ignore_errors=True)
        (self.folder/'sound_run.pth').unlink(missing_ok=True)
        if kind=='run':
            shutil.copytree(self.run, run)
            codes = [call('unet_train', '--resume', run)]
        else: codes = [call(*o) for file in self.files.values() for o in commands(self, file) if file.suffix!='.onnx' or o[0]!='unet_export']
        if any(codes): raise AssertionError(f'sound files end in exit codes {codes}')

def commands(w, file):
    "Command lines that open a model file, the usual ones first; some use the calibration that it holds"
    one = ['--model', file, *([] if file.suffix=='.onnx' else ['--device', 'cpu'])]
    found = [('unet_predict', *one, '--input', w.image, '--output', w.out/'o.png', '--mask', '--json'), ('unet_eval', *one, *w.data, '--all_images'),
             ('unet_eval', *one, *w.data), ('unet_predict', *one, '--input', w.images, '--output', w.out/'all', '--tta', '--cover', '.5')]
    if file.suffix=='.onnx': return found
    return [*found, ('unet_calibrate', *one, *w.data, '--all_images', '--out', w.out/'c.pth'), ('unet_calibrate', *one, *w.data, '--out', w.out/'d.pth'),
            ('unet_export', '--model', file, '--out', w.out/'e.onnx')]

def call(name, *args):
    "Call a command in this process → exit code"
    from unet_nbdev import cli
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return getattr(cli, name)([str(o) for o in args])

def damaged_zip(raw, rng):
    "An archive whose largest pickle is damaged, with check sums that agree"
    from mutate import mutated_part
    new = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(new, 'w') as z:
        for o in old.namelist():
            part = old.read(o)
            z.writestr(o, mutated_part(part, rng) if o.endswith('.pkl') else part)
    return new.getvalue()

def odd_tensor(t, rng):
    "Another tensor in place of one"
    import torch
    return rng.choice([lambda: t*float('nan'), lambda: t*1e30, lambda: t.double(), lambda: (t*100).char(), lambda: t.flatten()[:0], lambda: t.flatten(),
                       lambda: torch.zeros(1).expand(10**9), lambda: t.to('meta'), lambda: t.to_sparse(), lambda: 7, lambda: torch.zeros(3, 3)])()

def lying_model(w, suffix, rng):
    "Bytes of a whole model file that says something else"
    import torch
    from mutate import mutated_value
    text = json.dumps(mutated_value(json.loads(w.whole['unet_nbdev']), rng)) if rng.random()<.8 else w.whole['unet_nbdev']
    state = dict(w.whole['state'])
    if text==w.whole['unet_nbdev']:
        for k in rng.sample(sorted(state), rng.randint(1, 3)): state[k] = odd_tensor(state[k], rng)
        if rng.random()<.2: del state[rng.choice(sorted(state))]
    if suffix=='.pth':
        buf = io.BytesIO()
        torch.save({'unet_nbdev':text, 'state':state}, buf)
        return buf.getvalue()
    if suffix=='.safetensors':
        from safetensors.torch import save
        dense = {k:v.contiguous() for k,v in state.items() if getattr(v, 'device', None)==torch.device('cpu') and not v.is_sparse and v.numel()<10**6}
        return save(dense, {'unet_nbdev':text})
    return with_text(w.onnx, text)

def with_text(model, text):
    "Bytes of an ONNX model that says this of itself"
    from onnx import ModelProto, helper
    m = ModelProto()
    m.CopyFrom(model)
    d = json.loads(text)
    if isinstance(d, dict): d.pop('net', None)
    helper.set_model_props(m, {'unet_nbdev':json.dumps(d)})
    return m.SerializeToString()

def attack_file(w, rng):
    "One model file, damaged or lying → a command that opens it"
    from mutate import mutated_part
    suffix = rng.choice(sorted(w.files))
    raw = w.files[suffix].read_bytes()
    how = rng.random()
    if how<.2: raw = mutated_part(raw, rng)
    elif how<.35 and suffix=='.pth': raw = damaged_zip(raw, rng)
    else: raw = lying_model(w, suffix, rng)
    file = w.folder/f'evil{suffix}'
    file.write_bytes(raw)
    shutil.rmtree(w.out, ignore_errors=True)
    found = commands(w, file)
    return rng.choices(found, [6, 3, 2, 1, 1, 1, 1][:len(found)])[0]

def attack_run(w, rng):
    "One run folder, damaged or lying → a training that resumes in it"
    import torch
    from mutate import mutated_part, mutated_value
    evil = w.folder/'evil_run'
    shutil.rmtree(evil, ignore_errors=True)
    shutil.copytree(w.run, evil)
    (w.folder/'evil_run.pth').unlink(missing_ok=True)
    how = rng.random()
    if how<.6:
        whole = {**w.last, 'train':mutated_value(w.last['train'], rng, special=lied_values(rng, w))}
        torch.save(whole, evil/'last.ckpt')
    elif how<.7: (evil/'last.ckpt').write_bytes(damaged_zip((w.run/'last.ckpt').read_bytes(), rng))
    elif how<.9: (evil/'settings.json').write_text(json.dumps(mutated_value(json.loads((w.run/'settings.json').read_text()), rng)))
    else:
        file = rng.choice([o for o in evil.iterdir() if o.is_file() and o.suffix!='.html'])
        file.write_bytes(mutated_part(file.read_bytes(), rng))
    return 'unet_train','--resume',evil

def lied_values(rng, w):
    "Odd values for the state of a training, tensors among them"
    import torch
    from mutate import SPECIAL
    tensor = next(iter(w.last['state'].values()))
    return [*SPECIAL, odd_tensor(tensor, rng), torch.tensor(float('nan')), 10**10]

def odd_nodes(rng):
    "Operators that ask for much, or for what does not exist: (nodes, numbers by name); they lead from `a` to `b`"
    from onnx import helper
    import numpy as np
    mild = rng.random()<.5 # so that more of them get as far as onnxruntime
    def big(): return rng.choice((0, 1, 1, 2, 3, 7, 64) if mild else (0, 1, 2, 3, 7, 64, 1000, 10**5, 2**31-1, 2**40, -1, -5))
    def ints(n): return [big() for _ in range(n)]
    def node(op, ins=('a',), out='b', **attrs): return helper.make_node(op, list(ins), [out], **attrs)
    def scales(): return np.array([1, rng.choice((1, 1, 2, 50)), *[rng.choice((.1, 1, 2, 30) if mild else (0, 1e3, 1e6, -1, np.nan)) for _ in range(2)]], np.float32)
    n = rng.randint(1, 40)
    doubled = [node('Concat', (f'd{k}' if k else 'a',)*2, f'd{k+1}' if k<n-1 else 'b', axis=rng.choice((0, 1, 2, 3))) for k in range(n)]
    unary = rng.choice('Relu Softmax Sigmoid Erf Floor Exp Sqrt Neg Abs Identity Gelu Softplus'.split())
    choices = [
        lambda: (doubled, {}),
        lambda: ([node('Resize', ('a','','s'))], dict(s=scales())),
        lambda: ([node('Resize', ('a','s'))], dict(s=scales())),
        lambda: ([node('Resize', ('a','','','s'))], dict(s=np.array(ints(4)))),
        lambda: ([node('Mul', ('s','s'), 't'), node('Resize', ('a','','t'))], dict(s=scales())),
        lambda: ([node('Shape', out='t'), node('Mul', ('t','s'), 'u'), node('Resize', ('a','','','u'))], dict(s=np.array(ints(4)))),
        lambda: ([node('Cast', out='t', to=7), node('Shape', ('t',), 'u'), node('Resize', ('a','','','t'))], {}),
        lambda: ([node('Pad', ('a','p'))], dict(p=np.array(ints(8)))),
        lambda: ([node('Pad', pads=ints(8))], {}),
        lambda: ([node('Conv', ('a','w'), strides=ints(2), pads=ints(4))], dict(w=np.ones((2, 2, 3, 3), np.float32))),
        lambda: ([node('Conv', ('a','w'), dilations=ints(2), group=big())], dict(w=np.ones((2, 2, 3, 3), np.float32))),
        lambda: ([node('Conv', ('a','w'), auto_pad=rng.choice(('SAME_UPPER','VALID','ODD')), strides=ints(2))], dict(w=np.ones((4, 2, 1, 1), np.float32))),
        lambda: ([node('ConvTranspose', ('a','w'), strides=ints(2), output_padding=ints(2))], dict(w=np.ones((2, 2, 2, 2), np.float32))),
        lambda: ([node('ConvTranspose', ('a','w'), pads=ints(4), dilations=ints(2), group=big())], dict(w=np.ones((2, 2, 2, 2), np.float32))),
        lambda: ([node(rng.choice(('MaxPool','AveragePool')), kernel_shape=ints(2), strides=ints(2), pads=ints(4), ceil_mode=rng.choice((0, 1)))], {}),
        lambda: ([node('Reshape', ('a','s'))], dict(s=np.array(ints(rng.randint(0, 6))))),
        lambda: ([node('Slice', ('a','s','t','u','v'))], {k:np.array(ints(2)) for k in 'stuv'}),
        lambda: ([node('Gather', ('a','s'), axis=big()%2**31)], dict(s=np.array(ints(rng.choice((1, 500)))))),
        lambda: ([node('Transpose', perm=ints(4))], {}),
        lambda: ([node('Unsqueeze', ('a','s'))], dict(s=np.array(ints(rng.randint(1, 12))))),
        lambda: ([node('Squeeze', ('a','s'))], dict(s=np.array(ints(2)))),
        lambda: ([node(rng.choice(('ReduceMean','ReduceMax')), axes=ints(2), keepdims=rng.choice((0, 1)))], {}),
        lambda: ([node('MatMul', ('a','w'))], dict(w=np.ones((64, rng.choice((1, 64, 5000))), np.float32))),
        lambda: ([node('Add', ('a','w'))], dict(w=np.ones((rng.choice((1, 300)), 1, 1, 1, 1), np.float32))),
        lambda: ([node('Split', axis=big()%5), node('Relu', ('b',), 'c')], {}),
        lambda: ([node(unary, ('a','a','nothing')[:rng.randint(1, 3)])], {}),
        lambda: ([node('Softmax', axis=big()%2**31)], {}),
        lambda: ([node('Cast', to=rng.choice((1, 6, 7, 8, 9, 10, 11, 16, 99)))], {}),
        lambda: ([node('Relu', ('b',))], {}),
        lambda: ([node('Div', ('a','w'))], dict(w=np.zeros((1, 1, 1, 1), np.float32)))]
    return rng.choice(choices)()

def hostile_graph(w, rng):
    "Bytes of an ONNX file with such operators before its output"
    import numpy as np
    from onnx import ModelProto, helper, numpy_helper
    m = ModelProto()
    m.CopyFrom(w.onnx)
    first,numbers = 'probs',{}
    m.graph.node[-1].output[0] = 'start'
    name,extra = 'start',[]
    for k in range(rng.choice((1, 1, 2, 3))):
        nodes,more = odd_nodes(rng)
        after = f'n{k}'
        def renamed(o): return o if not o else name if o=='a' else after if o=='b' else f'{after}_{o}'
        for node in nodes:
            node.input[:] = [renamed(o) for o in node.input]
            node.output[:] = [renamed(o) for o in node.output]
        extra += nodes
        numbers |= {f'{after}_{k}':v for k,v in more.items()}
        name = after
    if rng.random()<.5: # back to the size that is expected
        extra.append(helper.make_node('Shape', ['start'], ['size']))
        extra.append(helper.make_node('Resize', [name,'','','size'], [first]))
    else: extra.append(helper.make_node('Identity', [name], [first]))
    m.graph.node.extend(extra)
    m.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k,v in numbers.items())
    if rng.random()<.3: m.opset_import[0].version = rng.choice((1, 2, 9, 10, 11, 13, 18))
    return m.SerializeToString()

def attack_graph(w, rng):
    "One hostile ONNX graph → a prediction with it"
    file = w.folder/'evil_graph.onnx'
    file.write_bytes(hostile_graph(w, rng))
    shutil.rmtree(w.out, ignore_errors=True)
    return 'unet_predict','--model',file,'--input',w.image,'--output',w.out/'o.png'

ATTACKS = dict(file=attack_file, run=attack_run, graph=attack_graph)

def held_bytes(key):
    "Memory of this process, from the system: VmRSS now, VmHWM at most; 0 where it does not say"
    try: return 1024*int(re.search(rf'{key}:\s*(\d+)', Path('/proc/self/status').read_text())[1])
    except (OSError, TypeError): return 0

def forget_peak():
    "Let VmHWM begin again at what is held now"
    try: Path('/proc/self/clear_refs').write_text('5')
    except OSError: pass

def work(folder, kind, first, n, seed):
    "What the second process does: cases first to first+n of a kind; a line of JSON for each that went wrong, then a summary"
    w = Workshop(folder)
    for _ in range(2): w.sound(kind) # imports what is needed
    before = held_bytes('VmRSS')
    codes,grown = {},0
    for k in range(first, first+n):
        rng = random.Random(f'{seed}/{kind}/{k}')
        (w.folder/'case').write_text(f'{kind} {k}')
        args = ATTACKS[kind](w, rng)
        forget_peak()
        start,wrong = time.process_time(),''
        try: code = call(*args)
        except BaseException: code,wrong = 'traceback',traceback.format_exc()
        seconds = time.process_time()-start
        most = MOST_TRAINING if kind=='run' and code==0 else MOST_SECONDS
        if seconds>most: wrong = f'{seconds:.1f} s'
        grown = max(grown, held_bytes('VmHWM')-before)
        if held_bytes('VmHWM')-before>MOST_BYTES: wrong += f' {(held_bytes("VmHWM")-before)/2**20:.0f} MB'
        codes[str(code)] = codes.get(str(code), 0)+1
        if wrong: print(json.dumps(dict(case=f'{kind} {k}', wrong=wrong)), flush=True)
    print(json.dumps(dict(codes=codes, grown=grown)), flush=True)

def spread(folder, kind, n, seed, most=250):
    "Give the cases to processes, one after the other → (results by exit code, memory, what went wrong)"
    codes,grown,wrong = {},0,[]
    for first in range(0, n, most):
        args = [sys.executable, __file__, '--work', folder, kind, str(first), str(min(most, n-first)), str(seed)]
        env = {**os.environ, 'OMP_NUM_THREADS':'1'}
        try: done = subprocess.run(args, capture_output=True, text=True, env=env, timeout=3600)
        except subprocess.TimeoutExpired: wrong.append(dict(case=(Path(folder)/'case').read_text(), wrong='does not end'))
        else:
            found = [json.loads(o) for o in done.stdout.splitlines() if o.startswith('{')]
            wrong += [o for o in found if 'wrong' in o]
            last = found[-1] if found and 'codes' in found[-1] else None
            if done.returncode or not last:
                wrong.append(dict(case=(Path(folder)/'case').read_text(), wrong=f'exit {done.returncode}: {done.stderr[-3000:]}'))
                continue
            grown = max(grown, last['grown'])
            for k,v in last['codes'].items(): codes[k] = codes.get(k, 0)+v
    return codes,grown,wrong

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='a twentieth of the cases')
    parser.add_argument('--seed', default='0')
    parser.add_argument('--files', type=int, default=5000, help='model files and run folders; a tenth are run folders')
    parser.add_argument('--graphs', type=int, default=500)
    parser.add_argument('--work', nargs=5, help=argparse.SUPPRESS)
    parser.add_argument('--case', nargs=2, metavar=('KIND', 'NUMBER'), help='one case alone, with its traceback')
    args = parser.parse_args()
    if args.work:
        folder,kind,first,n,seed = args.work
        return work(folder, kind, int(first), int(n), seed)
    part = 20 if args.quick else 1
    n_runs = args.files//10//part
    todo = dict(file=args.files//part-n_runs, run=n_runs, graph=args.graphs//part)
    with tempfile.TemporaryDirectory() as folder:
        Workshop(folder)
        if args.case: return print(call(*ATTACKS[args.case[0]](Workshop(folder), random.Random(f'{args.seed}/{args.case[0]}/{args.case[1]}'))))
        all_wrong,most = [],0
        for kind,n in todo.items():
            start = time.time()
            codes,grown,wrong = spread(folder, kind, n, args.seed)
            said = ', '.join(f'{v} exit {k}' for k,v in sorted(codes.items()))
            print(f'{kind}: {n} cases ({said}), {len(wrong)} wrong, {grown/2**20:.0f} MB, {time.time()-start:.0f} s', flush=True)
            for o in wrong[:20]: print(f'{o["case"]}: {o["wrong"]}', flush=True)
            all_wrong += wrong
            most = max(most, grown)
    if all_wrong or most>MOST_BYTES: sys.exit(f'{len(all_wrong)} of {sum(todo.values())} cases went wrong, {most/2**20:.0f} MB')
    print(f'{sum(todo.values())} damaged and lying files (seed {args.seed}): no traceback, none over {MOST_SECONDS} s, {most/2**20:.0f} MB at most')

if __name__=='__main__': main()
