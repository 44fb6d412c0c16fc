"""What the site says about exported code: for each definition its signature, what it does, a table of its parameters, and its methods.

nbdev's `show_doc` runs every notebook again, and prints signatures as code with comments in it. Here the text of the modules is read:
types and defaults stand as they were written, and a comment after a parameter is its meaning."""
import ast, html, io, re, textwrap, tokenize
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from nbdev.doclinks import patch_name

COMMANDS = 'commands.html' # page on which all commands stand
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)
# what fields of a dataclass of settings say about their values, as in `Option.range_text`
BOUNDS = dict(low='{} or more', above='above {}', high='at most {}', below='below {}')

@dataclass
class Parameter:
    "One parameter of a function, or one field of a class"
    name:str         # with the stars of *args and **kwargs
    type:str=''      # as it was written
    default:str=''   # as it was written
    meaning:str=''   # from the comment after it

@dataclass
class Definition:
    "A function, a class, or a method, as a module defines it"
    name:str         # such as `Plan.rows`
    module:str       # such as `plan`
    node:ast.AST
    comments:dict    # line → comment
    ends:dict        # line of `def` → line on which the header ends
    methods:list=field(default_factory=list) # definitions in the body of a class
    anchor:str=''    # where it is on its page; `Option` and `option` have the same name there, but for a number

    @property
    def is_class(self): return isinstance(self.node, ast.ClassDef)

    @property
    def doc(self): return ast.get_docstring(self.node) or ''

    @property
    def header_end(self): return self.ends[self.node.lineno]

    @property
    def summary(self):
        "The first line of the docstring, else what the first line of the code says"
        return self.doc.partition('\n')[0] or self.comments.get(self.header_end, '')

    def decorators(self):
        "Names of the decorators, each with its arguments as nodes"
        for o in self.node.decorator_list:
            call = isinstance(o, ast.Call)
            yield ast.unparse(o.func if call else o), o.args if call else [], o.keywords if call else []

# ── reading modules ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
def line_comments(source):
    "Line number → comment, without the sign"
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {o.start[0]:o.string.lstrip('#').strip() for o in tokens if o.type==tokenize.COMMENT and not o.string.startswith('# %%')}

def is_public(name): return not any(o.startswith('_') for o in name.split('.'))

def read_module(file):
    "The public definitions of a module, in its order; methods that are patched into a class have its name before theirs"
    source = file.read_text(encoding='utf-8')
    comments,ends = line_comments(source),header_ends(source)
    def define(node, name): return Definition(name, file.stem, node, comments, ends)
    for node in ast.parse(source).body:
        if not isinstance(node, DEFINITIONS): continue
        names = patch_name(node)
        for name in [names] if isinstance(names, str) else names:
            found = define(node, name)
            if found.is_class:
                inner = [o for o in node.body if isinstance(o, FUNCTIONS)]
                found.methods = [define(o, f'{name}.{o.name}') for o in inner]
            yield found

@lru_cache
def read_package(folder):
    "All definitions of a package: module → name → definition"
    files = [f for f in sorted(Path(folder).glob('*.py')) if not f.stem.startswith('_')]
    return {f.stem:{o.name:o for o in read_module(f)} for f in files}

def header_ends(source):
    "Line of `def` or `class` → the line of the colon that ends the header"
    ends,start,depth = {},None,0
    for o in tokenize.generate_tokens(io.StringIO(source).readline):
        if o.type==tokenize.NAME and o.string in ('def','class') and start is None: start,depth = o.start[0],0
        elif o.string in ('(','[','{'): depth += 1
        elif o.string in (')',']','}'): depth -= 1
        elif o.string==':' and depth==0 and start is not None:
            ends[start] = o.start[0]
            start = None
    return ends

# ── parameters ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────
def arguments(node):
    "The arguments of a function with their defaults, in order: (name with stars, node, default or None)"
    a = node.args
    plain = [*a.posonlyargs, *a.args]
    defaults = [None]*(len(plain)-len(a.defaults)) + a.defaults
    yield from ((o.arg, o, d) for o,d in zip(plain, defaults))
    if a.vararg: yield '*'+a.vararg.arg, a.vararg, None
    yield from ((o.arg, o, d) for o,d in zip(a.kwonlyargs, a.kw_defaults))
    if a.kwarg: yield '**'+a.kwarg.arg, a.kwarg, None

