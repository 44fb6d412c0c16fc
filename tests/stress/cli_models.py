# purpose: the commands understand each other's files, in many small trainings: COCO, void, overlapping classes, folds, tuning, resume
# minutes: 3, alone and with --quick
# ci: yes
"""The commands one after the other, as people use them: `python tests/stress/cli_models.py [PART ...]`

Train, resume, cross-validate, tune, score, calibrate, predict, export: what nbs/39_cli.ipynb leaves out because it takes many trainings."""
import argparse, json, os, shutil, tempfile, time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest import mock
from zlib import crc32
import numpy as np
from unet_nbdev.cli import unet_calibrate, unet_eval, unet_export, unet_predict, unet_train, unet_tune
from unet_nbdev.checkpoint import load_unet
from unet_nbdev.core import write_json
from unet_nbdev.images import open_image, write_image
from unet_nbdev.items import item2mask, read_items
from unet_nbdev.masks import open_raw_mask
from unet_nbdev.synth import synth_coco, synth_masks

def run(main, *args):
    "Call a command → exit code, output, errors"
    out,err = StringIO(),StringIO()
    with redirect_stdout(out), redirect_stderr(err): code = main([str(o) for o in args])
    return code,out.getvalue(),err.getvalue()

def same(a, b):
    "Like assert a==b, and say what they are"
    if a!=b: raise AssertionError(f'{a!r} is not {b!r}')

class Workshop:
    "A folder with data, and a model that most parts need"
    def __init__(self, folder):
        self.folder = Path(folder)
        self.models = self.folder/'models'
        synth_masks(self.folder/'set', n=8, sz=64)
        synth_coco(self.folder/'beach', n=8, sz=64)
        self.data = ['--images', self.folder/'set'/'images', '--masks', self.folder/'set'/'masks']
        self.few = ['--max_steps', 3, '--bs', 2, '--crop', 64, '--device', 'cpu']
        self.tiny = ['--encoder', 'test_efficientnet', '--weights', 'none']
        self.train('m', *self.data, '--valid', 'val_*', *self.tiny, *self.few)
        self.model = ['--model', self.models/'m.pth']

    def train(self, name, *args):
        "Train a model, which must succeed without a word on stderr"
        code,out,err = run(unet_train, *args, '--out', self.models/f'{name}.pth')
        same((code, err, (self.models/f'{name}.pth').exists()), (0, '', True))
        return out

    def settings(self, name): return json.loads((self.models/name/'settings.json').read_text())

    def scores(self, name, *args):
        "What unet_eval writes about a model"
        file = self.folder/'scores.json'
        code,out,err = run(unet_eval, '--model', self.models/f'{name}.pth', *args, '--json', file)
        same(code, 0)
        return dict(json.loads(file.read_text()), model=None)

def renamed(w):
    "An earlier model is renamed, with its run folder; --overwrite replaces it"
    def models(): return {o.name: crc32(o.read_bytes()) for o in w.models.glob('m*.pth')}
    first = models()
    args = [*w.data, '--valid', 'val_*', *w.tiny, *w.few, '--out', w.models/'m.pth']
    code,_,err = run(unet_train, *args, '--seed', 1)
    same((code, models()['m.1.pth'], models()['m.pth']==first['m.pth'], err.startswith('moved aside: ')), (0, first['m.pth'], False, True))
    assert (w.models/'m.1'/'log.csv').exists() and (w.models/'m'/'log.csv').exists()
    code,_,err = run(unet_train, *args, '--overwrite')
    same((code, err, sorted(models())), (0, '', ['m.1.pth', 'm.pth']))

def resumed(w):
    "A session ends, and the training resumes in another folder; a model that was never written is rescued"
    night = [*w.data, '--valid', 'val_*', *w.tiny, '--max_steps', 4, '--bs', 2, '--crop', 32, '--device', 'cpu',
             '--class_weights', '--oversample', 'both', '--session_hours', 1e-9]
    run(unet_train, *night, '--out', w.models/'old.pth')
    code,out,err = run(unet_train, '--resume', w.models/'old', '--out', w.models/'new.pth')
    same((code, err, (w.models/'new.pth').exists(), (w.models/'old.pth').exists()), (0, '', True, False))
    noted = [w.settings(k) for k in ('old','new')]
    same([(o['finished'], o['class_weights'], o['oversample']) for o in noted], [(False, True, 'both'), (True, True, 'both')])
    code,_,err = run(unet_train, '--resume', w.models/'old', '--out', w.models/'new.pth')
    assert code==2 and 'is not empty' in err, err
    (w.models/'new.pth').unlink() # killed at the very end, before the model was written
    code,said,err = run(unet_train, '--resume', w.models/'new')
    same((code, err, (w.models/'new.pth').exists(), said.startswith('this training was complete; wrote ')), (0, '', True, True))

