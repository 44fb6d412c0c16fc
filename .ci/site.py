"""Build the site into `_docs` (or the folder given) and check it. Without `--quarto`, smalldocs renders it; with it, Quarto does.

    python .ci/site.py [--quarto] [FOLDER]
    python .ci/site.py --check FOLDER        only check what is there
    python .ci/site.py --no_check FOLDER     only build

The work is done in a copy, so that the tree stays as it is. Checked are: every page made, every internal link and picture found,
nothing fetched from another host, none of the faults in `FAULTS`, each definition in its place with its parameters, the search, and,
where a Chromium is found, the console, the contrast and the width of every page."""
import argparse, ast, html, json, os, re, shutil, subprocess, sys, tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

top = Path(__file__).resolve().parent.parent
SEARCHED = 'install resume cpu'.split() # words that strangers look for
# what signatures were full of, and must not be again: fault → pattern in the text of a page
FAULTS = {'raw links': r'\]\(https?://', 'NoneType=None': r'NoneType\s*=\s*None', '__main__.': r'\b__main__\.(?!py)',
          'Call self': r'Call self as a function'}

# ── build ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
def copy_tree(dest):
    "Copy what git knows or would take"
    fs = subprocess.run(['git','ls-files','-co','--exclude-standard','-z'], cwd=top, check=True, capture_output=True, text=True).stdout
    for f in filter(None, fs.split('\0')):
        if not (top/f).is_file(): continue
        (dest/f).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(top/f, dest/f)

def mixed():
    "Cells that mix imports with other code: nbdev's own tools run them where what they need is missing"
    for f in sorted(Path('nbs').rglob('*.ipynb')):
        for i,c in enumerate(json.loads(f.read_text(encoding='utf-8'))['cells']):
            src = ''.join(c['source'])
            if c['cell_type']!='code' or 'nbdev_export()' in src or 'import' not in src or re.search(r'^[%!]', src, re.M): continue
            kinds = {isinstance(o, (ast.Import,ast.ImportFrom)) for o in ast.parse(src).body}
            if len(kinds)>1: yield f'{f}: cell {i} mixes imports with other code; make it two'

def build(quarto):
    "In the current folder: process the notebooks, render them; gives the folder of pages, and notebook → page"
    import nbdev.quarto, nbdev.serve
    import pages
    nbdev.quarto._ensure_quarto = lambda: None
    nbdev.serve.FilterDefaults = pages.Pages
    proc,cfg,_ = nbdev.quarto._pre_docs(n_workers=0)
    render = ['quarto','render','--no-cache'] if quarto else [sys.executable,'-m','smalldocs.cli','render','--quiet','.']
    subprocess.run(render, cwd=proc, check=True)
    site = proc/cfg.doc_path.name
    made = {o:pages.page_of(o) for o in pages.notebooks()}
    if not quarto: rename(site, {Path(o).with_suffix('.html'):Path(page) for o,page in made.items()})
    fonts_from_here(site)
    return site,made

def rename(site, names):
    "Quarto calls the page of `00_core.ipynb` core.html, and nbdev links to that; smalldocs keeps the number"
    names = {a:b for a,b in names.items() if a!=b}
    for a,b in names.items():
        if (site/a).exists(): (site/a).rename(site/b)
    for f in (o for o in site.rglob('*') if o.suffix in ('.html','.json','.xml','.txt')):
        old = new = f.read_text(encoding='utf-8')
        for a,b in names.items(): new = re.sub(rf'(?<![\w.-]){re.escape(a.name)}\b', b.name, new)
        if new!=old: f.write_text(new, encoding='utf-8')

def fonts_from_here(site):
    "Take the fonts of other hosts out of the themes; those of `site.css` are on the site"
    for f in site.rglob('*.css'):
        old = f.read_text(encoding='utf-8')
        new = re.sub(r'@import\s+url\(["\']?https?://fonts\.[^)]*\)[^;]*;?', '', old)
        if new!=old: f.write_text(new, encoding='utf-8')

# ── check ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
class Page(HTMLParser):
    "What a page holds: ids, links, what it fetches, its text, its headings, and the names whose parameters have a table"
    def __init__(self, path):
        super().__init__()
        self.ids,self.links,self.fetched,self.headings,self.tables = set(),[],[],[],set()
        self.words,self.skip,self.section = [],0,None
        self.feed(path.read_text(encoding='utf-8'))
        self.text = ''.join(self.words)

    def handle_starttag(self, tag, attrs):
        d = dict(attrs)
        self.ids |= {d[k] for k in ('id','name') if d.get(k)}
        self.links += [d[k] for k in ('href','src') if d.get(k)]
        if tag in ('script','img','source','iframe') and d.get('src'): self.fetched.append(d['src'])
        if tag=='link' and d.get('rel') in ('stylesheet','preload','icon'): self.fetched.append(d.get('href', ''))
        if tag=='section': self.section = d.get('id')
        if tag=='h3': self.headings.append(d.get('id') or d.get('data-anchor-id') or self.section or '')
        if tag=='table' and 'parameters' in (d.get('class') or '').split() and self.headings: self.tables.add(self.headings[-1])
        if tag in ('script','style'): self.skip += 1

    def handle_endtag(self, tag):
        if tag in ('script','style'): self.skip -= 1

    def handle_data(self, data):
        if not self.skip: self.words.append(data)

def read_pages(site): return {p.resolve():Page(p) for p in sorted(site.rglob('*.html')) if 'site_libs' not in p.parts}

