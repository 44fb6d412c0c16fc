"""The rules of the house, read from the code: who may import what, and how large a few things may get.

`nbs/index.ipynb` asserts that no rule is broken, `nbs/architecture.ipynb` draws the imports, `.ci/imports.py` looks at what is loaded."""
import ast, re, sys
from pathlib import Path

MAX_CLI_LINES = 400    # of code: commands are signatures and prints
MAX_PRIVATE_NAMES = 10 # that modules take from one another

# neither torch nor fastai: in a notebook on reading data, or on a server, they cost seconds
LIGHT_BELOW = '16'     # all rooms below this number, and these:
LIGHT = 'postprocessing runtime calibrate console'.split()
TORCH_INSIDE = ['calibrate']                                    # of these, which may import torch within a function
NO_TORCH_AT_TOP = 'evaluate batch'.split()                      # torch within functions only
NO_FASTAI = 'device model losses metrics checkpoint inference'.split() # torch, but neither fastai nor torchvision
MAY_TRAIN = 'runs sessions tune cli all'.split()               # may import training
MAY_AUGMENT = ['data']                                          # may import albumentations
CLI_AT_TOP = {'', 'core', 'settings', 'progress', 'console', 'fastcore', *sys.stdlib_module_names} # what cli may load before a command runs

def module_order(nbs)->dict: # module → what stands before the first `_` in its notebook's name: '07', '08a', '08da', …
    "Modules in the order of their notebooks"
    names = [re.match(r'(\d+[a-z]*)_(\w+)\.ipynb', f.name) for f in sorted(Path(nbs).glob('[0-9]*.ipynb'))]
    return {m[2]:m[1] for m in names if m}

def is_light(module, order)->bool:
    "Must this module do without torch and fastai?"
    return order[module]<LIGHT_BELOW or module in LIGHT

def imported(node, order):
    "Yield what an import statement loads; a module of ours is written `.module`, however it is imported"
    if isinstance(node, ast.Import): names = [a.name for a in node.names]
    elif not isinstance(node, ast.ImportFrom): return
    else:
        name = '.'*node.level+(node.module or '')
        # `from . import a`: a is a module, or a name such as __version__
        names = [f'.{a.name}' for a in node.names if a.name in order] if name in ('.','unet_nbdev') else [name]
    for name in names: yield re.sub(r'^unet_nbdev\b\.?', '.', name)

def imports(f, order):
    "Yield (module, at the top?) for every import of a file"
    tree = ast.parse(Path(f).read_text(encoding='utf-8'))
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef,ast.AsyncFunctionDef,ast.Lambda))]
    inner = {id(n) for f in functions for n in ast.walk(f)}
    for node in ast.walk(tree):
        for name in imported(node, order): yield name,id(node) not in inner

def private_names(f):
    "Yield (module, name) for every `from .module import _name`, and every `module._name` of a module of ours"
    tree = ast.parse(Path(f).read_text(encoding='utf-8'))
    ours = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not (node.level or (node.module or '').startswith('unet_nbdev')): continue
        for a in node.names:
            if a.name.startswith('_') and not a.name.startswith('__'): yield node.module,a.name
            ours[a.asname or a.name] = a.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith('_') and not node.attr.startswith('__'):
            if isinstance(node.value, ast.Name) and ours.get(node.value.id)==node.value.id: yield node.value.id,node.attr

def modules(folder):
    "The generated modules of a package"
    return [f for f in sorted(Path(folder).glob('*.py')) if not f.stem.startswith('_')]

def import_faults(me, name, top, order):
    "Yield the rules that one import breaks"
    room = name.lstrip('.').split('.')[0]
    if name.startswith('.'):
        if room and order.get(room, '99')>=order[me]: yield f'{me} imports {room}, which does not lie below it'
        if room=='training' and me not in MAY_TRAIN: yield f'{me} imports training'
    elif room in ('torch','fastai','torchvision'):
        inside = not top and me in TORCH_INSIDE
        if is_light(me, order) and not inside: yield f'{me} imports {room}'
        if me in NO_TORCH_AT_TOP and top: yield f'{me} imports {room} outside of its functions'
        if me in NO_FASTAI and room!='torch': yield f'{me} imports {room}'
    if me=='cli' and top and room not in CLI_AT_TOP: yield f'cli imports {room} outside its commands'
    if room=='albumentations' and me not in MAY_AUGMENT: yield f'{me} imports albumentations'

