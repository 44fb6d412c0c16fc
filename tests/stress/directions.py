# purpose: the plan tells which of 20 made kinds of images have an up, or a grain, whatever their format and sizes
# minutes: 3, 1 with --quick (1 seed, 3 sets of each kind)
# ci: yes
"""Makes up data sets of 20 kinds, and asks the plan how they may be turned: `python tests/stress/directions.py [--quick] [--seeds 3] [--seed 0]`

Each kind is written as PNG and as JPEG, in one size and in many: four sets, of which the plan must say the same. A street has an up, also as PNG frames of one size; tiles of
a satellite have none, also as JPEG; brushed metal has a grain. With the images turned and mirrored in all eight ways, no kind may be found to have an up or a grain."""
import argparse, os, sys, tempfile, time
from pathlib import Path
os.environ.update(MPLBACKEND='Agg', HF_HUB_OFFLINE='1')
import cv2, numpy as np
from unet_nbdev.images import write_image
from unet_nbdev.items import read_items
from unet_nbdev.plan import make_plan

def noise(rng, sz, scale=1, channels=3): # smooth clouds, mean 0, deviation 1
    small = rng.normal(size=(max(2, round(sz[0]/scale)), max(2, round(sz[1]/scale)), channels)).astype(np.float32)
    res = cv2.resize(small, sz[::-1], interpolation=cv2.INTER_CUBIC).reshape(*sz, channels)
    return (res-res.mean())/(res.std()+1e-6)

def canvas(rng, sz, colour, grain=8.): # a plain ground with noise
    return np.float32(colour)+noise(rng, sz, 1)*grain+noise(rng, sz, 24, 1)*grain

def colour_near(rng, colour, by=15): return np.clip(np.float32(colour)+rng.normal(0, by, 3), 0, 255)

def blob(shape, centre, axes, angle=0.): # bool
    m = np.zeros(shape, np.uint8)
    cv2.ellipse(m, tuple(int(v) for v in centre[::-1]), tuple(max(1, int(v)) for v in axes), angle, 0, 360, 1, -1)
    return m>0

def somewhere(rng, sz, low=0., high=1.): return rng.uniform(low, high)*sz[0],rng.uniform(0, 1)*sz[1]

# ── with an up ──────────────────────────────────────────────────────────────────────────
def street(rng, sz):
    h,w = sz
    horizon = int(h*rng.uniform(.35, .55))
    img,msk = canvas(rng, sz, colour_near(rng, (95,95,100))),np.zeros(sz, np.uint8)
    img[:horizon] = canvas(rng, (horizon,w), colour_near(rng, (150,180,220)))
    road = np.zeros(sz, np.uint8)
    middle = rng.uniform(.3, .7)*w
    cv2.fillPoly(road, [np.int32([[middle-w*.05,horizon],[middle+w*.05,horizon],[w*1.1,h],[-w*.1,h]])], 1)
    msk[road>0] = 1
    for _ in range(rng.integers(1, 4)):
        car = blob(sz, (rng.uniform(horizon, h*.8), rng.uniform(0, w)), (w*.07,h*.04))
        img[car] = colour_near(rng, (120,40,40), 50)
        msk[car] = 2
    return img,msk

def night_street(rng, sz):
    img,msk = street(rng, sz)
    img = img*.15
    h,w = sz
    for _ in range(4):
        lamp = blob(sz, (rng.uniform(.2, .45)*h, rng.uniform(0, w)), (w*.02,w*.02))
        img[lamp] = 230
    img[int(h*.6):] += 20
    return img,msk

