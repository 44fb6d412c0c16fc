"""Contenders: a folder of photos, a large image, one photo from a cold start

For a folder, both sides start at JPEG files and end at masks in PNG files; for the large image, at an array in memory and at the label map.
MONAI gets the same windows of 512, a quarter of overlap and Gaussian weights. Normalisation, network and weights are the same, so the masks
must be. A cold start holds everything that somebody waits for who predicts one photo: interpreter, imports, model file, picture, mask
written; networks see it at 256² on both sides. (fastai cannot export what plum 2.10 has touched: the extra [bench] asks for an older one.)"""
import subprocess, sys, time
import numpy as np
from unet_nbdev.images import image_files, write_image
from benchmarks.inputs import beach_checkpoint, load_r34
from benchmarks.measure import cpu_precision, gflop, max_rss, median_seconds, peak_memory
from benchmarks.registry import contender

# ── a folder ─────────────────────────────────────────────────────────────────────────────────────
def folder_rate(job, predict):
    "Photos per second; `predict` yields (file, mask) for each of the files it is given"
    files = image_files(job.work/'photos')
    list(predict(files[:2])) # warm-up
    start = time.perf_counter()
    for f,msk in predict(files): write_image(job.out/f'{f.stem}.png', msk)
    return len(files)/(time.perf_counter()-start)

def segmenter_rate(job, ckpt):
    "Rate of our `Segmenter` with a checkpoint"
    import torch
    from unet_nbdev.inference import Segmenter
    photo_gflop = gflop(ckpt.model, torch.randn(1, 3, 480, 640))
    seg = Segmenter(ckpt, 'cpu')
    def predict(files): return ((f, pred.mask) for f,_,pred in seg.stream(files))
    return dict(rate=folder_rate(job, predict), work=(cpu_precision(), photo_gflop))

def lite0_checkpoint(job):
    "Our default network, at the scale of its input"
    from unet_nbdev.checkpoint import load_unet
    return beach_checkpoint(load_unet(job.work/'lite0.pth').model)

@contender('unet_nbdev', 'photos r34')
def folder_ours(job): return segmenter_rate(job, beach_checkpoint(load_r34(job)))

@contender('unet_nbdev, default network', 'photos lite0')
def folder_default(job): return segmenter_rate(job, lite0_checkpoint(job))

def to_tensor(img): # (H,W,3) uint8 → (1,3,H,W) float32, normalised as `Prep` does
    import torch
    return torch.from_numpy(img).permute(2,0,1)[None].float().div(255).sub(.5).div(.5)

@contender('SMP, plain loop', 'photos r34')
def folder_smp(job):
    import torch, segmentation_models_pytorch # a peer that is not installed is named
    from PIL import Image
    model = load_r34(job)
    def predict(files):
        for f in files:
            xb = to_tensor(np.array(Image.open(f).convert('RGB')))
            with torch.inference_mode(): msk = model(xb).argmax(1)[0].byte().numpy()
            yield f,msk
    return dict(rate=folder_rate(job, predict), work=('fp32', gflop(model, torch.randn(1, 3, 480, 640))))

# ── a large image ────────────────────────────────────────────────────────────────────────────────
def window(job): return min(512, job.side//4)

def large_rate(job, predict, precision, model):
    "Large images per second, with peak memory; `predict` turns the image into a label map"
    import torch
    img = np.load(job.work/'large.npy')
    n = min(512, job.side)
    predict(img[:n,:n]) # warm-up
    start = time.perf_counter()
    msk = predict(img)
    rate = 1/(time.perf_counter()-start)
    windows = job.side**2/256**2/.75**2 # in units of 256², with a quarter of overlap
    result = dict(rate=rate, gb=peak_memory(), work=(precision, gflop(model, torch.randn(1, 3, 256, 256))*windows))
    write_image(job.out/'large.png', msk)
    return result

@contender('unet_nbdev', 'large r34')
def large_ours(job):
    from unet_nbdev.inference import Segmenter
    model = load_r34(job)
    seg = Segmenter(beach_checkpoint(model), 'cpu', win=window(job), overlap=.25, max_values=0)
    return large_rate(job, lambda img: seg(img).mask, cpu_precision(), model)

@contender('MONAI sliding_window_inference', 'large r34')
def large_monai(job):
    import torch
    from monai.inferers import sliding_window_inference
    model = load_r34(job)
    n = window(job)
    def predict(img):
        with torch.inference_mode():
            probs = sliding_window_inference(to_tensor(img), (n,n), 4, model, overlap=.25, mode='gaussian')
        return probs.argmax(1)[0].byte().numpy()
    return large_rate(job, predict, 'fp32', model)

# ── one photo from a cold start ──────────────────────────────────────────────────────────────────
OURS = '''from unet_nbdev.images import write_image
from unet_nbdev.inference import Segmenter
write_image(r'{out}/cold.png', Segmenter(r'{work}/{model}', 'cpu')(r'{photo}').mask)'''

FASTAI = '''from fastai.vision.all import load_learner
from PIL import Image
import numpy as np
learn = load_learner(r'{work}/fastai.pkl')
with learn.no_bar(): msk = learn.predict(r'{photo}')[0]
Image.fromarray(np.asarray(msk).astype('uint8')).save(r'{out}/cold.png')'''

def cold_rate(job, code, model=''):
    "Processes per second that run `code`, with the memory of the largest"
    code = code.format(out=job.out, work=job.work, photo=job.work/'photos'/'0000.jpg', model=model)
    def start(): subprocess.run([sys.executable, '-c', code], check=True, capture_output=True)
    secs = median_seconds(start, min(job.reps, 3))
    return dict(rate=1/secs, gb=max_rss('RUSAGE_CHILDREN'))

@contender('unet_nbdev, EfficientNet-Lite0', 'photos lite0')
def cold_timm(job): return cold_rate(job, OURS, 'lite0.pth')

@contender('unet_nbdev, classic', 'photos classic')
def cold_classic(job): return cold_rate(job, OURS, 'classic.pth')

@contender('fastai load_learner', 'photos coco pairs export')
def cold_fastai(job): return cold_rate(job, FASTAI)
