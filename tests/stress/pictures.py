# purpose: draw nbs/images/strengths.jpg, the picture of nbs/howto/touching_objects.ipynb, again
# minutes: 6
# ci: no, it proves nothing
"""`python tests/stress/pictures.py [--minutes 2]`

Two small models are trained on synthetic data: a beach, and a dish of cells that touch. What is drawn is their output for images that they
have not seen, as it is."""
import argparse, tempfile
from pathlib import Path
import cv2, matplotlib.pyplot as plt, numpy as np
from unet_nbdev.core import atomic
from unet_nbdev.all import (Segmenter, components, make_plan, overlay, read_items, seg_dls, seg_learner, split_items, split_objects, synth_coco,
                            synth_image, write_image)

# ── a dish of cells ──────────────────────────────────────────────────────────────────────────────
def draw_cell(lab, img, centre, rng):
    "Add a pale ellipse to the mask and to the image, in place"
    cell = np.zeros_like(lab)
    brightness = rng.uniform(70, 170)
    x,y = centre+rng.normal(0, 13, 2)
    axes = int(rng.integers(9,15)),int(rng.integers(8,12))
    cv2.ellipse(cell, (int(x),int(y)), axes, float(rng.uniform(0,180)), 0, 360, 1, -1)
    np.maximum(img, cv2.GaussianBlur(cell.astype(np.float32), (0,0), 1.2)*brightness, out=img)
    lab |= cell

def synth_cells(seed, sz=192): # → (sz,sz,3) uint8, (sz,sz) uint8
    "An image and its mask: pale nuclei on dark ground, many of which touch"
    rng = np.random.default_rng(seed)
    lab = np.zeros((sz,sz), np.uint8)
    img = rng.normal(18, 5, (sz,sz)).astype(np.float32)
    for _ in range(rng.integers(3, 7)): # clumps
        centre = rng.uniform(20, sz-20, 2)
        for _ in range(rng.integers(1, 5)): draw_cell(lab, img, centre, rng)
    img = cv2.GaussianBlur(img, (0,0), .8)+rng.normal(0, 6, img.shape)
    return np.repeat(img.clip(0,255).astype(np.uint8)[...,None], 3, 2),lab

def cell_items(root, n=48):
    "Write a data set of dishes, and read it"
    for k in range(n):
        img,lab = synth_cells(k)
        write_image(root/'images'/f'{k:02}.png', img)
        write_image(root/'masks'/f'{k:02}.png', lab*255)
    return split_items(read_items(root))

# ── models and what they find ────────────────────────────────────────────────────────────────────
def trained(items, minutes, run):
    "Train a model as the README does → Segmenter"
    plan = make_plan(items, max_minutes=minutes)
    learn = seg_learner(seg_dls(items, **plan.data()), **plan.learner())
    with learn.no_bar(), learn.no_logging(): learn.fit_unet(max_minutes=minutes, run=run, live=False, pictures=False, **plan.fit())
    return Segmenter(run/'best.pth')

def large_beach():
    "A large image from 81 images of a beach"
    rows = [np.concatenate([synth_image(100+9*r+c, 192)[0] for c in range(9)], 1) for r in range(9)]
    return np.concatenate(rows)

def touching(k): # number of objects that splitting adds
    lab = synth_cells(k)[1]
    return len(split_objects(lab, min_distance=6)[1])-len(components(lab)[1])

def object_colors(n): # (n,3) uint8
    "Colours of numbered objects"
    rng = np.random.default_rng(3)
    hue = rng.permutation(np.arange(n)*180//max(n, 1))
    hsv = np.stack([hue, rng.integers(130,220,n), rng.integers(190,256,n)], 1).astype(np.uint8)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]

def paint_objects(img, lab):
    "Each object in a colour of its own, with a white rim"
    n = int(lab.max())
    out = img.astype(np.float32)
    out[lab>0] = .35*out[lab>0]+.65*object_colors(n)[lab[lab>0]-1]
    for k in range(1, n+1):
        edges,_ = cv2.findContours((lab==k).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(out, edges, -1, (255,255,255), 1)
    return out.astype(np.uint8)

def paint_confidence(confidence): # (H,W) from 0.5 to 1
    levels = (255*(confidence-.5).clip(0)/.5).astype(np.uint8)
    return cv2.applyColorMap(levels, cv2.COLORMAP_CIVIDIS)[...,::-1]

# ── the picture ──────────────────────────────────────────────────────────────────────────────────
def beach_tiles(minutes, tmp):
    "The large image, a part of it, and the confidence there"
    seg = trained(synth_coco(tmp/'sea', n=90, sz=192, seed=1), minutes, tmp/'beach')
    img = large_beach()
    pred = seg(img)
    part = np.s_[384:768,384:768]
    confidence = pred.probs.max(0)[part]
    return [(overlay(img, pred.mask, seg.codes, legend=False), f'{img.shape[0]:,} × {img.shape[1]:,} pixels, by windows'),
            (overlay(img[part], pred.mask[part], seg.codes, legend=False), 'a part of the large image'),
            (paint_confidence(confidence), 'confidence: look where it is dark')]

def cell_tiles(minutes, tmp):
    "A dish as areas and as objects"
    seg = trained(cell_items(tmp/'dish'), minutes, tmp/'cells')
    dish = synth_cells(max(range(900, 940), key=touching))[0]
    msk = seg(dish).mask
    areas,found_areas = components(msk)
    objects,found_objects = split_objects(msk, min_distance=6)
    return [(paint_objects(dish, areas), f'cells that touch: {len(found_areas)} areas …'),
            (paint_objects(dish, objects), f'… are {len(found_objects)} objects')]

def to_tile(img):
    "Enlarge small images, shrink large ones"
    if max(img.shape)<=800: img = cv2.resize(img, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    return cv2.resize(img, (1000,1000), interpolation=cv2.INTER_AREA) if img.shape[0]>1200 else img

def draw(tiles):
    fig = plt.figure(figsize=(12.4, 6.55), dpi=110)
    grid = fig.add_gridspec(2, 4, left=.005, right=.995, top=.955, bottom=.005, wspace=.03, hspace=.1)
    spots = grid[:,:2],grid[0,2],grid[0,3],grid[1,2],grid[1,3]
    for spot,(img,title) in zip(spots, tiles):
        ax = fig.add_subplot(spot)
        ax.imshow(to_tile(img))
        ax.set_title(title, fontsize=11, pad=4)
        ax.axis('off')
    return fig

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--minutes', type=float, default=2, help='for each model (default: 2)')
    o = p.parse_args()
    with tempfile.TemporaryDirectory() as d:
        large,part,confidence = beach_tiles(o.minutes, Path(d))
        fig = draw([large, *cell_tiles(o.minutes, Path(d)), part, confidence])
    out = Path(__file__).resolve().parents[2]/'nbs'/'images'/'strengths.jpg'
    with atomic(out) as f: fig.savefig(f, format='jpg', pil_kwargs=dict(quality=85))
    print(f'{out.name}: {out.stat().st_size/1e3:.0f} kB')

if __name__=='__main__': main()