def broken(site, host, pages):
    "Links within the site that lead nowhere"
    site = site.resolve()
    for path,page in pages.items():
        for link in page.links:
            url = urlsplit(link[len(host):].lstrip('/') if (own := link.startswith(host)) else link)
            if url.scheme or url.netloc: continue
            base = site if own or url.path.startswith('/') else path.parent
            to = (base/unquote(url.path).lstrip('/')).resolve() if url.path or own else path
            if to.is_dir(): to = to/'index.html'
            lost = not to.is_file() or to in pages and url.fragment and unquote(url.fragment) not in pages[to].ids
            if lost and not url.fragment.startswith('/'): yield f'{path.relative_to(site)}: broken link {link}'

def unused_pictures(site, pages):
    "Pictures that no page shows"
    shown = {Path(urlsplit(link).path).name for page in pages.values() for link in page.links}
    yield from (f'images/{o.name}: no page shows it' for o in sorted((site/'images').glob('*')) if o.name not in shown)

def fetched_elsewhere(site, pages):
    "What a page would fetch from another host"
    for path,page in pages.items():
        for url in page.fetched:
            if urlsplit(url).netloc: yield f'{path.name}: fetches {url}'
    for f in site.rglob('*.css'):
        for url in re.findall(r'(?:url\(|@import\s+)["\']?(https?://[^"\')]+)', f.read_text(encoding='utf-8')): yield f'{f.name}: fetches {url}'

def count_faults(pages):
    "Fault → how often, and on which pages"
    return {name:{path.name:n for path,page in pages.items() if (n := len(re.findall(p, page.text)))} for name,p in FAULTS.items()}

def misplaced(site, pages):
    "Definitions without a place on the page of their module, in another order than there, or without their parameters and what these mean"
    from pages import reference
    from reference import parameters
    ref = reference()
    for module,names in ref.places.items():
        page = pages.get((site/ref.pages[module]).resolve())
        if not page: continue
        wanted = [ref.modules[module][o] for o in names]
        shown = [o for o in page.headings if o in {d.anchor for d in wanted}]
        yield from (f'{module}.html: a heading for {o}' for o in page.headings if re.search(r'(^|\.)__\w+__$', o))
        yield from (f'{module}.html: no heading for {o.name}' for o in wanted if o.anchor not in shown)
        bare = [o.name for o in wanted if parameters(o, ref.find(module)) and o.anchor not in page.tables]
        yield from (f'{module}.html: no table of the parameters of {name}' for name in bare)
        silent = [f'{o.name}({p.name})' for o in wanted if o.name in ref.public for p in parameters(o, ref.find(module)) if not p.meaning]
        yield from (f'{module}.html: no comment says what {name} means' for name in silent)
        if shown!=[o.anchor for o in wanted if o.anchor in shown]: yield f'{module}.html: definitions are not in their order'

def not_searchable(site):
    "Words that the index of the search lacks"
    entries = json.loads((site/'search.json').read_text(encoding='utf-8'))
    for word in SEARCHED:
        hits = [o for o in entries if re.search(rf'\b{word}', f'{o.get("title", "")} {o.get("section", "")} {o.get("text", "")}', re.I)]
        if not hits: yield f'search.json: nothing on {word!r}'

def check(site, host, in_browser=True):
    "All that is wrong with a site, as lines of text"
    import browser
    pages = read_pages(site)
    faults = count_faults(pages)
    print('; '.join(f'{name}: {sum(found.values())}' for name,found in faults.items()), flush=True)
    bad = list(broken(site, host, pages))
    bad += [f'{page}: {n} × {name}' for name,found in faults.items() for page,n in found.items()]
    bad += [*unused_pictures(site, pages), *fetched_elsewhere(site, pages), *misplaced(site, pages), *not_searchable(site)]
    return bad + (browser.check(site, SEARCHED) if in_browser else [])

def address():
    "Of the published site"
    from nbdev.config import get_config
    cfg = get_config()
    return cfg.doc_host+cfg.doc_baseurl

def make(out, quarto):
    "Build the site in a copy of the tree, and put it into a folder; gives what is wrong so far"
    tmp = Path(tempfile.mkdtemp())
    try:
        copy_tree(tmp)
        os.chdir(tmp)
        sys.path[:0] = [str(tmp), str(tmp/'.ci')]
        bad = list(mixed())
        for o in bad: print(o, flush=True) # said now, as it may be why the build fails
        site,made = build(quarto)
        bad += [f'{nb}: page {page} was not made' for nb,page in made.items() if not (site/page).is_file()]
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(site, out)
    finally:
        os.chdir(top)
        shutil.rmtree(tmp, ignore_errors=True)
    return bad

def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument('folder', nargs='?', default=str(top/'_docs'))
    args.add_argument('--quarto', action='store_true', help='render with Quarto')
    args.add_argument('--check', action='store_true', help='only check the folder')
    args.add_argument('--no_check', action='store_true', help='only build')
    args.add_argument('--no_browser', action='store_true', help='leave out what needs Chromium')
    args = args.parse_args()
    out = Path(args.folder).resolve()
    bad = [] if args.check else make(out, args.quarto)
    sys.path[:0] = [str(top), str(top/'.ci')]
    os.chdir(top)
    if not args.no_check: bad += check(out, address(), not args.no_browser)
    print('\n'.join(bad + [f'site: {len(list(out.rglob("*.html")))} pages, {len(bad)} problems']))
    return bool(bad)

if __name__=='__main__': sys.exit(main())
