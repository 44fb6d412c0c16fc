"""Write README.md from the front page `nbs/index.ipynb`, without Quarto: `python .ci/readme.py`, or with `--check` only compare.

Hidden cells go, directives go, and links to notebooks become links to the site. Pictures must be committed files (`![…](images/x.png)`); README gets their
absolute addresses, so that it also shows them on PyPI. `nbs/modules.ipynb` stores the table of modules, and is compared with the notebooks."""
import re, sys
from configparser import ConfigParser
from pathlib import Path
import nbformat
from nbconvert import MarkdownExporter

top = Path(__file__).resolve().parent.parent
cfg = ConfigParser(delimiters=['='])
cfg.read(top/'settings.ini', encoding='utf-8')
cfg = cfg['DEFAULT']
site = cfg['doc_host'] + cfg['doc_baseurl']
raw = f"https://raw.githubusercontent.com/{cfg['user']}/{cfg['repo']}/{cfg['branch']}"
_directive = re.compile(r'^#\|\s*([\w-]+)(?:[:\s]\s*(.*?))?\s*$', re.M)

def directives(cell): return {k:v for k,v in _directive.findall(cell.source)} if cell.cell_type=='code' else {}

def visible(cell):
    d = directives(cell)
    return cell.source.strip() and not ({'hide','default_exp'} & d.keys()) and d.get('include')!='false'

def trim(cell):
    "Take directives out, and what they say shall not be shown"
    if cell.cell_type!='code': return cell
    d = directives(cell)
    if d.get('output')=='false' or 'hide_output' in d: cell.outputs = []
    cell.source = '' if d.get('echo')=='false' or 'hide_input' in d else _directive.sub('', cell.source).strip()
    for o in cell.outputs:
        if 'data' in o: o.data.pop('text/html', None) # GitHub shows text and Markdown more faithfully
    return cell

def relink(md):
    "Paths are relative to nbs/: pictures are found there in the repository, notebooks on the site; buttons become links"
    md = re.sub(r'\{\.btn[^}]*\}', '', md)
    md = re.sub(r'!\[([^\]]*)\]\(([^)\s]+)\)\{width=(\d+)\}', r'<img src="\2" width="\3" alt="\1">', md)
    md = re.sub(r'(!\[[^\]]*\]\()(?!\w+:|/|#)([^)\s]+)', rf'\1{raw}/nbs/\2', md)
    md = re.sub(r'(<img[^>]*\ssrc=")(?!\w+:|/)([^"]+)', rf'\1{raw}/nbs/\2', md)
    def page(m): return f"]({site}/{m[1] or ''}{re.sub(r'^[0-9]+[a-z]*_', '', m[2])}.html{m[3] or ''}"
    return re.sub(r'\]\((?!\w+:|/|#)((?:[\w.-]+/)*)([\w-]+)\.ipynb(#[\w.-]+)?', page, md)

def code_apart(md, f):
    "`f` of everything outside fenced code"
    parts = re.split(r'(^```.*?^```[ \t]*$)', md, flags=re.M|re.S)
    return ''.join(p if i%2 else f(p) for i,p in enumerate(parts))

def readme():
    nb = nbformat.read(top/cfg['nbs_path']/cfg['readme_nb'], as_version=4)
    nb.cells = [trim(c) for c in nb.cells if visible(c)]
    nb.metadata['language_info'] = dict(name='python')
    md,res = MarkdownExporter().from_notebook_node(nb)
    if res.get('outputs'): sys.exit(f'{cfg["readme_nb"]}: a stored picture; commit it under {cfg["nbs_path"]}/images and refer to it by path')
    md = re.sub(r'^```python\n+```\n', '', md, flags=re.M) # a cell of which only the output is shown
    md = code_apart(md, lambda s: re.sub(r'\n{3,}', '\n\n', relink(s)))
    note = f'<!-- Written by .ci/readme.py from {cfg["nbs_path"]}/{cfg["readme_nb"]}: edit that. -->\n'
    return note + '\n' + '\n'.join(l.rstrip() for l in md.strip().splitlines()) + '\n'

def stale_modules():
    "Yield the modules that the stored table lacks, or describes with other words than their notebooks"
    nb = nbformat.read(top/cfg['nbs_path']/'modules.ipynb', as_version=4)
    table = ''.join(o['data']['text/markdown'] for c in nb.cells if c.cell_type=='code' for o in c.outputs if 'data' in o)
    for f in sorted((top/cfg['nbs_path']).glob('[0-9]*_*.ipynb')):
        title = nbformat.read(f, as_version=4).cells[0].source
        summary = re.search(r'^> *(.+(?:\n.+)*)', title, re.M)[1].replace('\n', ' ')
        module = f.stem.split('_', 1)[1]
        if f'| [{module}]({f.name}) | {summary} |' not in table: yield module

def pictures(md): # paths in the repository
    return re.findall(rf'!\[[^\]]*\]\({re.escape(raw)}/([^)\s]+)', md) + re.findall(rf'<img[^>]*\ssrc="{re.escape(raw)}/([^"]+)', md)

if __name__=='__main__':
    path,new = top/'README.md',readme()
    if lost := [p for p in pictures(new) if not (top/p).is_file()]: sys.exit(f'README.md: no such picture: {", ".join(lost)}')
    if old_rows := list(stale_modules()):
        sys.exit(f'modules.ipynb: the stored table is not what the notebooks say ({", ".join(old_rows)}); run the notebook, store its outputs')
    old = path.read_text(encoding='utf-8') if path.exists() else ''
    if '--check' in sys.argv[1:]: sys.exit(0 if new==old else 'README.md is not what the index notebook says; run python .ci/readme.py')
    if new!=old: path.write_text(new, encoding='utf-8')
    print(f'README.md: {len(new.splitlines())} lines, {"written" if new!=old else "unchanged"}')