def defined_twice(f):
    "Yield the functions and classes that a module defines a second time; a method that is patched into a class is not one"
    tree = ast.parse(Path(f).read_text(encoding='utf-8'))
    plain = [n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and not n.decorator_list]
    for name in sorted({o for o in plain if plain.count(o)>1}): yield f'{Path(f).stem} defines {name} twice'

# what Matplotlib and Pillow draw: method → place of the text among its arguments, and keywords of any call
TEXT_METHODS = dict(text=2, figtext=2, annotate=0, set_title=0, suptitle=0, set_xlabel=0, set_ylabel=0, set_label=0,
                    set_xticklabels=0, set_yticklabels=0)
TEXT_KEYWORDS = 'title label labels xlabel ylabel xticklabels yticklabels'.split()
TEXT_DOORS = 'figure_text drawable'.split() # functions that make text from outside drawable

def drawn_text(call):
    "Yield the expressions that a call draws as text"
    place = TEXT_METHODS.get(getattr(call.func, 'attr', ''))
    if place is not None and call.args: yield call.args[:place+1][-1] # Pillow's comes earlier, and is the last
    yield from (k.value for k in call.keywords if k.arg in TEXT_KEYWORDS)

def is_number(part)->bool:
    "Is this part of an f-string a number, by its format?"
    spec = part.format_spec.values if part.format_spec else []
    return bool(spec) and getattr(spec[-1], 'value', '')[-1:] in tuple('defg%')

def is_drawable(node)->bool:
    "Is this expression text of our own, with numbers in it, or has it been through a door?"
    if isinstance(node, ast.Constant): return True
    if isinstance(node, ast.Call): return getattr(node.func, 'id', '') in TEXT_DOORS
    if isinstance(node, ast.ListComp): return is_drawable(node.elt)
    if isinstance(node, ast.JoinedStr): return all(isinstance(o, ast.Constant) or is_number(o) for o in node.values)
    return False

def undrawable_text(f):
    "Yield the lines that draw text as it comes from outside: `$` or a control character in it ends the picture"
    tree = ast.parse(Path(f).read_text(encoding='utf-8'))
    if not any(name.startswith(('matplotlib','.show')) for name,_ in imports(f, {})): return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and not all(map(is_drawable, drawn_text(node))):
            yield f'{Path(f).stem} draws text without figure_text: {ast.unparse(node)[:80]}'

def unescaped_html(f):
    "Yield the modules that escape HTML on their own: `html_text` also knows control characters"
    tree = ast.parse(Path(f).read_text(encoding='utf-8'))
    calls = [ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)]
    if 'html.escape' in calls and Path(f).stem!='pages': yield f'{Path(f).stem} uses html.escape, not html_text'

def unknown_names(f):
    "Yield the names that a module uses and does not know: cells that a notebook does not export may have defined them"
    from pyflakes.checker import Checker
    from pyflakes.messages import UndefinedName
    found = Checker(ast.parse(Path(f).read_text(encoding='utf-8')), str(f)).messages
    names = {m.message_args[0] for m in found if isinstance(m, UndefinedName)}
    for name in sorted(names): yield f'{Path(f).stem} uses {name}, which it neither defines nor imports'

def broken_rules(folder, order):
    "Yield every way in which the modules break the rules of the house"
    for f in modules(folder):
        if f.stem not in order:
            yield f'{f.stem}: no notebook exports it'
            continue
        for name,top in imports(f, order): yield from import_faults(f.stem, name, top, order)
        yield from defined_twice(f)
        yield from undrawable_text(f)
        yield from unescaped_html(f)
        yield from unknown_names(f)
    for a,b in (('losses','metrics'),('metrics','losses')):
        if any(name=='.'+b for name,_ in imports(Path(folder)/f'{a}.py', order)): yield f'{a} imports {b}'

def code_lines(f)->int:
    "Lines that are neither empty nor a comment"
    lines = Path(f).read_text(encoding='utf-8').splitlines()
    return sum(bool(l.strip()) and not l.lstrip().startswith('#') for l in lines)