def written(node): return ast.unparse(node) if node is not None else ''

def comment_above(comments, line, taken):
    "The comment in lines of their own before a parameter"
    lines = []
    while line-1 in comments and line-1 not in taken:
        line -= 1
        lines.insert(0, comments[line])
    return ' '.join(lines)

def named_meanings(defn):
    "What the comment after the header says about parameters, as in `def f(b, n): # b: a batch; n: how many`; empty if it is about the result"
    names = {name.strip('*') for name,_,_ in arguments(defn.node)}
    said = [re.match(r'`?(\w+)`?: (.+)', o) for o in defn.comments.get(defn.header_end, '').split('; ')]
    return {m[1]:m[2] for m in said} if all(m and m[1] in names for m in said) else {}

def function_parameters(defn):
    "The parameters of a function, without self"
    node,comments,named = defn.node,defn.comments,named_meanings(defn)
    found = list(arguments(node))
    lines = [(d or o).end_lineno for _,o,d in found]
    last = defn.header_end
    one_line = last==node.lineno or node.lineno in lines and last in lines and len(set(lines))==1
    for (name,o,default),line in zip(found, lines):
        if name in ('self','cls'): continue
        own = '' if named or one_line or line==last and node.returns else comments.get(line, '')
        own = own or named.get(name.strip('*'), '')
        if not own and o.lineno>node.lineno: own = comment_above(comments, o.lineno, {*lines, node.lineno})
        yield Parameter(name, written(o.annotation), written(default), own)

def returned(defn):
    "What a function returns: a `Parameter` without name, or None"
    node = defn.node
    if not isinstance(node, FUNCTIONS): return None
    kind,comment = written(node.returns),defn.comments.get(defn.header_end, '')
    if named_meanings(defn): comment = ''
    if kind in ('','None') and not comment: return None
    return Parameter('', '' if kind=='None' else kind, '', comment)

def constant(node):
    "The value of a literal, else its text"
    try: return ast.literal_eval(node)
    except ValueError: return ast.unparse(node)

def option_meaning(keywords, text):
    "The help of a setting with its choices and bounds"
    given = {o.arg:constant(o.value) for o in keywords}
    more = [words.format(given[k]) for k,words in BOUNDS.items() if given.get(k) is not None]
    if isinstance(given.get('choices'), tuple): more.insert(0, 'one of '+', '.join(given['choices']))
    return f'{text}; {", ".join(more)}' if more else text

def field_parameter(node, defn, find):
    "One field of a dataclass"
    name,kind,value = node.target.id,written(node.annotation),node.value
    comment = next((defn.comments[k] for k in range(node.lineno, node.end_lineno+1) if k in defn.comments), '')
    comment = comment or comment_above(defn.comments, node.lineno, {o.end_lineno for o in defn.node.body})
    called = value.func.id if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) else ''
    keywords = {o.arg:o.value for o in value.keywords} if called else {}
    if called=='option' and len(value.args)>1:
        return Parameter(name, kind, written(value.args[0]), option_meaning(value.keywords, str(constant(value.args[1]))))
    if called=='reused':
        same = next(o for o in parameters(find('Settings'), find) if o.name==constant(value.args[0]))
        return Parameter(name, kind, same.default, same.meaning)
    if called=='field':
        if isinstance(keywords.get('init'), ast.Constant) and keywords['init'].value is False: return None
        factory = keywords.get('default_factory')
        return Parameter(name, kind, written(keywords.get('default')) or (f'{written(factory)}()' if factory else ''), comment)
    return Parameter(name, kind, written(value), comment)

def is_dataclass(defn): return any(name.split('.')[-1]=='dataclass' for name,_,_ in defn.decorators())