def landscape(rng, sz):
    h,w = sz
    img,msk = canvas(rng, sz, colour_near(rng, (70,110,50))),np.zeros(sz, np.uint8)
    edge = (h*.45+h*.12*noise(rng, (2,w), w/4, 1)[0,:,0]).clip(2, h-2)
    sky = np.arange(h)[:,None]<edge
    img[sky] = canvas(rng, sz, colour_near(rng, (140,170,225)))[sky]
    for _ in range(rng.integers(1, 4)):
        y = rng.uniform(.5, .9)*h
        tree = blob(sz, (y, rng.uniform(0, w)), (w*.05,h*.12))
        img[tree] = colour_near(rng, (25,60,20))
        msk[tree] = 1
    return img,msk

def portrait(rng, sz):
    h,w = sz
    img,msk = canvas(rng, sz, colour_near(rng, (150,140,130), 40)),np.zeros(sz, np.uint8)
    x = rng.uniform(.35, .65)*w
    for where,axes,colour in ((.42,(.14*w,.18*h),(205,165,140)), (.95,(.32*w,.35*h),(60,60,110))):
        part = blob(sz, (where*h, x), axes)
        img[part] = colour_near(rng, colour, 25)
        msk[part] = 1
    return img,msk

def chest(rng, sz): # an X-ray: lungs narrow at the top, a diaphragm below
    h,w = sz
    img,msk = canvas(rng, sz, (150,)*3),np.zeros(sz, np.uint8)
    for side in (.3,.7):
        lung = np.zeros(sz, np.uint8)
        x,y = side*w+rng.normal(0, .02)*w,rng.normal(0, .03)*h
        cv2.fillPoly(lung, [np.int32([[x-.05*w,.2*h+y],[x+.05*w,.2*h+y],[x+.15*w,.75*h+y],[x-.15*w,.75*h+y]])], 1)
        img[lung>0] -= 80
        msk[lung>0] = 1
    img[int(h*.8):] += 50
    return img.mean(2, keepdims=True).repeat(3, 2),msk

def shelf(rng, sz): # things that stand on a board
    h,w = sz
    img,msk = canvas(rng, sz, colour_near(rng, (215,210,200))),np.zeros(sz, np.uint8)
    board = int(h*rng.uniform(.7, .8))
    img[board:] = canvas(rng, (h-board,w), colour_near(rng, (110,75,45)))
    for x in np.arange(.1, 1, .2):
        tall = rng.uniform(.15, .4)*h
        cv2.rectangle(msk, (int((x-.06)*w),int(board-tall)), (int((x+.06)*w),board), 1, -1)
    img[msk>0] = colour_near(rng, (60,90,160), 50)
    return img,msk

def underwater(rng, sz): # light from above
    h,w = sz
    img,msk = canvas(rng, sz, (20,70,110)),np.zeros(sz, np.uint8)
    img += (np.linspace(90, -20, h)*rng.uniform(.6, 1.2))[:,None,None]
    for _ in range(3):
        fish = blob(sz, somewhere(rng, sz), (w*.08,h*.04), rng.uniform(-30, 30))
        img[fish] += 60
        msk[fish] = 1
    return img,msk

# ── without one ──────────────────────────────────────────────────────────────────────────
def cells(rng, sz, ground=(20,20,25), body=(70,160,90)):
    img,msk = canvas(rng, sz, ground),np.zeros(sz, np.uint8)
    for _ in range(rng.integers(5, 15)):
        cell = blob(sz, somewhere(rng, sz), rng.uniform(.03, .08, 2)*min(sz), rng.uniform(0, 180))
        img[cell] = colour_near(rng, body)
        msk[cell] = 1
    return img,msk

def stained(rng, sz): return cells(rng, sz, colour_near(rng, (230,190,215), 8), (110,60,140))

