"""How notebooks become pages, with Quarto and with smalldocs alike: nbdev's steps, with a reference that is read from the modules,
links that mean what they say, formulas that need no script, and tests folded below usage."""
import ast, json, re
from functools import lru_cache
from nbdev.config import get_config
from nbdev.doclinks import _nbpath2html, nbglob, patch_name
from nbdev.frontmatter import FrontmatterProc
from nbdev.process import Processor
from nbdev.processors import (FilterDefaults, add_fold, ai_magics, clean_magics, filter_stream_, hide_, hide_line, insert_warning, mk_cell,
    mv_exports, populate_language, rm_export, rm_header_dash, strip_ansi, strip_hidden_metadata)
from pathlib import Path
import latex2mathml.converter
from reference import Reference, is_public

EXPORTS = {'export','exports'}
FOLDED = 'Tests' # heading of the part of a notebook that is folded
# of the front page; those whose pages do not exist are left out
BUTTONS = [('Install', 'install.ipynb', 'primary'), ('Train on your data', 'tutorials/your_own_data.ipynb', 'outline-primary'),
           ('How to …', 'howto/faq.ipynb', 'outline-primary'), ('Command line', 'commands.ipynb', 'outline-primary'),
           ('Reference', '40_all.ipynb', 'outline-primary')]

def page_of(nb):
    "The page of a notebook, such as `plan.html` of `23_plan.ipynb`"
    return _nbpath2html(Path(nb)).as_posix()

def notebook_of(page):
    "The notebook of a page: a link to it becomes one to the page, with either builder"
    return next(o for o in notebooks() if page_of(o)==page)

def own_page(nb):
    "The page that this notebook becomes"
    return page_of(Path(nb.path_).resolve().relative_to(get_config().nbs_path.resolve()))

def notebooks():
    "All notebooks that become pages, relative to their folder"
    cfg = get_config()
    return [Path(o).relative_to(cfg.nbs_path).as_posix() for o in nbglob(cfg.nbs_path)]

def directives(cell):
    "The directives of a code cell of a stored notebook, such as {'export'}"
    return set(re.findall(r'^#\|\s*(\w+)', ''.join(cell['source']), re.M)) if cell['cell_type']=='code' else set()

def defined_names(source):
    "What a cell defines, in its order; methods that it patches into a class come with the name of the class"
    for node in ast.parse(re.sub(r'^[%!].*$', '', source, flags=re.M)).body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)): continue
        names = patch_name(node)
        yield from [names] if isinstance(names, str) else names

@lru_cache
def documented(notebook):
    "The names that have a place on the page of a notebook, in order"
    cells = json.loads((get_config().nbs_path/notebook).read_text(encoding='utf-8'))['cells']
    shown = [c for c in cells if EXPORTS&directives(c) and 'hide' not in directives(c)]
    return [name for c in shown for name in defined_names(''.join(c['source'])) if is_public(name)]

@lru_cache
def reference():
    "The reference of the library of the current folder"
    cfg = get_config()
    numbered = [o for o in notebooks() if re.match(r'\d+[a-z]*_', o)]
    pages = {Path(o).stem.split('_', 1)[1]:page_of(o) for o in numbered}
    places = {Path(o).stem.split('_', 1)[1]:documented(o) for o in numbered}
    source = f'{cfg.git_url}/blob/{cfg.branch}/{cfg.lib_path.name}'
    commands = [o.split('=')[0] for o in cfg.console_scripts.split()] if (cfg.nbs_path/'commands.ipynb').exists() else []
    return Reference(cfg.lib_path, pages, places, source, commands, public_names())

@lru_cache
def public_names():
    "The names that come with `from unet_nbdev.all import *`, read from the module"
    tree = ast.parse((get_config().lib_path/'all.py').read_text(encoding='utf-8'))
    return {a.asname or a.name for o in tree.body if isinstance(o, ast.ImportFrom) for a in o.names}

def default_exp(nb):
    "The module that a notebook exports, or None"
    for c in nb.cells:
        if c.cell_type=='code' and 'default_exp' in c.directives_: return c.directives_['default_exp'][0]

def free_anchors(text, taken):
    "Give headings another anchor if theirs is that of a definition: '## Calibrate' comes before `calibrate`"
    def other(m):
        slug = re.sub(r'[^\w.-]', '', m[2].lower().replace(' ', '-'))
        return f'{m[0]} {{#about-{slug}}}' if slug in taken and '{#' not in m[2] else m[0]
    return re.sub(r'^(#{2,4}) +(.+?) *$', other, text, flags=re.M)

class AddReference(Processor):
    "After each exported cell: what it defines"
    def begin(self):
        module,ref = default_exp(self.nb),reference()
        self.nb.module_ = module # its cell goes
        if module not in ref.pages: return
        anchors = {ref.shown[o].anchor for o in ref.places[module] if o in ref.shown}
        cells = []
        for c in self.nb.cells:
            cells.append(c)
            if c.cell_type=='markdown': c.source = free_anchors(c.source, anchors)
            if c.cell_type!='code' or not EXPORTS&c.directives_.keys() or 'hide' in c.directives_: continue
            for name in defined_names(c.source):
                if is_public(name): cells.append(mk_cell(ref.entry(ref.modules[module][name], ref.pages[module]), 'markdown'))
        self.nb.cells = cells
        for i,c in enumerate(cells): c.idx_ = i

