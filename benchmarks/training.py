"""Contenders: one training step

Ours is `fit_unet` as it is, with its guards, log and moving averages where they are on, from the batch to the end of the step. SMP's is the
loop of its examples on a batch that is ready: as it is (float32), and with the two settings that help most on a CPU. Both are U-Nets on
ResNet-34, each with the decoder of its library. A step counts as three forward passes."""
import statistics, time
from benchmarks.inputs import coco_items
from benchmarks.measure import cpu_precision, gflop, median_seconds
from benchmarks.registry import contender

def step_clock():
    "A fastai callback with the seconds of each step in `secs`"
    from fastai.callback.core import Callback
    class StepClock(Callback):
        order = -100
        def __init__(self): self.secs = []
        def before_batch(self): self.start = time.perf_counter()
        def after_step(self): self.secs.append(time.perf_counter()-self.start)
    return StepClock()

@contender('unet_nbdev', 'coco')
def step_ours(job):
    import torch
    from unet_nbdev.data import seg_dls
    from unet_nbdev.prep import Prep
    from unet_nbdev.training import seg_learner
    dls = seg_dls(coco_items(job)[:10], Prep('letterbox', 256), valid=.2, bs=4, crop=256, device='cpu')
    clock = step_clock()
    learn = seg_learner(dls, 'resnet34', weights=None, cbs=[clock])
    work = learn.precision,3*gflop(learn.model, torch.randn(1, 3, 256, 256))
    with learn.no_bar(), learn.no_logging(): learn.fit_unet(max_steps=job.steps+2, live=False, pictures=False)
    secs = clock.secs[min(2, job.steps-1):]
    return dict(rate=4/statistics.median(secs), work=work)

def smp_step(job, fast):
    "Rate of SMP's U-Net; `fast`: channels_last, and bfloat16 where the processor has it"
    import torch, segmentation_models_pytorch as smp
    model = smp.Unet('resnet34', encoder_weights=None, classes=4).train()
    dice = smp.losses.DiceLoss('multiclass')
    ce = torch.nn.CrossEntropyLoss()
    step_gflop = 3*gflop(model, torch.randn(4, 3, 256, 256))/4
    opt = torch.optim.AdamW(model.parameters(), 1e-3)
    xb = torch.randn(4, 3, 256, 256)
    yb = torch.randint(0, 4, (4,256,256))
    if fast:
        model = model.to(memory_format=torch.channels_last)
        xb = xb.to(memory_format=torch.channels_last)
    bf16 = fast and cpu_precision()=='bf16'
    def step():
        opt.zero_grad()
        with torch.autocast('cpu', torch.bfloat16, enabled=bf16):
            preds = model(xb)
            loss = dice(preds, yb)+ce(preds, yb)
        loss.backward()
        opt.step()
        loss.item()
    return dict(rate=4/median_seconds(step, job.steps, 2), work=('bf16' if bf16 else 'fp32', step_gflop))

@contender('SMP')
def step_smp(job): return smp_step(job, False)

@contender('SMP, channels_last, bf16 where it pays')
def step_smp_fast(job): return smp_step(job, True)
