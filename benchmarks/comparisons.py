"What is compared: the rows with their goals, and the sizes of the work"
from dataclasses import dataclass

@dataclass
class Row:
    "A comparison of two contenders: the work, the goal, and what must be equal"
    part:str             # part of the benchmark it belongs to
    what:str             # the work
    ours:str             # our contender: a registered name, or file.py:function
    peer:str             # the contender it is compared with
    goal:float           # our rate divided by the peer's
    measure:str='rate'   # which of the rates that the contenders return
    unit:str='images'    # what is counted per second; empty: the table shows seconds
    mem:float|None=None  # largest share of the peer's peak memory, required at full size
    most:float|None=None # largest peak memory in GB, required at full size
    alike:bool=True      # both sides must leave the same files

    def names(self): return self.ours,self.peer

_BATCHES = 'COCO → augmented batches at 256'
_STEP = 'training step, ResNet-34 U-Nets, 4 of 256²'
_R34 = 'the same ResNet-34 U-Net'

ROWS = [
    Row('data', f'{_BATCHES}, after the first epoch', 'data_ours', 'data_plain', 5, 'later'),
    Row('data', f'{_BATCHES}, after the first epoch', 'data_ours', 'data_fastai', 10, 'later'),
    Row('data', f'{_BATCHES}, first epoch', 'data_ours', 'data_plain', 2, 'first'),
    Row('data', f'{_BATCHES}, first epoch', 'data_ours', 'data_fastai', 4, 'first'),
    Row('data', 'first batch of a large COCO', 'first_ours', 'first_fastai', 3, unit='', mem=.5),
    Row('step', _STEP, 'step_ours', 'step_smp', 3.2),
    Row('step', _STEP, 'step_ours', 'step_smp_fast', 1.),
    Row('predict', f'folder of 640×480 photos, {_R34}', 'folder_ours', 'folder_smp', 2.3),
    Row('predict', 'folder of 640×480 photos, our default network', 'folder_default', 'folder_smp', 4., alike=False),
    Row('predict', f'large image by windows, {_R34}', 'large_ours', 'large_monai', 2.3, unit='', mem=.25, most=2.),
    Row('start', 'one photo from a cold start, timm encoder', 'cold_timm', 'cold_fastai', 1.4, unit='', alike=False),
    Row('start', 'one photo from a cold start, classic U-Net', 'cold_classic', 'cold_fastai', 2., unit='', alike=False),
    Row('post', 'clean, count and outline 2,000 objects', 'post_ours', 'post_skimage', 10, unit=''),
    Row('post', 'clean, count and outline 2,000 objects', 'post_ours', 'post_cropped', 1, unit=''),
    Row('metrics', 'every score of masks of 512², 81 classes', 'metrics_ours', 'metrics_torch', 3),
]

# what makes cost grow → the contender that measures it
GROWTH = dict(images='grow_images', pixels='grow_pixels', classes='grow_classes', objects='grow_objects')

PARTS = [*dict.fromkeys(row.part for row in ROWS), 'growth']

_SIZES = dict(                    # full, quick, tiny
    n=(600, 160, 10),             # images of the COCO set
    sz=(480, 480, 96),            # their side
    look=(20, 2, .01),            # seconds of epochs after the first
    steps=(20, 4, 1),             # training steps
    train=(80, 40, 1),            # steps in which networks learn the beach
    photos=(200, 12, 2),
    side=(8192, 2048, 256),       # of the large image
    mask=(2048, 2048, 256),       # side of the mask with objects
    objects=(2000, 2000, 20),
    n_masks=(1000, 40, 4),        # masks to score
    big=(118_000, 4_000, 40),     # images of the large COCO
    reps=(5, 3, 1),               # repeats of short work
    copy=(2**28, 2**27, 2**20),   # bytes to copy
    limit=(3600, 240, 120),       # seconds that a run may take
)
SCALES = {scale: {name: sizes[k] for name,sizes in _SIZES.items()}
          for k,scale in enumerate(('full','quick','tiny'))}