def folds(w):
    "A cross-validation resumes fold by fold; its models are scored on what they have not seen, and predict together"
    cross = [*w.data, *w.tiny, '--folds', 2, '--max_steps', 4, '--crop', 32, '--bs', 2, '--device', 'cpu', '--out', w.models/'cv.pth']
    code,_,_ = run(unet_train, *cross, '--session_hours', 1e-9)
    same((code, (w.models/'cv_fold1').exists(), (w.models/'cv_fold1.pth').exists()), (0, True, False))
    code,out,err = run(unet_train, *cross)
    same((code, err, sorted(o.name for o in w.models.glob('cv*.pth'))), (0, '', ['cv_fold1.pth','cv_fold2.pth']))
    again = run(unet_train, *cross)[1] # everything is there: nothing is trained
    same((again.splitlines()[-2:], 'steps in' in again), (out.splitlines()[-2:], False))
    for more,words in ((['--max_steps', 8], 'was trained with max_steps 2, not 4'), (['--aug', 'none'], 'was trained with aug light, not none')):
        code,_,err = run(unet_train, *cross, *more)
        assert code==2 and words in err and 'overwrite' in err, err
    models = [w.models/f'cv_fold{k}.pth' for k in (1,2)]
    same([load_unet(o).info['settings']['fold'] for o in models], [[0,2], [1,2]])
    data = [*w.data, '--device', 'cpu']
    code,out,_ = run(unet_eval, '--model', models[0], *data)
    same((code, '4 of 8 images' in out), (0, True)) # those that it was not trained on
    code,_,err = run(unet_eval, '--model', *models, *data)
    assert code==2 and 'each of these models was trained on images that the others held out' in err, err
    code,out,_ = run(unet_eval, '--model', *models, '--tta', *data, '--all_images')
    same((code, '8 of 8 images' in out), (0, True))
    code,_,_ = run(unet_predict, '--model', *models, '--tta', '--input', w.folder/'set'/'images', '--output', w.folder/'both', '--device', 'cpu')
    same((code, len(list((w.folder/'both').glob('*.png')))), (0, 8))

def from_file(w):
    "Settings from a file, of which the command line overrides one"
    file = w.folder/'few.json'
    file.write_text(json.dumps(dict(max_steps=2, lr=1e-3, bs=2, crop=32, encoder='classic', sched='flat_cos')))
    w.train('few', *w.data, '--valid', 'val_*', '--device', 'cpu', '--settings', file, '--max_steps', 1)
    noted = w.settings('few')
    same((noted['steps'], noted['lr'], noted['sched']), (1, .001, 'flat_cos'))

def tuned(w):
    "A search, one more trial, and a training with the best settings"
    folder = w.models/'tune'
    search = [*w.data, '--valid', 'val_*', '--encoder', 'classic', '--crop', 32, '--device', 'cpu', '--search', 'lr,bs', '--max_steps', 2, '--out', folder]
    space = w.folder/'space.json'
    space.write_text(json.dumps(dict(bs=[1,2])))
    code,out,err = run(unet_tune, *search, '--space', space, '--trials', 2)
    same((code, err, out.count('trial ')), (0, '', 2))
    code,out,err = run(unet_tune, *search, '--space', space, '--trials', 3)
    same((code, [o[:9] for o in out.splitlines()[:2]]), (0, ['trial   2', '3 of 3 tr']))
    best = json.loads((folder/'best.json').read_text())
    plan = run(unet_train, '--settings', folder/'best.json', *w.data, '--valid', 'val_*', '--plan_only')[1]
    assert any(o.split()[:2]==['crop','32'] for o in plan.splitlines()), plan
    for args,words in ((['--search', 'lr,mood'], "unknown setting 'mood'"), (['--search', 'bs', '--trials', 3], 'another space than in this search'),
                       (['--space', w.folder/'nowhere.json'], 'cannot be read')):
        code,_,err = run(unet_tune, *search, *args)
        assert code==2 and words in err and err.count('\n')==1, err
    same(best['encoder'], 'classic')

def void(w):
    "A border that is void is not scored, whether the option or the model says so"
    for f in (w.folder/'set'/'masks').iterdir():
        write_image(w.folder/'border'/f.name, np.pad(open_image(f)[4:-4,4:-4], 4, constant_values=7))
    border = ['--images', w.folder/'set'/'images', '--masks', w.folder/'border']
    w.train('v', *border, *w.few, '--valid', 'val_*', '--void', 7)
    def pixels(name, *args): return sum(o['pixels'] for o in w.scores(name, *args)['classes'])
    same([pixels('m', *w.data), pixels('m', *border, '--void', 7), pixels('v', *border), pixels('v', *border, '--void', 7)], [2*64*64, *[2*56*56]*3])

