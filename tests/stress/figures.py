# purpose: hostile names, sizes of one pixel, empty and full masks, NaN scores and hundreds of classes end no picture and no page
# minutes: 12, 1.5 with --quick
# ci: yes
"""Makes up data sets that nobody would make on purpose, and gives them to every public function that draws a figure or writes a page:
`python tests/stress/figures.py [--quick] [--cases 60] [--seed 0]`

Names of classes and files hold mathematics for Matplotlib, tags, control characters, halves of surrogate pairs, line breaks, switches of the direction of writing,
scripts that the typeface lacks, and thousands of letters. No function may raise, warn of a missing glyph or of a layout without room, or leave a picture out.
Text must come out drawable, and pages must be UTF-8 with no element that was not written on purpose."""
import argparse, contextlib, io, math, sys, tempfile, traceback, unicodedata, warnings
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
import numpy as np
from PIL import Image

PIECES = ['$', '\\', '{', '}', '^', '_', '%', '#', '&', '<b>', '</td>', '"', "'", '$\\frac{1$', '\\$', '$$', '\n', '\r', '\t', '\0', '\x1b[31m', '\x7f', '\x85', '\u2028',
          '\udce9', '\ud800', '\udc00', '\u202e', '\u200b', '\u200d', '\ufeff', '\uffff', '\ue000', '海星', '猫', 'می‌روم', 'שלום', 'नमस्ते', 'ไทย', 'πλοίο', 'клетка', 'é', 'e\u0301',
          'a'+'\u0300'*30, '🦀', '👩‍🔬', '\U0010ffff', ' ', '   ', '\u3000', 'crab', 'dice_', 'iou_', 'loss', 'background', 'nan', 'x'*40, 'W'*3000, '…', '--', '../', '.png']

def hostile_name(rng)->str:
    "Make up a name, often an unpleasant one"
    if rng.random()<.05: return ''
    return ''.join(rng.choice(PIECES) for _ in range(rng.integers(1, 5)))

def file_name(rng)->str:
    "Make up a name that a file can have"
    name = ''.join(c for c in hostile_name(rng) if c not in '/\0' and not '\ud800'<=c<'\udc80')
    return name.encode('utf-8', 'surrogateescape')[:150].decode('utf-8', 'surrogateescape').strip('.') or 'x'

def class_names(rng, n)->list:
    "Make up names that differ"
    names = [hostile_name(rng) for _ in range(n)]
    seen = Counter()
    for k,name in enumerate(names):
        seen[name] += 1
        if seen[name]>1: names[k] = f'{name}{k}'
    return names

def make_case(rng):
    "Make up classes, an image, its truth and a prediction"
    from unet_nbdev.core import IGNORE, Codes
    n = int(rng.choice([1, 2, 5, 9, 16, 254], p=[.2, .25, .25, .15, .1, .05]))
    codes = Codes(class_names(rng, n))
    h,w = ([1,1], [1,40], [40,1], [2,3], [33,47], [64,64], [7,300])[rng.integers(7)]
    kind = rng.choice(['uint8','uint16','float32','bool'])
    img = rng.integers(0, 256, (h,w,int(rng.choice([1,2,3,5])))).astype(kind)
    if kind=='float32' and rng.random()<.3: img[...] = np.nan
    def mask():
        how = rng.integers(4)
        if how==0: return np.zeros((h,w), np.uint8)
        if how==1: return np.full((h,w), rng.integers(1, n+1), np.uint8)
        if how==2: return np.full((h,w), IGNORE, np.uint8)
        return rng.choice([*range(n+1), IGNORE], (h,w)).astype(np.uint8)
    return codes,img,mask(),mask()

class Elements(HTMLParser):
    "The elements of a page"
    def __init__(self, text):
        super().__init__()
        self.tags = Counter()
        self.feed(text)
    def handle_starttag(self, tag, attrs): self.tags[tag] += 1

OURS = set('html meta title body style div h1 h2 p b i br table tr th td span a figure img figcaption code ul li details summary picture source'.split())

def check_html(text, most_b=0):
    "Raise unless text is HTML of ours, in UTF-8, without control characters"
    text.encode('utf-8')
    odd = {c for c in text if unicodedata.category(c) in ('Cc','Cs') and c!='\n'}
    assert not odd, odd
    tags = Elements(text).tags
    assert set(tags)<=OURS and tags['b']<=most_b, tags

