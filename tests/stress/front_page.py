# purpose: draw the README's pictures again: nbs/images/real.jpg, and the five small ones
# minutes: 15
# ci: no, it proves nothing
"""`python tests/stress/front_page.py --data DATA [--models FOLDER] [--minutes 4]`

DATA has `nuclei` (2018 Data Science Bowl, CC0) and `facade` (a-hwang/building-facade-segmentation, CC BY 4.0). A model is trained on each, unless
`--models` has nuclei.pth and facade.pth. What is drawn are their masks of validation images, as they are."""
import argparse, io, tempfile
from pathlib import Path
import cv2, matplotlib.pyplot as plt, numpy as np
from PIL import Image
from unet_nbdev.all import Segmenter, Settings, open_image, overlay, synth_image, train_unet
from unet_nbdev.core import atomic

NUCLEI = 11,2,6 # validation images, of three kinds
FACADES = 3,5   # the same, of windows
SIDE = 300      # pixels of a tile
MEGABYTES = dict(torch=2079, onnx=443) # of a virtual environment without CUDA, see nbs/install.ipynb
BLUE,ORANGE,GREEN,GREY = '#0072b2','#d55e00','#009e73','#888888'

# ── real images ──────────────────────────────────────────────────────────────────────────────────
def trained(name, folder, data, minutes):
    "The model file of a data set, trained if there is none"
    out = folder/f'{name}.pth'
    if out.exists(): return out
    source = data/name
    if name=='nuclei': where = dict(images=source/'images', masks=source/'masks', valid='val_*')
    else: where = dict(data=source, classes='window', size=512)
    train_unet(Settings(**{k:str(v) if isinstance(v, Path) else v for k,v in where.items()}, max_minutes=minutes, out=str(out)))
    return out

def square(img, side=SIDE):
    "The middle of an image, as a tile"
    n = min(img.shape[:2])
    y,x = (img.shape[0]-n)//2,(img.shape[1]-n)//2
    img = img[y:y+n,x:x+n]
    return cv2.resize(img, (side,side), interpolation=cv2.INTER_AREA if n>side else cv2.INTER_CUBIC)

def column(seg, file):
    "An image above what the model finds in it"
    img = np.atleast_3d(open_image(file))[...,:3]
    if img.shape[2]==1: img = np.repeat(img, 3, 2)
    if img.mean()<60: img = np.clip(img*(200/np.percentile(img, 99.5)), 0, 255).astype(np.uint8) # dim images are stretched to be seen
    drawn = overlay(img, seg(open_image(file)).mask, seg.codes, .55, legend=False)
    return np.concatenate([square(img), np.full((6,SIDE,3), 255, np.uint8), square(drawn)])

def real(models, files):
    columns = [column(Segmenter(m), f) for m,some in zip(models, files) for f in some]
    gap = np.full((len(columns[0]),6,3), 255, np.uint8)
    return np.concatenate([o for c in columns for o in (c,gap)][:-1], 1)

# ── small pictures ───────────────────────────────────────────────────────────────────────────────
def canvas():
    fig = plt.figure(figsize=(3, 2), dpi=100)
    ax = fig.add_axes([0, 0, 1, 1], xlim=(0,3), ylim=(0,2))
    ax.axis('off')
    return fig,ax

def faults():
    "A photo with an outline next to its object"
    fig,ax = canvas()
    img,anns = synth_image(5, 256)
    outlines = [np.reshape(a['segmentation'][0], (-1,2)) for a in anns if isinstance(a['segmentation'], list)]
    outline = max(outlines, key=lambda o: np.ptp(o, 0).prod())
    left,top = np.clip((outline.min(0)+outline.max(0))/2-[72,48], 0, [256-144,256-96])
    ax.imshow(img, extent=(0,256,256,0))
    ax.set(xlim=(left,left+144), ylim=(top+96,top), aspect='auto')
    ax.fill(*(outline+[20,-9]).T, fc='none', ec=ORANGE, lw=3)
    ax.text(.94, .9, '!', transform=ax.transAxes, ha='center', va='center', color='white', fontsize=20, weight='bold',
            bbox=dict(boxstyle='circle,pad=.25', fc=ORANGE, ec='none'))
    return fig

