"""Ours and others at the same work: `python benchmarks/bench.py --quick --out bench`, or `unet_bench` in a clone

Each run is a new process, so that nobody inherits a warm cache or another's memory. Contenders take turns, in another order each round.
Runs are noted in OUT/bench.json, and one that is there is not run again: stop it at any time. README.md explains the method and the goals."""
import argparse, sys, tempfile
from pathlib import Path
from types import SimpleNamespace
sys.path.insert(0, str(Path(__file__).resolve().parent.parent)) # the clone: its package is measured
from unet_nbdev.core import DataError
from benchmarks.comparisons import GROWTH, PARTS, ROWS, SCALES, Row
from benchmarks.inputs import train_json
from benchmarks.registry import find_contender
from benchmarks.results import Bench
from benchmarks.runs import Runs, Session, schedule

def choose_parts(parts, rows):
    "Rows and sweeps of the parts that are asked for"
    known = [*dict.fromkeys([*(row.part for row in rows), *PARTS])]
    if isinstance(parts, str): parts = [name.strip() for name in parts.split(',')]
    parts = parts or known
    for name in parts:
        if name not in known: raise DataError(f'unknown part {name!r}', f'Choose from {", ".join(known)}')
    return [row for row in rows if row.part in parts],list(GROWTH.values()) if 'growth' in parts else []

def bench(
    parts:str|list|None=None, # names from PARTS, a list or one string with commas; default: all
    rounds:int|None=None,     # runs per contender; default: 3, or 1 with quick
    quick:bool=False,         # small sizes: five minutes on two cores
    coco:str|None=None,       # COCO set for the rows that read one, a folder or json; default: a synthetic one
    out:str|None=None,        # folder for bench.json, table.txt, ratios.png and growth.png; default: nothing is written
    json:str|None=None,       # file of the runs; default: bench.json in out
    threads:int|None=None,    # threads per contender; default: as each library chooses
    tell=None,                # called with one line per run
    rows:list|None=None,      # Row objects; default: ROWS
    scale:str|None=None,      # full, quick or tiny, instead of quick
)->Bench:
    "Run ours and the installed peers in turn"
    scale = scale or ('quick' if quick else 'full')
    rounds = rounds or (3 if scale=='full' else 1)
    rows,sweeps = choose_parts(parts, ROWS if rows is None else rows)
    for row in rows:
        for name in row.names(): find_contender(name)
    file = Path(json) if json else Path(out)/'bench.json' if out else None
    coco = str(Path(coco).absolute()) if coco else None
    if coco: train_json(SimpleNamespace(coco=coco)) # reports a wrong path now and not in an hour
    runs = Runs(file, dict(scale=scale, coco=coco and Path(coco).name, threads=threads))
    with tempfile.TemporaryDirectory() as work:
        session = Session(runs, work, dict(SCALES[scale], scale=scale, coco=coco, threads=threads), tell)
        session.go(schedule(rows, sweeps, rounds))
        session.note_agreement(rows)
    found = Bench(runs.all, rows, scale)
    if out: found.save(out)
    return found

def positive(text):
    number = int(text)
    if number<1: raise argparse.ArgumentTypeError(f'{number} is not a positive number')
    return number

def parse(argv):
    p = argparse.ArgumentParser(prog='bench.py', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--parts', help=f'some of {", ".join(PARTS)}, separated by commas (default: all)')
    p.add_argument('--rounds', type=positive, help='runs per contender (default: 3, or 1 with --quick)')
    p.add_argument('--quick', action='store_true', help='small sizes: five minutes on two cores')
    p.add_argument('--coco', help='COCO set for the rows that read one (default: a synthetic one)')
    p.add_argument('--out', default='bench', help='folder for the table and the pictures (default: bench)')
    p.add_argument('--json', help='file of the runs, from which a benchmark resumes (default: bench.json in --out)')
    p.add_argument('--threads', type=positive, help='threads per contender (default: as each library chooses)')
    return p.parse_args(argv)

def main(argv=None)->int:
    "Run the benchmark and print its table → 1 if a run failed, 2 for a wrong setting"
    def tell(line): print(line, file=sys.stderr, flush=True)
    try: found = bench(**vars(parse(argv)), tell=tell)
    except DataError as e:
        tell(e)
        return 2
    print(f'{found.table()}\n\nwritten to {Path(parse(argv).out)}')
    return int(any('failed' in run for run in found.runs))

if __name__=='__main__': sys.exit(main())