def check_text(name):
    "Raise unless a name comes out drawable"
    from unet_nbdev.pages import html_text, plain_text
    from unet_nbdev.show import drawable, figure_text
    from matplotlib.cbook import is_math_text
    for s in (plain_text(name), drawable(name), drawable(name, 10), figure_text(name), html_text(name)):
        s.encode('utf-8')
        assert not any(unicodedata.category(c) in ('Cc','Cs','Zl','Zp') for c in s), s
    assert plain_text(plain_text(name))==plain_text(name) and drawable(drawable(name))==drawable(name), name
    assert drawable(name) and len(drawable(name, 10))<=100 and not is_math_text(figure_text(name)), name

def draw_masks(rng, codes, img, truth, pred, out):
    from unet_nbdev.show import error_view, legend_strip, overlay, reduce_colours, save_fig, show_masks, to_rgb
    to_rgb(img)
    legend_strip([(n, (1,2,3), bool(rng.integers(2))) for n in codes.vocab], int(rng.integers(1, 900)))
    pic = overlay(img, truth, codes)
    reduce_colours(Image.fromarray(pic))
    error_view(img, truth=truth, pred=pred)
    many = int(rng.integers(1, 5))
    titles = [hostile_name(rng) for _ in range(many)]
    for preds in (None, [pred]*many):
        fig = show_masks([img]*many, [truth]*many, codes, preds=preds, titles=titles, errors=True, n_cols=int(rng.integers(1, 4)))
        kind = rng.choice(['png','svg','pdf','jpg'])
        save_fig(fig, out/f'masks.{kind}', 80, small=bool(rng.integers(2)))

def draw_plots(rng, codes, out):
    from unet_nbdev.core import DataError
    from unet_nbdev.show import plot_confusion, plot_curves, save_fig
    odd = [math.nan, math.inf, -math.inf, None, 0., .5, 1., 7.]
    names = codes.names[:20]
    def row(k): return dict(epoch=k, train_loss=rng.choice([1., math.nan, math.inf]), valid_loss=1/(k+1), mean_dice=rng.choice(odd), lr=1e-3,
                            **{f'dice_{n}':rng.choice(odd) for n in names}, **{f'iou_{n}':rng.choice(odd) for n in names})
    rows = [row(k) for k in range(rng.integers(1, 5))]
    for best in ('', 'mean_dice'): save_fig(plot_curves(rows, best=best), out/'curves.png', 80, small=True)
    with contextlib.suppress(DataError): plot_curves([dict(train_loss=math.nan)])
    n = len(codes.vocab)
    counts = rng.integers(0, 9, (n,n)).astype(float)*(rng.random((n,1))<.8)
    save_fig(plot_confusion(counts, codes.vocab), out/'confusion.png', 40, small=True)

def draw_tuning(rng, out):
    from unet_nbdev.calibrate import Calibrated, calibrate, plot_confidence, plot_reliability
    from unet_nbdev.tune import plot_history
    trials = [dict(trial=k, state=str(rng.choice(['complete','pruned','fail'])), score=None if rng.random()<.3 else float(rng.random())) for k in range(4)]
    for t in trials:
        if t['state']=='complete' and t['score'] is None: t['score'] = 0.
    plot_history(trials, hostile_name(rng)).savefig(io.BytesIO())
    def pair():
        p = rng.random((3,20,20)).astype(np.float32)
        return p/p.sum(0), rng.integers(0, 3, (20,20)).astype(np.uint8)
    cal = calibrate([pair() for _ in range(3)])
    plot_reliability(cal, out/'reliability.png')
    plot_confidence(np.zeros((20,20), np.uint8), pair()[0], cal, path=out/'confidence.png')

def write_pages(rng, codes, img, out):
    from unet_nbdev.pages import html_body, html_table, img_tag, write_page
    from unet_nbdev.show import to_rgb
    rows = [{'class':n, hostile_name(rng):hostile_name(rng), 'dice':rng.choice([math.nan, .5])} for n in codes.names]
    rows = [dict(zip(rows[0], r.values())) for r in rows]
    check_html(html_table(rows, mark=0, colors=codes.colors[1:]))
    body = img_tag(to_rgb(img), hostile_name(rng))+html_table(rows)
    check_html(html_body(body))
    write_page(out/'page.html', hostile_name(rng), body)
    check_html((out/'page.html').read_bytes().decode('utf-8'))