def plan():
    "Two settings, their values and reasons"
    fig,ax = canvas()
    for k,(name,value,why) in enumerate([('size','512','97 % of the masks are kept'), ('flips','h','the images have an up')]):
        y = 1.58-.9*k
        ax.text(.15, y, name, fontsize=17, color=GREY, va='center')
        ax.text(2.85, y, value, fontsize=19, weight='bold', color=BLUE, va='center', ha='right')
        ax.text(.15, y-.37, why, fontsize=11.5, va='center')
    ax.plot([.15,2.85], [.97,.97], color='.85')
    return fig

def clock():
    "A curve that is interrupted and continues"
    fig,ax = canvas()
    def curve(x): return .25+1.35*(1-np.exp(-1.5*x))
    for lo,hi,color in ((.15,1.3,BLUE), (1.7,2.8,GREEN)):
        x = np.linspace(lo, hi, 50)
        ax.plot(x, curve(x-(.4 if lo>1 else 0)), color=color, lw=4, solid_capstyle='round')
    ax.plot([1.3,1.7], [curve(1.3)]*2, color=GREY, ls=':', lw=2)
    ax.plot(1.3, curve(1.3), 'X', color=ORANGE, ms=13)
    ax.plot(1.7, curve(1.3), 'o', color=GREEN, ms=9)
    ax.text(1.3, .75, 'killed', ha='center', fontsize=13, color=ORANGE)
    ax.text(2.25, .75, 'resumed', ha='center', fontsize=13, color=GREEN)
    ax.annotate('', (2.9,.2), (.1,.2), arrowprops=dict(arrowstyle='->', color=GREY))
    ax.text(1.5, .02, 'minutes', ha='center', fontsize=11, color=GREY)
    return fig

def one_file():
    "What is in a model file"
    fig,ax = canvas()
    for k,(name,color) in enumerate([('weights',BLUE), ('network',BLUE), ('classes',GREEN), ('preparation',GREEN), ('cleaning',GREEN)]):
        ax.add_patch(plt.Rectangle((.35, 1.46-.34*k), 2.3, .3, fc=color, alpha=.85, lw=0))
        ax.text(1.5, 1.6-.34*k, name, ha='center', va='center', color='white', fontsize=12.5)
    ax.text(1.5, 1.88, 'model.pth', ha='center', va='center', fontsize=12, family='monospace')
    return fig

def torchless():
    "Megabytes of an environment, with torch and without"
    fig,ax = canvas()
    for y,(name,color) in zip((1.2,.35), (('torch',GREY), ('onnx',GREEN))):
        mb = MEGABYTES[name]
        ax.add_patch(plt.Rectangle((.15, y), 2.7*mb/max(MEGABYTES.values()), .35, fc=color, lw=0))
        label = {'torch':'with torch', 'onnx':'for ONNX'}[name]
        ax.text(.15, y+.53, f'{label}: {mb:,} MB', va='center', fontsize=13)
    return fig

def small_png(path, fig):
    buf = io.BytesIO()
    fig.savefig(buf)
    plt.close(fig)
    img = Image.open(buf).convert('RGB').quantize(64, dither=Image.Dither.NONE)
    with atomic(path) as tmp: img.save(tmp, format='PNG', optimize=True)
    print(f'{path.name}: {path.stat().st_size/1e3:.0f} kB')

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', type=Path, help='folder with nuclei and facade; without it, only the small pictures are drawn')
    p.add_argument('--models', type=Path, help='folder of the models (default: they are trained)')
    p.add_argument('--minutes', type=float, default=4, help='for each model (default: 4)')
    a = p.parse_args()
    images = Path(__file__).resolve().parents[2]/'nbs'/'images'
    for draw,name in ((faults,'faults'), (plan,'plan'), (clock,'clock'), (one_file,'file'), (torchless,'torchless')): small_png(images/f'{name}.png', draw())
    if not a.data: return
    with tempfile.TemporaryDirectory() as tmp:
        folder = a.models or Path(tmp)
        models = [trained(name, folder, a.data, a.minutes) for name in ('nuclei','facade')]
        nuclei = [a.data/'nuclei'/'images'/f'val_{k:03}.png' for k in NUCLEI]
        facades = sorted((a.data/'facade'/'valid').glob('*.jpg'))
        img = real(models, [nuclei, [facades[k] for k in FACADES]])
    out = images/'real.jpg'
    with atomic(out) as tmp: Image.fromarray(img).save(tmp, format='JPEG', quality=82)
    print(f'{out.name}: {img.shape[1]}×{img.shape[0]}, {out.stat().st_size/1e3:.0f} kB')

if __name__=='__main__': main()