def bases(defn, find):
    "The base classes of a class that the package defines"
    found = (find(ast.unparse(o)) for o in defn.node.bases)
    return [o for o in found if o]

def dataclass_parameters(defn, find):
    "The fields of a dataclass, those of its bases first"
    found = {}
    for base in reversed(bases(defn, find)): found |= {o.name:o for o in parameters(base, find)}
    for node in defn.node.body:
        if not isinstance(node, ast.AnnAssign) or not is_public(node.target.id): continue
        if 'ClassVar' in written(node.annotation): continue
        if (o := field_parameter(node, defn, find)): found[o.name] = o
    return list(found.values())

def class_parameters(defn, find):
    "How a class is called: the parameters of `__init__`, its own or that of a base class"
    init = next((o for o in defn.methods if o.name.endswith('.__init__')), None) or find(f'{defn.name}.__init__')
    if init: return list(function_parameters(init))
    return next((found for o in bases(defn, find) if (found := parameters(o, find))), [])

def parameters(defn, find):
    "The parameters of a function or a class; `find` gives the definition of a name, or None"
    if not defn.is_class: found = list(function_parameters(defn))
    elif is_dataclass(defn): return dataclass_parameters(defn, find)
    else: found = class_parameters(defn, find)
    for name,args,_ in defn.decorators(): # `@delegates(Other)`: **kwargs stands for what Other takes
        source = find(ast.unparse(args[0])) if name=='delegates' and args else None
        if not source: continue
        known = {o.name for o in found}
        more = [o for o in parameters(source, find) if o.name not in known and o.default]
        found = [o for o in found if not o.name.startswith('**')] + more
    return found

# ── as Markdown and HTML ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def signature(defn, params, width=88):
    "The definition as it is called, in lines that a page can show"
    kinds = [name for name,_,_ in defn.decorators()]
    if any('property' in o or o.endswith('as_prop') for o in kinds) or is_property(defn): return defn.name
    call = [f'{o.name}={o.default}' if o.default else o.name for o in params]
    head = ('class ' if defn.is_class else '') + defn.name
    text = f'{head}({", ".join(call)})'
    if len(text)<=width: return text
    lines = textwrap.wrap(', '.join(o.replace(' ', '\0') for o in call), width-4, break_long_words=False, break_on_hyphens=False)
    return f'{head}(\n' + '\n'.join('    '+o.replace('\0', ' ') for o in lines) + '\n)'

def is_property(defn):
    "Is this method patched in as a property?"
    return any(o.arg=='as_prop' and constant(o.value) is True for _,_,keywords in defn.decorators() for o in keywords)