def write_data(rng, codes, img, truth, folder):
    "Write a data set with hostile file names → `Items`"
    from unet_nbdev.core import IGNORE, Item, Items
    from unet_nbdev.images import write_image
    from unet_nbdev.show import to_rgb
    rgb = to_rgb(img)
    items = []
    for k in range(3):
        stem = f'{k}{file_name(rng)}'
        write_image(folder/'images'/f'{stem}.png', rgb)
        write_image(folder/'masks'/f'{stem}.png', truth)
        items.append(Item(folder/'images'/f'{stem}.png', stem, rgb.shape[:2], msk=folder/'masks'/f'{stem}.png', split=('train','valid','')[k]))
    return Items(items, codes.changed(void=[IGNORE]))

def guess(n):
    "Make a network: brightness gives the class"
    def net(x):
        k = ((np.asarray(x)[0,0]+1)*n/2).round().astype(int).clip(0, n)
        return np.moveaxis(np.eye(n+1, dtype=np.float32)[k], -1, 0)
    return net

def use_data(rng, items, out):
    "Look at data with the overview, the doctor, an evaluation and the widgets"
    from unet_nbdev.core import IGNORE, DataError
    from unet_nbdev.doctor import check_items
    from unet_nbdev.evaluate import evaluate
    from unet_nbdev.overview import overview_html
    from unet_nbdev.prep import Prep
    from unet_nbdev.runtime import Predictor
    from unet_nbdev.show import save_fig
    from unet_nbdev.widgets import Comparison, Explorer
    save_fig(items.show(), out/'items.png', 60)
    check_html(overview_html(items))
    seg = Predictor([guess(len(items.codes.names))], items.codes, [Prep(multiple=2)])
    evaluate(seg, items, progress=False).write_html(out/'scores.html')
    page = (out/'scores.html').read_bytes().decode('utf-8')
    check_html(page)
    assert 'could not be drawn' not in page
    x = Explorer(seg, items)
    for view in ('errors','confidence','image','mask'): x.controls['view'].value = view
    pair = Comparison([seg,seg], [hostile_name(rng), hostile_name(rng)], items)
    for o in (x, pair): check_html(o.line.value)
    with contextlib.suppress(DataError): # the data may be too odd to check
        report = check_items(images=items[0].img.parent, masks=items[0].msk.parent, names=items.codes.names, void=IGNORE, progress=False)
        report.write_html(out/'doctor.html')
        check_html((out/'doctor.html').read_bytes().decode('utf-8'), most_b=1)

def write_run(rng, codes, truth, out):
    "Write the page of a training"
    from unet_nbdev.metrics import scores_for
    from unet_nbdev.report import RunFolder, extremes
    folder = RunFolder(out/file_name(rng), settings={hostile_name(rng):hostile_name(rng) for _ in range(3)})
    scores = scores_for(codes)
    scores.update(np.zeros_like(truth), truth, 0)
    folder.rows = [dict(epoch=0, train_loss=math.nan, mean_dice=math.nan)]
    folder.best_info = dict(epoch=0, scores=scores.to_dict(codes.outputs), extremes=extremes(scores))
    folder.write_report()
    check_html((folder.path/'report.html').read_bytes().decode('utf-8'))

def run_case(seed):
    "Make up a case and draw it everywhere"
    rng = np.random.default_rng(seed)
    for _ in range(200): check_text(hostile_name(rng))
    codes,img,truth,pred = make_case(rng)
    with tempfile.TemporaryDirectory() as d:
        out = Path(d)
        draw_masks(rng, codes, img, truth, pred, out)
        draw_plots(rng, codes, out)
        draw_tuning(rng, out)
        write_pages(rng, codes, img, out)
        use_data(rng, write_data(rng, codes, img, truth, out/'data'), out)
        write_run(rng, codes, truth, out)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--quick', action='store_true', help='6 cases')
    p.add_argument('--cases', type=int, default=60)
    p.add_argument('--seed', type=int, default=0)
    a = p.parse_args()
    n = 6 if a.quick else a.cases
    failed = 0
    for seed in range(a.seed, a.seed+n):
        said = io.StringIO()
        try:
            with warnings.catch_warnings(), contextlib.redirect_stderr(said):
                warnings.filterwarnings('error', message='.*(Glyph|layout not applied|Tight layout)')
                run_case(seed)
            if said.getvalue(): raise AssertionError(said.getvalue())
        except Exception as e:
            failed += 1
            where = traceback.extract_tb(e.__traceback__)
            place = ' < '.join(f'{Path(o.filename).name}:{o.lineno} {o.name}' for o in where[:0:-1][:6])
            print(f'seed {seed}: {type(e).__name__}: {ascii(str(e))[:300]} at {place}', flush=True)
    if failed: sys.exit(f'{failed} of {n} cases failed')
    print(f'{n} cases of hostile names, sizes, masks and scores: every figure and page came out')

if __name__=='__main__': main()
