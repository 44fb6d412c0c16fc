"""Make `nbs/images/strengths.jpg`, the README's second picture, anew: `python .ci/pictures.py [--minutes 2]`

Two small models are trained on made-up data, a beach and a dish of cells that touch. What is drawn is what they say of pictures that they
have not seen, as they say it."""
import argparse, tempfile
from pathlib import Path
import cv2, matplotlib.pyplot as plt, numpy as np
from unet_nbdev.all import *

def cells(seed, sz=192): # → image, mask: pale nuclei on dark ground, many of which touch
    rng = np.random.default_rng(seed)
    lab,img = np.zeros((sz,sz), np.uint8),rng.normal(18, 5, (sz,sz)).astype(np.float32)
    for _ in range(rng.integers(3, 7)): # clumps
        cx,cy = rng.uniform(20, sz-20, 2)
        for _ in range(rng.integers(1, 5)):
            one,light = np.zeros((sz,sz), np.uint8),rng.uniform(70, 170)
            x,y = np.array([cx,cy])+rng.normal(0, 13, 2)
            cv2.ellipse(one, (int(x),int(y)), (int(rng.integers(9,15)),int(rng.integers(8,12))), float(rng.uniform(0,180)), 0, 360, 1, -1)
            img = np.maximum(img, cv2.GaussianBlur(one.astype(np.float32), (0,0), 1.2)*light)
            lab |= one
    img = cv2.GaussianBlur(img, (0,0), .8)+rng.normal(0, 6, img.shape)
    return np.repeat(img.clip(0,255).astype(np.uint8)[...,None], 3, 2),lab

def cell_set(root, n=48):
    for k in range(n):
        img,lab = cells(k)
        write_image(root/'images'/f'{k:02}.png', img); write_image(root/'masks'/f'{k:02}.png', lab*255)
    return split_items(read_items(root))

def trained(items, minutes, run, **kw):
    plan = make_plan(items, max_minutes=minutes, **kw)
    learn = seg_learner(seg_dls(items, **plan.data()), **plan.learner())
    with learn.no_bar(), learn.no_logging(): learn.fit_unet(max_minutes=minutes, run=run, live=False, pictures=False, **plan.fit())
    return Segmenter(run/'best.pth')

def several(n): # colours of numbered objects
    rng = np.random.default_rng(3)
    hsv = np.stack([rng.permutation(np.arange(n)*180//max(n, 1)), rng.integers(130,220,n), rng.integers(190,256,n)], 1).astype(np.uint8)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]

def painted(img, lab): # each object in a colour of its own, with a white rim
    n,out = int(lab.max()),img.astype(np.float32)
    out[lab>0] = .35*out[lab>0]+.65*several(n)[lab[lab>0]-1]
    for k in range(1, n+1):
        edges,_ = cv2.findContours((lab==k).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(out, edges, -1, (255,255,255), 1)
    return out.astype(np.uint8)

def large(items, minutes, tmp):
    seg = trained(items, minutes, tmp/'beach')
    img = np.concatenate([np.concatenate([synth_image(100+9*r+c, 192)[0] for c in range(9)], 1) for r in range(9)])
    pred = seg(img)
    return img,pred,seg.codes

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--minutes', type=float, default=2, help='for each model (default 2)')
    o = p.parse_args()
    out = Path(__file__).resolve().parent.parent/'nbs'/'images'/'strengths.jpg'
    with tempfile.TemporaryDirectory() as d:
        tmp = Path(d)
        img,pred,codes = large(synth_coco(tmp/'sea', n=90, sz=192, seed=1), o.minutes, tmp)
        seg = trained(cell_set(tmp/'dish'), o.minutes, tmp/'cells')
        k = max(range(900, 940), key=lambda k: len(split_objects(cells(k)[1], min_distance=6)[1])-len(components(cells(k)[1])[1]))
        dish = cells(k)[0]
        found = seg(dish).mask
    parts,objs = split_objects(found, min_distance=6)
    part = np.s_[384:768,384:768]
    sure = pred.probs.max(0)[part]
    tiles = [(overlay(img, pred.mask, codes, legend=False), f'{img.shape[0]:,} × {img.shape[1]:,} pixels, by windows'),
             (painted(dish, components(found)[0]), f'cells that touch: {len(components(found)[1])} areas …'),
             (painted(dish, parts), f'… are {len(objs)} objects'),
             (overlay(img[part], pred.mask[part], codes, legend=False), 'a part of the large picture'),
             (cv2.applyColorMap((255*(sure-.5).clip(0)/.5).astype(np.uint8), cv2.COLORMAP_CIVIDIS)[...,::-1], 'and how sure it is: dark, look here')]
    fig = plt.figure(figsize=(12.4, 6.55), dpi=110)
    grid = fig.add_gridspec(2, 4, left=.005, right=.995, top=.955, bottom=.005, wspace=.03, hspace=.1)
    for spot,(tile,title) in zip((grid[:,:2],grid[0,2],grid[0,3],grid[1,2],grid[1,3]), tiles):
        ax = fig.add_subplot(spot)
        big = tile if max(tile.shape)>800 else cv2.resize(tile, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
        ax.imshow(cv2.resize(big, (1000,1000), interpolation=cv2.INTER_AREA) if big.shape[0]>1200 else big)
        ax.set_title(title, fontsize=11, pad=4); ax.axis('off')
    with atomic(out) as f: fig.savefig(f, format='jpg', pil_kwargs=dict(quality=85))
    print(f'{out.name}: {out.stat().st_size/1e3:.0f} kB')

if __name__=='__main__': main()