def satellite(rng, sz): # fields and roads, with shadows that fall anywhere
    img,msk = canvas(rng, sz, colour_near(rng, (110,120,80))),np.zeros(sz, np.uint8)
    for _ in range(4):
        box = cv2.boxPoints((somewhere(rng, sz)[::-1], tuple(rng.uniform(.1, .4, 2)*min(sz)), rng.uniform(0, 90)))
        field = cv2.fillPoly(np.zeros(sz, np.uint8), [np.int32(box)], 1)>0
        img[field] = colour_near(rng, (140,130,90), 30)
    ends = [tuple(int(v) for v in somewhere(rng, sz)[::-1]) for _ in range(2)]
    cv2.line(msk, *ends, 1, max(2, min(sz)//40))
    img[msk>0] = 190
    return img,msk

def city_above(rng, sz): # roofs, all lit from one side of the images: shadows fall to the lower right
    img,msk = canvas(rng, sz, colour_near(rng, (120,120,115))),np.zeros(sz, np.uint8)
    for _ in range(rng.integers(6, 12)):
        centre,size,angle = somewhere(rng, sz)[::-1],tuple(rng.uniform(.08, .2, 2)*min(sz)),rng.uniform(0, 90)
        for shift,colour in ((.02*min(sz),(40,40,45)), (0,colour_near(rng, (170,110,90), 30))):
            roof = cv2.fillPoly(np.zeros(sz, np.uint8), [np.int32(cv2.boxPoints(((centre[0]+shift, centre[1]+shift), size, angle)))], 1)>0
            img[roof] = colour
        msk[roof] = 1
    return img,msk

def dish(rng, sz): # round, darker at the rim
    h,w = sz
    far = np.hypot(*np.mgrid[-1:1:h*1j,-1:1:w*1j])
    img,msk = cells(rng, sz, (190,185,170), (120,110,80))
    return img*np.where(far<.95, 1-.3*far**2, .1)[...,None],msk*(far<.95)

def retina(rng, sz):
    h,w = sz
    far = np.hypot(*np.mgrid[-1:1:h*1j,-1:1:w*1j])
    img,msk = canvas(rng, sz, colour_near(rng, (180,90,50))),np.zeros(sz, np.uint8)
    for _ in range(5):
        points = np.cumsum(rng.normal(0, .08, (20,2)), 0)*min(sz)+np.float32([w/2,h/2])+rng.normal(0, .2, 2)*min(sz)
        cv2.polylines(msk, [np.int32(points)], False, 1, max(1, min(sz)//80))
    img[msk>0] -= 50
    return img*(far<.9)[...,None],(msk*(far<.9)).astype(np.uint8)

def membrane(rng, sz):
    walls = np.abs(noise(rng, sz, 14, 1)[...,0])<.18
    img = canvas(rng, sz, (150,)*3)
    img[walls] -= 90
    return img.mean(2, keepdims=True).repeat(3, 2),walls.astype(np.uint8)

def cracks(rng, sz):
    img,msk = canvas(rng, sz, colour_near(rng, (160,155,150))),np.zeros(sz, np.uint8)
    points = np.cumsum(rng.normal(0, .05, (30,2)), 0)*min(sz)+np.float32(somewhere(rng, sz)[::-1])
    cv2.polylines(msk, [np.int32(points)], False, 1, max(1, min(sz)//90))
    img[msk>0] -= 70
    return img,msk

def leaves_from_above(rng, sz):
    img,msk = canvas(rng, sz, colour_near(rng, (90,65,45))),np.zeros(sz, np.uint8)
    for _ in range(rng.integers(3, 8)):
        leaf = blob(sz, somewhere(rng, sz), rng.uniform(.08, .2, 2)*min(sz), rng.uniform(0, 180))
        img[leaf] = colour_near(rng, (60,130,50), 20)
        msk[leaf] = 1
    return img,msk

def lesion(rng, sz):
    img = canvas(rng, sz, colour_near(rng, (215,170,150)))
    spot = blob(sz, (np.array(sz)*(.5+rng.normal(0, .06, 2))), rng.uniform(.15, .3, 2)*min(sz), rng.uniform(0, 180))
    img[spot] = colour_near(rng, (110,65,50))
    return img,spot.astype(np.uint8)

# ── with a grain ──────────────────────────────────────────────────────────────────────────
def brushed(rng, sz): # metal: lines along the columns
    img,msk = canvas(rng, sz, (140,)*3, 5.),np.zeros(sz, np.uint8)
    img += rng.normal(0, 18, (1,sz[1],1))
    if rng.random()<.7:
        spot = blob(sz, somewhere(rng, sz), rng.uniform(.03, .1, 2)*min(sz), rng.uniform(0, 180))
        img[spot] -= 60
        msk[spot] = 1
    return img.mean(2, keepdims=True).repeat(3, 2),msk

def crop_rows(rng, sz): # a field from above, rows along the rows of the image
    img,msk = canvas(rng, sz, colour_near(rng, (120,90,60))),np.zeros(sz, np.uint8)
    step = max(6, sz[0]//12)
    for y in range(int(rng.integers(step)), sz[0], step): msk[y:y+step//3] = 1
    msk[noise(rng, sz, 10, 1)[...,0]>1.2] = 0
    img[msk>0] = colour_near(rng, (60,130,50))
    return img,msk

def cloth(rng, sz):
    img,msk = brushed(rng, sz[::-1])
    return img.transpose(1,0,2)*np.float32([.9,.7,.6]),msk.T

KINDS = dict(h=[street, night_street, landscape, portrait, chest, shelf, underwater],
             all=[cells, stained, satellite, city_above, dish, retina, membrane, cracks, leaves_from_above, lesion],
             hv=[brushed, crop_rows, cloth])

# ── sets of them ──────────────────────────────────────────────────────────────────────────
def write_set(folder, draw, rng, n, suffix, one_size, turned=False):
    "Draw n images with masks"
    for k in range(n):
        sz = (144,192) if one_size else tuple(int(v) for v in rng.integers(110, 260, 2))
        img,msk = draw(rng, sz)
        if turned: # each of the eight ways is as frequent
            img,msk = [np.rot90(o[:,::-1] if k%2 else o, k//2) for o in (img,msk)]
        write_image(folder/'images'/f'{k:03d}{suffix}', np.ascontiguousarray(img.clip(0, 255).astype(np.uint8)))
        write_image(folder/'masks'/f'{k:03d}.png', np.ascontiguousarray(msk.astype(np.uint8)))

def decided(folder): # what the plan says about turning; why
    items = read_items(folder, quiet=True)
    plan = make_plan(items, max_steps=100, device='cpu')
    return plan.settings.flips,plan.why['flips']

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--quick', action='store_true', help='one seed, fewer sets of each kind')
    p.add_argument('--seeds', type=int, default=3)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--images', type=int, default=40, help='in each set')
    o = p.parse_args()
    start,wrong,n = time.process_time(),[],0
    ways = [(suffix, one) for suffix in ('.png','.jpg') for one in (True,False)]
    for seed in range(o.seed, o.seed+(1 if o.quick else o.seeds)):
        for right,kinds in KINDS.items():
            for i,draw in enumerate(kinds):
                rng = np.random.default_rng([seed, i, len(right)])
                some = [ways[(i+seed)%4], ways[(i+seed+3)%4]] if o.quick else ways
                for suffix,one_size,turned in [(*way, False) for way in some]+[(*ways[(i+1)%4], True)]:
                    with tempfile.TemporaryDirectory() as d:
                        write_set(Path(d), draw, rng, o.images, suffix, one_size, turned)
                        flips,why = decided(Path(d))
                    n += 1
                    what = f'{draw.__name__} {suffix} {"one size" if one_size else "many sizes"}{" turned" if turned else ""}'
                    if flips!=('all' if turned else right): wrong.append(f'{what}: {flips} ({why})')
                    print(f'{what:45} {flips:4} {why}', flush=True)
    for text in wrong: print('WRONG', text)
    print(f'{n-len(wrong)} of {n} sets are decided rightly, of {sum(map(len, KINDS.values()))} kinds ({time.process_time()-start:.0f} s)')
    sys.exit(bool(wrong))

if __name__=='__main__': main()