class Reference:
    "The reference of a package: what is documented where, and how"
    def __init__(self,
        folder,       # of the package
        pages,        # module → page, such as `core.html`
        places,       # module → names that have a place on its page, in order
        source_url,   # address of the folder in the repository
        commands=(),  # names of commands, which have a page of their own
        public=(),    # names that readers know: a single word stands for them on any page
    ):
        self.commands,self.public = dict.fromkeys(commands, COMMANDS),public
        self.modules = read_package(str(folder))
        self.pages,self.places,self.source_url = pages,places,source_url
        self.shown = {} # name → definition, of what has a place of its own on a page
        self.on_page = {} # (page, name) → definition
        for module,names in places.items():
            taken = Counter()
            for defn in (self.modules[module][o] for o in names):
                methods = [m for m in defn.methods if is_public(m.name) and m.summary]
                for o in (defn, *methods):
                    name = o.name.lower()
                    o.anchor = f'{name}-{taken[name]}' if taken[name] else name
                    taken[name] += 1
                    self.shown.setdefault(o.name, o)
                    self.on_page[pages[module],o.name] = o

    def find(self, module):
        "A function that gives the definition of a name as a module sees it"
        def found(name):
            if name in self.modules[module]: return self.modules[module][name]
            return next((defs[name] for defs in self.modules.values() if name in defs), None)
        return found

    def address(self, name, page):
        "Where a name is explained, as a link from this page; None if it has no place"
        to,anchor = self.place(name.removesuffix('()'), page, name.endswith('()'))
        if to==page: return f'#{anchor}'
        return f'{"../"*page.count("/")}{to}#{anchor}' if to else None

    def place(self, name, here, called=False):
        "The page and the anchor of a name, if that is what is meant: a single word may be just a word, unless it is public or explained here"
        if name in self.commands: return self.commands[name],name
        defn = self.on_page.get((here,name)) or self.shown.get(name)
        if not defn: return None,None
        page = self.pages[defn.module]
        meant = page==here or called or re.search(r'[A-Z_.\d]', name) or name in self.public
        return (page,defn.anchor) if meant else (None,None)

    def code(self, text, page):
        "Code as HTML, with links for names of the package; long unions may break after a bar"
        def link(m):
            to = self.address(m[0], page)
            return f'<a href="{to}">{m[0]}</a>' if to else m[0]
        if not text: return ''
        linked = re.sub(r'(?<![.\w])[A-Z]\w+', link, html.escape(text, quote=False))
        return f'<code>{linked}</code>'

    def text(self, text, page):
        "A docstring or a comment as HTML: back-ticks become code, with a link if the name has a place"
        def code(m):
            to = self.address(m[1], page)
            return f'<a href="{to}"><code>{m[1]}</code></a>' if to else f'<code>{m[1]}</code>'
        return re.sub(r'`([^`]+)`', code, html.escape(text, quote=False))

    def parameter_table(self, defn, page):
        "The parameters of a definition, and what it returns, as an HTML table"
        params,result = parameters(defn, self.find(defn.module)),returned(defn)
        rows = [self.row(f'<code>{o.name}</code>', o, page) for o in params]
        if result: rows.append(self.row('returns', result, page))
        if not rows: return ''
        head = ''.join(f'<th scope="col">{o}</th>' for o in ('Name','Type','Default','Meaning'))
        return (f'<table class="parameters" data-quarto-disable-processing="true">\n<thead><tr>{head}</tr></thead>\n'
                f'<tbody>\n{chr(10).join(rows)}\n</tbody>\n</table>')

    def row(self, name, o, page):
        default = f'<code>{html.escape(o.default, quote=False)}</code>' if o.default else ''
        cells = dict(Type=self.code(o.type, page), Default=default, Meaning=self.text(o.meaning, page))
        return f'<tr><th scope="row">{name}</th>' + ''.join(f'<td data-label="{k}">{v}</td>' for k,v in cells.items()) + '</tr>'

    def method_table(self, defn, page):
        "The methods in the body of a class, one line each"
        rows = []
        for m in defn.methods:
            if not is_public(m.name) or not m.summary: continue
            call = signature(m, list(function_parameters(m)), 10**6).removeprefix(defn.name+'.')
            rows.append(f'<tr id="{m.anchor}"><th scope="row"><code>{html.escape(call, quote=False)}</code></th>'
                        f'<td data-label="Meaning">{self.text(m.summary, page)}</td></tr>')
        if not rows: return ''
        head = '<th scope="col">Method</th><th scope="col">Meaning</th>'
        return (f'<table class="parameters methods" data-quarto-disable-processing="true">\n<thead><tr>{head}</tr></thead>\n'
                f'<tbody>\n{chr(10).join(rows)}\n</tbody>\n</table>')

    def entry(self, defn, page):
        "Everything about one definition, as Markdown"
        tables = [o for o in (self.parameter_table(defn, page), self.method_table(defn, page)) if o]
        source = f'<a class="source" href="{self.source_url}/{defn.module}.py#L{defn.node.lineno}">source</a>'
        doc = '\n'.join(f'<p>{self.text(o, page)}</p>' for o in re.split(r'\n\s*\n', defn.doc) if o.strip())
        params = parameters(defn, self.find(defn.module))
        parts = [f'### {defn.name} {{#{defn.anchor}}}',
                 f'::: {{.signature}}\n```python\n{signature(defn, params)}\n```\n:::',
                 '\n'.join(['```{=html}', f'<div class="described">{source}{doc}</div>', *tables, '```'])]
        return '\n\n'.join(parts)
