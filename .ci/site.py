"""Build the site without Quarto into `_docs` (or the folder given) and check it: every page made, every internal link and picture found.

The work is done in a copy, so that the tree stays as it is."""
import ast, json, os, re, shutil, subprocess, sys, tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

top = Path(__file__).resolve().parent.parent

def copy_tree(dest):
    fs = subprocess.run(['git','ls-files','-co','--exclude-standard','-z'], cwd=top, check=True, capture_output=True, text=True).stdout
    for f in filter(None, fs.split('\0')):
        if not (top/f).is_file(): continue
        (dest/f).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(top/f, dest/f)

def mixed():
    "Cells that mix imports with other code: nbdev runs them again while it makes the pages, where what they need is missing"
    for f in sorted(Path('nbs').rglob('*.ipynb')):
        for i,c in enumerate(json.loads(f.read_text(encoding='utf-8'))['cells']):
            src = ''.join(c['source'])
            if c['cell_type']!='code' or 'nbdev_export()' in src or 'import' not in src or re.search(r'^[%!]', src, re.M): continue
            kinds = {isinstance(o, (ast.Import,ast.ImportFrom)) for o in ast.parse(src).body}
            if len(kinds)>1: yield f'{f}: cell {i} mixes imports with other code; make it two'

def build():
    "In the current folder: nbdev processes the notebooks, smalldocs renders them; gives the folder of pages, and notebook → page"
    import nbdev.quarto
    from nbdev.config import get_config
    from nbdev.doclinks import nbglob, _nbpath2html
    nbdev.quarto._ensure_quarto = lambda: None
    proc,cfg,_ = nbdev.quarto._pre_docs(n_workers=0)
    subprocess.run([sys.executable,'-m','smalldocs.cli','render','--quiet',str(proc)], check=True)
    site,nbs = proc/cfg.doc_path.name,[Path(o).relative_to(cfg.nbs_path) for o in nbglob(cfg.nbs_path)]
    pages = {o:_nbpath2html(o) for o in nbs}
    rename(site, {o.with_suffix('.html'):page for o,page in pages.items()})
    return site,pages,cfg.doc_host+cfg.doc_baseurl

def rename(site, names):
    "Quarto calls the page of `00_core.ipynb` core.html, and nbdev links to that; smalldocs keeps the number"
    names = {a:b for a,b in names.items() if a!=b}
    for a,b in names.items():
        if (site/a).exists(): (site/a).rename(site/b)
    for f in (o for o in site.rglob('*') if o.suffix in ('.html','.json','.xml','.txt')):
        old = new = f.read_text(encoding='utf-8')
        for a,b in names.items(): new = re.sub(rf'(?<![\w.-]){re.escape(a.name)}\b', b.name, new)
        if new!=old: f.write_text(new, encoding='utf-8')

class Page(HTMLParser):
    "The ids and the links of a page"
    def __init__(self, path):
        super().__init__()
        self.ids,self.links = set(),[]
        self.feed(path.read_text(encoding='utf-8'))
    def handle_starttag(self, tag, attrs):
        d = dict(attrs)
        self.ids |= {d[k] for k in ('id','name') if d.get(k)}
        self.links += [d[k] for k in ('href','src') if d.get(k)]

def broken(site, host):
    "Links within the site that lead nowhere, as (page, link)"
    # nbdev also links the name of a private function, whose page has no heading for it: that leads to the top of the page, and may
    site = site.resolve()
    pages = {p.resolve():Page(p) for p in site.rglob('*.html')}
    for path,page in pages.items():
        for link in page.links:
            url = urlsplit(link[len(host):].lstrip('/') if (own := link.startswith(host)) else link)
            if url.scheme or url.netloc: continue
            base = site if own or url.path.startswith('/') else path.parent
            to = (base/unquote(url.path).lstrip('/')).resolve() if url.path or own else path
            if to.is_dir(): to = to/'index.html'
            if not to.is_file(): yield path.relative_to(site),link
            elif to in pages and url.fragment.lstrip('_')==url.fragment!='' and unquote(url.fragment) not in pages[to].ids: yield path.relative_to(site),link

def main(out):
    tmp = Path(tempfile.mkdtemp())
    try:
        copy_tree(tmp); os.chdir(tmp); sys.path.insert(0, str(tmp))
        early = list(mixed())
        for o in early: print(o, flush=True) # said now, as it may be why the build fails
        site,pages,host = build()
        bad = [f'{nb}: page {page} was not made' for nb,page in pages.items() if not (site/page).is_file()]
        bad += [f'{page}: broken link {link}' for page,link in broken(site, host)]
        bad += [f'{o.relative_to(tmp)}: not on the site, no page shows it' for o in (tmp/'nbs'/'images').glob('*') if not list(site.rglob(o.name))]
        shutil.rmtree(out, ignore_errors=True); shutil.copytree(site, out)
    finally: os.chdir(top); shutil.rmtree(tmp, ignore_errors=True)
    print('\n'.join(bad + [f'site: {len(pages)} notebooks, {len(list(out.rglob("*.html")))} pages, {len(bad+early)} problems']))
    return bool(bad+early)

if __name__=='__main__': sys.exit(main(Path(sys.argv[1] if len(sys.argv)>1 else top/'_docs').resolve()))
