# purpose: the benchmark's own logic: rows, medians, verdicts, resuming, missing and failing peers; pictures
# minutes: 1
# ci: yes
"""Needs no peer: our contenders run in the smallest size, and made-up figures and toy contenders stand for the rest.

`python benchmarks/test_bench.py`"""
import sys, tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import numpy as np
from fastcore.test import test_eq, test_fail
from benchmarks.bench import bench, main
from benchmarks.comparisons import GROWTH, PARTS, ROWS, SCALES, Row
from benchmarks.growth import exponent, grow_objects
from benchmarks.measure import limits, peak_memory
from benchmarks.registry import find_contender
from benchmarks.results import Bench
from benchmarks.scoring import clean_ours, dotted_mask

TINY = SimpleNamespace(scale='tiny', **SCALES['tiny'])

def test_registry():
    test_eq((len(ROWS), PARTS), (15, ['data','step','predict','start','post','metrics','growth']))
    for row in ROWS:
        for name in row.names(): find_contender(name)
    for name in GROWTH.values(): find_contender(name)
    test_fail(lambda: find_contender('data_theirs'), contains="unknown contender 'data_theirs'. Choose one of")
    test_fail(lambda: find_contender('nowhere.py:fast'), contains="nowhere.py: no contender 'fast' (FileNotFoundError)")

def test_measure():
    found = limits(TINY)
    test_eq(list(found), ['fp32','bf16','copy'])
    assert peak_memory()>.05 and all(v>0 for v in found.values()), found

def test_cleaning():
    msk = dotted_mask(256, 20)
    out,objects = clean_ours(msk)
    test_eq(len(objects), 20) # discs, without specks
    assert 0<(msk!=out).mean()<.02

def test_growth():
    test_eq(exponent([(n, 3*n**2) for n in (1,2,4,8)]), 2)
    test_eq(round(exponent([(n, 1+.001*n) for n in (1,2,4,8)]), 1), 0)
    small = SimpleNamespace(**{**vars(TINY), 'mask':128})
    test_eq([n for n,_ in grow_objects(small)['points']], [2,4,10,20])

def made_up(name, *rates, **kwargs): return [dict(name=name, round=k, rate=v, gb=1., **kwargs) for k,v in enumerate(rates)]

def test_verdicts():
    "Medians, not means and not the best: one disturbed round of three changes nothing"
    runs = made_up('post_ours', 20., 21., 2.)+made_up('post_skimage', 2., 2., 40.)
    first = Bench(runs, [r for r in ROWS if r.part=='post'], 'full').rows()[0]
    test_eq((first['ratio'], first['verdict']), (10., 'met'))
    large = [r for r in ROWS if r.ours=='large_ours']
    runs = made_up('large_ours', 9.)+made_up('large_monai', 3.) # fast enough, but takes as much memory
    test_eq([Bench(runs, large, scale).rows()[0]['verdict'] for scale in ('full','quick')], ['missed','met'])

def test_pictures():
    rates = dict(data_ours=900., data_plain=140., data_fastai=60., post_ours=9., post_skimage=1.2, metrics_ours=400., metrics_torch=500.)
    runs = [r for name,v in rates.items() for r in made_up(name, v, first=v/2, later=v)]
    for name,power in zip(GROWTH.values(), (1.,1.05,0,1.2)):
        runs.append(dict(name=name, round=0, points=[(x, .2+x**power) for x in (1,4,16,64)]))
    made = Bench(runs, [r for r in ROWS if r.part in ('data','post','metrics')], 'tiny')
    test_eq([g['exponent']<1.25 for g in made.growth().values()], [True]*4)
    test_eq(sum('ratio' in r for r in made.rows()), 6)
    with tempfile.TemporaryDirectory() as d:
        made.save(d)
        test_eq(sorted(f.name for f in Path(d).iterdir()), ['growth.png','ratios.png','table.txt'])

TOY = '''
def fast(job): return dict(rate=6., work=('copy', 1e-9))
def slow(job): return dict(rate=3.)
def elsewhere(job): import no_such_package
def broken(job): raise ValueError('nothing to count')
'''

def test_runs(tmp):
    "A peer that is twice as slow, one that needs what is not installed, one that breaks; then the same again"
    (tmp/'toy.py').write_text(TOY)
    toy = f'{tmp}/toy.py:'
    rows = [Row('toy', 'count', toy+'fast', toy+peer, goal) for peer,goal in (('slow', 1.5), ('slow', 3), ('elsewhere', 1), ('broken', 1))]
    said = []
    found = bench('toy', rounds=2, rows=rows, scale='tiny', out=tmp/'out', tell=said.append)
    test_eq([r['verdict'] for r in found.rows()], ['met','missed','not run','not run'])
    test_eq(found.rows()[0]['ratio'], 2.)
    assert 'no_such_package is not installed' in found.table(), found
    assert 'failed (ValueError: nothing to count)' in found.table(), found
    test_eq(len(said), 1+2*4) # the machine, and both rounds of four contenders
    assert said[1].startswith('2/9') and 'rate 6' in said[1], said
    again = []
    bench('toy', rounds=3, rows=rows[:2], scale='tiny', json=tmp/'out'/'bench.json', tell=again.append)
    test_eq(len(again), 2) # fast and slow, once each; the first two rounds are in the file
    test_eq(sorted(f.name for f in (tmp/'out').iterdir()), ['bench.json','ratios.png','table.txt'])

def test_refusals(tmp):
    test_fail(lambda: bench('data,speed'), contains="unknown part 'speed'. Choose from data, step, predict, start, post, metrics, growth")
    test_fail(lambda: bench('post', coco=tmp/'nowhere'), contains='nowhere: no such file or folder')
    test_fail(lambda: bench(rows=[Row('toy', 'count', 'fast', 'slow', 1)]), contains="unknown contender 'fast'")
    (tmp/'list.json').write_text('[]')
    test_fail(lambda: bench('post', json=tmp/'list.json'), contains='list.json: holds no runs of a benchmark')
    test_eq(main(['--parts', 'speed', '--out', str(tmp/'none')]), 2)
    assert not (tmp/'none').exists()

def test_our_side(tmp):
    "Our contenders that need no torch, in the smallest size, by the command"
    with redirect_stdout(StringIO()) as text: rc = main(['--parts', 'post', '--quick', '--out', str(tmp/'cmd')])
    test_eq(rc, 0)
    assert 'clean, count and outline 2,000 objects' in text.getvalue()
    one = bench('post', scale='tiny')
    test_eq(one.of('post_ours')[0]['objects'], 20)
    assert one.rows()[0]['ours']['rate']>0 and one.rows()[0]['ours']['gb']>.02
    test_eq(list(one.to_json()), ['scale','rows','growth','runs'])

if __name__=='__main__':
    with tempfile.TemporaryDirectory() as d:
        for test in (test_registry, test_measure, test_cleaning, test_growth, test_verdicts, test_pictures): test()
        for test in (test_runs, test_refusals, test_our_side): test(Path(d))
    print(f'{len(ROWS)} rows and {len(GROWTH)} sweeps are registered; the benchmark counts, compares, resumes and refuses as it should')