def coco(w):
    "Classes are known by name, not by id; a fraction that was held out is held out again"
    swapped = json.loads((w.folder/'beach'/'annotations'/'instances_val.json').read_text())
    for o in swapped['categories']: o['id'] += 100
    for o in swapped['annotations']: o['category_id'] += 100
    write_json(w.folder/'swapped'/'annotations'/'instances_val.json', swapped)
    shutil.copytree(w.folder/'beach'/'val', w.folder/'swapped'/'val')
    w.train('b', '--coco', w.folder/'beach', *w.few)
    same(*[w.scores('b', '--coco', w.folder/o) for o in ('beach','swapped')])
    w.train('c', *w.data, *w.few) # no split is given: a fifth is held out
    out = run(unet_eval, '--model', w.models/'c.pth', *w.data)[1]
    assert out.splitlines()[0].endswith('(2 of 8 images)'), out

def objects(w):
    "COCO objects are scored and tuned one by one; classes that overlap have a mask file each"
    tiny = [*w.tiny, '--max_steps', 2, '--crop', 32, '--bs', 2, '--device', 'cpu']
    sea = ['--coco', w.folder/'beach']
    w.train('sea', *sea, *tiny)
    code,out,err = run(unet_calibrate, '--model', w.models/'sea.pth', *sea, '--all_images', '--tune')
    same((code, err[:45]), (0, 'the model was trained on 6 of these 8 images '))
    assert 'honest gain' in out and ', in objects ' in out, out
    w.train('over', *sea, '--multilabel', *tiny)
    assert load_unet(w.models/'over.pth').codes.multilabel
    code,out,_ = run(unet_eval, '--model', w.models/'over.pth', *sea, '--html', w.folder/'over.html', '--objects')
    same((code, [o.split()[0] for o in out.splitlines()[2:5]]), (0, ['pebble','shell','starfish']))
    code,_,_ = run(unet_predict, '--model', w.models/'over.pth', '--input', w.folder/'beach'/'val', '--output', w.folder/'layers', '--mask', '--json')
    same((code, len(list((w.folder/'layers').glob('*_mask_starfish.png')))), (0, 2))

def predicted(w):
    "A folder, interrupted in the middle of a line, gives the same files; so do two processes; annotations and run lengths can be read again"
    def contents(name): return {o.name:o.read_bytes() for o in (w.folder/name).iterdir() if not o.name.startswith('.')}
    def go(out, *more): return run(unet_predict, '--input', w.folder/'set'/'images', *w.model, '--output', w.folder/out, '--mask', '--json', *more)
    go('whole')
    go('cut')
    journal = w.folder/'cut'/'.unet_predict.0.jsonl'
    lines = journal.read_text().splitlines(True)
    journal.write_text(''.join(lines[:4])+lines[4][:20]) # three images, and a part of the fourth
    (w.folder/'cut'/'val_0007.png').unlink()
    code,out,err = go('cut')
    same((code, err, contents('cut')==contents('whole')), (0, '', True))
    for rank in '01':
        with mock.patch.dict(os.environ, RANK=rank, WORLD_SIZE='2'): go('shared')
    assert contents('shared')==contents('whole')
    assert '(8 existed already)' in go('cut')[1]
    for more in (['--no_clean'], ['--overwrite']): assert 'existed already' not in go('cut', *more)[1]
    go('found', '--annotations', 'coco', '--kaggle', 'objects')
    images = w.folder/'set'/'images'
    for items in (read_items(coco=w.folder/'found'/'annotations.json', images=images), read_items(w.folder/'found'/'kaggle.csv', images=images)):
        same(len(items), 8)
        for o in items: assert (item2mask(o, items.codes)==open_raw_mask(w.folder/'found'/f'{o.img.stem}_mask.png')[0]).all()

def exported(w):
    "An exported model predicts the same masks of a folder"
    same(run(unet_export, '--model', w.models/'m.pth', '--out', w.folder/'m.onnx')[0], 0)
    def predict(out, *args): same(run(unet_predict, '--input', w.folder/'set'/'images', '--output', w.folder/out, '--mask', *args)[0], 0)
    predict('with', *w.model, '--precision', 'fp32')
    predict('without', '--model', w.folder/'m.onnx')
    masks = list((w.folder/'with').glob('*_mask.png'))
    same(len(masks), 8)
    for f in masks: assert (open_image(f)==open_image(w.folder/'without'/f.name)).mean() > .999

PARTS = dict(predicted=predicted, exported=exported, void=void, coco=coco, objects=objects, renamed=renamed, resumed=resumed, folds=folds,
             from_file=from_file, tuned=tuned)

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('parts', nargs='*', metavar='PART', help=f'some of {", ".join(PARTS)} (default: all)')
    parser.add_argument('--quick', action='store_true', help='accepted and ignored: this is quick')
    args = parser.parse_args()
    unknown = [o for o in args.parts if o not in PARTS]
    if unknown: parser.error(f'unknown part {unknown[0]!r}; choose from {", ".join(PARTS)}')
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(folder)
        for name in args.parts or PARTS:
            start = time.time()
            PARTS[name](workshop)
            print(f'ok  {name} ({time.time()-start:.0f} s)', flush=True)
    print(f'{len(args.parts or PARTS)} parts hold')

if __name__=='__main__': main()
