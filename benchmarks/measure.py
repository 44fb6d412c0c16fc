"Seconds, memory, and how fast this machine can multiply and copy"
import statistics, sys, time
from pathlib import Path
from benchmarks.registry import contender

def median_seconds(call, repeats=3, warmup=1)->float:
    "Time `repeats` calls after `warmup` calls that do not count"
    secs = []
    for _ in range(warmup+repeats):
        t = time.perf_counter()
        call()
        secs.append(time.perf_counter()-t)
    return statistics.median(secs[warmup:])

def peak_memory()->float:
    "Largest memory of this process so far, in GB"
    # not getrusage on Linux: a process inherits that peak from the one that started it
    try: return int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])/2**20
    except (OSError, IndexError): return max_rss('RUSAGE_SELF')

def max_rss(
    who:str, # RUSAGE_SELF or RUSAGE_CHILDREN
)->float:
    "Largest memory in GB that the system reports; NaN where it reports none"
    try: import resource
    except ImportError: return float('nan')
    rss = resource.getrusage(getattr(resource, who)).ru_maxrss
    return rss/(2**30 if sys.platform=='darwin' else 2**20)

def cpu_precision()->str:
    "Precision that unet_nbdev chooses on this CPU: fp32 or bf16"
    import torch
    from unet_nbdev.device import pick_precision
    return pick_precision(torch.device('cpu'), 'auto')

def gflop(model, x)->float:
    "Billions of operations of one forward pass, counted by torch"
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    with torch.no_grad(), FlopCounterMode(display=False) as counter: model(x)
    return counter.get_total_flops()/1e9

@contender('this machine')
def limits(job):
    "GFLOP/s of matrix products, GB/s of copying"
    import torch
    n = 64 if job.scale=='tiny' else 1024
    def product(dtype, n):
        a = torch.randn(n, n).to(dtype)
        b = torch.randn(n, n).to(dtype)
        return 2*n**3/1e9/median_seconds(lambda: a@b, 4*job.reps)
    src = torch.zeros(job.copy, dtype=torch.uint8)
    dst = torch.empty_like(src)
    bf16_n = n if cpu_precision()=='bf16' else 64 # without bfloat16 instructions a large product takes hundreds of times as long
    return dict(fp32=product(torch.float32, n), bf16=product(torch.bfloat16, bf16_n),
                copy=job.copy/1e9/median_seconds(lambda: dst.copy_(src), 2*job.reps))
