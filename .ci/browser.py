"""Look at every page of the site in Chromium: errors in the console, files that are missing, contrast in light and dark, pages that
scroll sideways at 1,280 and 390 pixels, and what the search finds. No package is needed: a page of ours loads the others in a frame."""
import functools, http.server, json, os, shutil, subprocess, tempfile, threading
from pathlib import Path

BROWSERS = 'chromium chromium-browser google-chrome google-chrome-stable chrome'.split()
MINUTES = 15 # for all pages

# in each page, before anything else: what goes wrong
SPY = """<script>
window.problems = [];
const old_error = console.error;
console.error = (...a) => { window.problems.push('console: ' + a.join(' ')); old_error(...a); };
addEventListener('error', e => window.problems.push(e.target && (e.target.src || e.target.href) ? 'cannot load ' + (e.target.src || e.target.href) : 'error: ' + e.message), true);
addEventListener('unhandledrejection', e => window.problems.push('rejected: ' + e.reason));
</script>"""

RUNNER = """<!doctype html><meta charset="utf-8"><body><script>
const job = JOB, found = [];
const sleep = ms => new Promise(r => setTimeout(r, ms));
const load = (page, width, scheme) => new Promise(done => {
  for (const k of ['smalldocs-scheme', 'quarto-color-scheme']) localStorage.setItem(k, scheme);
  document.querySelectorAll('iframe').forEach(o => o.remove());
  const f = document.createElement('iframe');
  f.style = `width:${width}px;height:900px;border:0`;
  f.onload = async () => { await sleep(80); done(f.contentWindow); };
  f.src = '/' + page;
  document.body.append(f);
});
const numbers = c => { const m = c.match(/[\\d.]+/g).map(Number); return c.startsWith('color(') ? [m[0]*255, m[1]*255, m[2]*255, m[3] ?? 1] : [m[0], m[1], m[2], m[3] ?? 1]; };
const over = (a, b) => [0, 1, 2].map(i => a[i]*a[3] + b[i]*(1-a[3]));
const light = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= .03928 ? v/12.92 : ((v+.055)/1.055)**2.4; }); return .2126*r + .7152*g + .0722*b; };
const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q-p); return (x+.05)/(y+.05); };
function contrast(win) {
  const seen = new Map(), styles = new Map(), doc = win.document;
  const style = el => { if (!styles.has(el)) styles.set(el, win.getComputedStyle(el)); return styles.get(el); };
  const walk = doc.createTreeWalker(doc.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const el = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !el.checkVisibility({checkOpacity: true, checkVisibilityCSS: true}) || el.closest('svg, .anchorjs-link, script, style')) continue;
    const s = style(el), layers = [];
    let opacity = 1, picture = false;
    for (let o = el; o; o = o.parentElement) {
      const t = style(o), c = numbers(t.backgroundColor);
      opacity *= +t.opacity;
      if (t.backgroundImage !== 'none' && t.backgroundImage.startsWith('url')) picture = true;
      if (c[3] > 0) layers.push(c);
      if (c[3] === 1) break;
    }
    if (picture) continue;
    let back = [255, 255, 255];
    for (const c of layers.reverse()) back = over(c, back);
    const ink = numbers(s.color);
    ink[3] *= opacity;
    const size = parseFloat(s.fontSize), large = size >= 24 || size >= 18.6 && +s.fontWeight >= 700;
    const r = ratio(over(ink, back), back);
    if (r < (large ? 3 : 4.5)) seen.set(`${el.tagName.toLowerCase()}.${el.className} in ${el.parentElement.tagName.toLowerCase()}.${el.parentElement.className}`, `${r.toFixed(2)} "${walk.currentNode.data.trim().slice(0, 40)}"`);
  }
  return [...seen].map(([k, v]) => `contrast ${v} ${k}`);
}
async function search(win, word) {
  const box = [...win.document.querySelectorAll('.smalldocs-search input')][0];
  if (!box) return [];
  box.value = word;
  box.dispatchEvent(new win.Event('input'));
  let hits = [];
  for (let k = 0; k < 50 && !hits.length; k++) { await sleep(100); hits = [...win.document.querySelectorAll('.search-result')]; }
  const good = hits.slice(0, 5).filter(o => o.textContent.toLowerCase().includes(word));
  box.value = '';
  box.dispatchEvent(new win.Event('input'));
  win.document.querySelectorAll('.search-result').forEach(o => o.remove());
  return good.length ? [] : [`search: none of the first five of ${hits.length} results for "${word}" has the word`];
}
(async () => {
  for (const page of job.pages) {
    for (const [width, scheme] of [[1280, 'default'], [1280, 'alternate'], [390, 'default']]) {
      const win = await load(page, width, scheme), where = `${page} (${scheme === 'default' ? 'light' : 'dark'}, ${width})`;
      const tell = texts => texts.forEach(o => found.push(`${where}: ${o}`));
      tell([...new Set(win.problems)]);
      if (width > 1000) tell(contrast(win));
      const wide = win.document.documentElement.scrollWidth;
      if (wide > width + 1) tell([`scrolls sideways, ${wide} pixels`]);
    }
  }
  const win = await load('index.html', 1280, 'default');
  for (const word of job.words) found.push(...await search(win, word));
  await fetch('/report', {method: 'POST', body: JSON.stringify(found)});
})();
</script>"""

class Handler(http.server.SimpleHTTPRequestHandler):
    "The site, with SPY in each page; RUNNER; and the report, which goes to `server.report`"
    def do_GET(self):
        if self.path=='/runner': return self.answer(RUNNER.replace('JOB', json.dumps(self.server.job)))
        path = Path(self.translate_path(self.path))
        if path.suffix=='.html' and path.is_file():
            return self.answer(path.read_text(encoding='utf-8').replace('<head>', '<head>'+SPY, 1))
        super().do_GET()

    def do_POST(self):
        self.server.report = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        self.answer('')
        self.server.done.set()

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header('Content-Type', 'text/html; charset=utf-8')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args): pass

def find_browser():
    "Path of a Chromium; the variable CHROME comes first"
    return os.environ.get('CHROME') or next(filter(None, map(shutil.which, BROWSERS)), None)

def serve(site, job):
    "A server of the site on a free port"
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=str(site)))
    server.job,server.report,server.done = job,None,threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server

def check(site, words, pages=None):
    "What is wrong with the pages of a site, as lines of text"
    browser = find_browser()
    if not browser:
        print('SKIPPED: no Chromium to look at the pages', flush=True)
        return []
    pages = pages or [o.relative_to(site).as_posix() for o in sorted(site.rglob('*.html')) if 'site_libs' not in o.parts]
    server = serve(site, dict(pages=pages, words=words))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        args = ['--headless=new','--no-sandbox','--disable-gpu','--no-first-run','--disable-background-networking','--disable-dev-shm-usage',
                '--window-size=1400,1000', f'--user-data-dir={profile}']
        runner = f'http://127.0.0.1:{server.server_port}/runner'
        process = subprocess.Popen([browser, *args, runner], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        done = server.done.wait(60*MINUTES)
        process.terminate()
        process.wait()
    server.shutdown()
    return server.report if done else [f'Chromium has not looked at all {len(pages)} pages within {MINUTES} minutes']