# ── links ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
class AddLinks(Processor):
    "Names in back-ticks become links to where they are explained; to notebooks, which both builders turn into pages"
    def begin(self): self.ref,self.here = reference(),own_page(self.nb)

    def link(self, m):
        page,anchor = self.ref.place(m[1], self.here, bool(m[2]))
        if not page: return m[0]
        to = '' if page==self.here else '../'*self.here.count('/')+notebook_of(page)
        return f'[{m[0]}]({to}#{anchor})'

    def linkify(self, text):
        "Outside of code, raw HTML, and links that are there"
        parts = re.split(r'(^```.*?^```[ \t]*$|^(?: {4}|\t).*$|\[[^\]]*\]\([^)]*\))', text, flags=re.M|re.S)
        code = re.compile(r'(?<!`)`([^`\s()]+)(\(\))?`(?![`{])')
        return ''.join(p if i%2 else code.sub(self.link, p) for i,p in enumerate(parts))

    def cell(self, cell):
        if cell.cell_type=='markdown' and cell.source: cell.source = self.linkify(cell.source)
        for o in cell.get('outputs', []):
            shown = o.get('data', {}).get('text/markdown')
            if shown: o['data']['text/markdown'] = [self.linkify(''.join(shown))]

# ── formulas ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
def mathml(tex, block):
    "A formula as MathML, which browsers draw without a script"
    made = latex2mathml.converter.convert(' '.join(tex.split()), display='block' if block else 'inline')
    return f'\n\n```{{=html}}\n<div class="formula">{made}</div>\n```\n\n' if block else f'`{made}`{{=html}}'

def add_formulas(cell):
    "TeX between dollars becomes MathML"
    if cell.cell_type!='markdown' or '$' not in (cell.source or ''): return
    parts = re.split(r'(^```.*?^```[ \t]*$|`[^`\n]+`(?:\{[^}]*\})?)', cell.source, flags=re.M|re.S)
    def replaced(s):
        s = re.sub(r'\$\$(.+?)\$\$', lambda m: mathml(m[1], True), s, flags=re.S)
        return re.sub(r'(?<![\\$\w])\$(?=\S)([^$]+?)(?<=\S)\$(?![\w$])', lambda m: mathml(m[1], False), s)
    cell.source = ''.join(p if i%2 else replaced(p) for i,p in enumerate(parts))

# ── folding ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
def only_tests(source):
    "Does this code only assert something?"
    def tests(node):
        if isinstance(node, ast.Assert): return True
        if isinstance(node, (ast.For, ast.With)): return all(map(tests, node.body))
        called = getattr(getattr(node, 'value', None), 'func', None)
        return isinstance(node, ast.Expr) and isinstance(called, ast.Name) and called.id.startswith('test_')
    try: body = ast.parse(re.sub(r'^[%!].*$', '', source, flags=re.M)).body
    except SyntaxError: return False
    return any(map(tests, body)) and all(tests(o) or isinstance(o, (ast.Assign, ast.FunctionDef, ast.Expr)) for o in body)

class FoldTests(Processor):
    "Cells that only assert are folded, and so is all that comes after the heading Tests"
    def begin(self):
        cells = self.nb.cells
        for c in cells if self.nb.module_ else []:
            if c.cell_type=='code' and not c.outputs and only_tests(c.source) and 'code-fold' not in c.source:
                c.source = f'#| code-fold: true\n#| code-summary: "Checks"\n{c.source}'
        headings = (k for k,c in enumerate(cells) if c.cell_type=='markdown' and re.match(rf'##\s+{FOLDED}\b', c.source.strip()))
        k = next(headings, None)
        if k is None: return
        rest = cells[k+1:]
        intro = cells[k].source.strip().partition('\n')[2].strip()
        if not rest and not intro:
            del cells[k:] # all of them are hidden
            return
        for c in rest:
            if c.cell_type=='markdown': c.source = re.sub(r'^#+\s+(.+)$', r'**\1**', c.source, flags=re.M)
            elif c.source.startswith('#| code-fold'): c.source = c.source.split('\n', 2)[2]
        opening = mk_cell(f':::: {{.callout-note appearance="minimal" collapse="true" title="{FOLDED}"}}\n\n{intro}', 'markdown')
        cells[k:] = [opening, *rest, mk_cell('::::', 'markdown')]

def local_badges(cell):
    "A badge that another host draws becomes a button: the pages fetch nothing from elsewhere"
    if cell.cell_type!='markdown' or not cell.source: return
    badge = r'\[!\[([^\]]+)\]\(https?://[^)\s]+\)\]\(([^)\s]+)\)'
    cell.source = re.sub(badge, r'[\1](\2){.btn .btn-sm .btn-outline-primary role="button"}', cell.source)

class HomeButtons(Processor):
    "Buttons below the first lines of the front page, unless it brings its own"
    def begin(self):
        own = any('.btn' in (c.source or '') or 'class="btn' in (c.source or '') for c in self.nb.cells)
        if own or own_page(self.nb)!='index.html': return
        known = set(notebooks())
        buttons = ' '.join(f'[{text}]({to}){{.btn .btn-{kind} role="button"}}' for text,to,kind in BUTTONS if to in known)
        self.nb.cells.insert(1, mk_cell(f'::: {{.home-buttons}}\n{buttons}\n:::', 'markdown'))

class Pages(FilterDefaults):
    "nbdev's steps, without running code, and with those above"
    def base_procs(self):
        return [FrontmatterProc, populate_language, AddReference, insert_warning, strip_ansi, hide_line, filter_stream_, rm_header_dash, rm_export,
                ai_magics, clean_magics, hide_, AddLinks, add_fold, mv_exports, strip_hidden_metadata, FoldTests, HomeButtons, local_badges,
                add_formulas]
