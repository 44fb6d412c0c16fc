"What a benchmark found: medians, ratios, verdicts, the table and two pictures"
import os, statistics
from dataclasses import asdict
from pathlib import Path
import numpy as np
from unet_nbdev.core import palette, write_text
from benchmarks.comparisons import GROWTH
from benchmarks.growth import exponent
from benchmarks.registry import CONTENDERS

# what a run returns → its name and its unit; whatever else a contender returns is a rate per second
UNITS = dict(gb=('memory','GB'), fp32=('fp32','GFLOP/s'), bf16=('bf16','GFLOP/s'), copy=('copying','GB/s'))

def run_summary(run)->str:
    "A run in a few words"
    if 'failed' in run: return f'failed ({run["failed"]})'
    if 'missing' in run: return f'{run["missing"]} is not installed'
    def shown(k, v):
        name,unit = UNITS.get(k, (k,'per second'))
        return f'{name} {v:.3g} {unit}'
    rates = [shown(k, v) for k,v in run.items() if isinstance(v, float) and k!='load']
    return ', '.join(rates) or f'{len(run.get("points", []))} sizes'

class Bench:
    "All runs of a benchmark; rows, table and pictures are computed from them"
    def __init__(self,
        runs:list,     # dicts, as the contenders returned them
        compared:list, # the Row objects
        scale:str,     # full, quick or tiny
    ):
        self.runs = runs
        self.compared = compared
        self.scale = scale

    def __repr__(self): return self.table()

    def of(self, name:str)->list:
        "Runs of a contender"
        return [r for r in self.runs if r['name']==name]

    def side(self, name, measure)->dict:
        "Medians of a contender, or why there are none"
        runs = self.of(name)
        good = [r for r in runs if measure in r]
        if not good: return dict(why=run_summary(runs[-1]) if runs else 'not run')
        rates = [r[measure] for r in good]
        gbs = [r['gb'] for r in good if r.get('gb')]
        found = dict(rate=statistics.median(rates), least=min(rates), most=max(rates), gb=statistics.median(gbs) if gbs else None)
        machine = next((r for r in self.of('limits') if 'copy' in r), {})
        if 'work' in good[0]:
            kind,amount = good[0]['work']
            if kind in machine: found['share'] = found['rate']*amount/machine[kind]
        return found

    def row(self, r)->dict:
        "A comparison with what was found"
        ours = self.side(r.ours, r.measure)
        peer = self.side(r.peer, r.measure)
        found = dict(asdict(r), ours=ours, peer=peer, label=getattr(CONTENDERS.get(r.peer), 'label', r.peer), verdict='not run')
        if 'why' in ours or 'why' in peer: return dict(found, why=peer.get('why') or ours['why'])
        ratio = ours['rate']/peer['rate']
        mem_ratio = ours['gb']/peer['gb'] if ours['gb'] and peer['gb'] else None
        met = ratio>=r.goal
        if self.scale=='full' and r.mem: met &= mem_ratio is not None and mem_ratio<=r.mem
        if self.scale=='full' and r.most: met &= ours['gb']<=r.most
        same = [run['same'] for run in self.of(f'{r.ours} = {r.peer}')]
        return dict(found, ratio=ratio, mem_ratio=mem_ratio, verdict='met' if met else 'missed', same=same[-1] if same else None)

    def rows(self)->list: # of dicts
        "Each comparison with rates, ratio, memory, agreement and verdict"
        return [self.row(r) for r in self.compared]

    def growth(self)->dict: # name → dict of points (size, seconds) and exponent
        "How cost grows with images, pixels, classes and objects"
        sweeps = {k: [r for r in self.of(name) if 'points' in r] for k,name in GROWTH.items()}
        return {k: dict(points=runs[-1]['points'], exponent=exponent(runs[-1]['points'])) for k,runs in sweeps.items() if runs}

    def to_json(self)->dict:
        "Everything, for a json file"
        return dict(scale=self.scale, rows=self.rows(), growth=self.growth(), runs=self.runs)

    def table(self)->str:
        "One line per comparison: rates, ratio, goal, verdict; peak memory, equal pixels and share of the machine's limit as ours / peer"
        head = ['what','against','ours','peer','ratio','goal','verdict','memory','same pixels','of limit']
        parts = [aligned([head, *map(table_line, self.rows())])]
        if growth := self.growth():
            def ends(g): return [f'{n:,} ({secs:.3g} s)' for n,secs in (g['points'][0][:2], g['points'][-1][:2])]
            lines = [[k, *ends(g), f'{g["exponent"]:.2f}'] for k,g in growth.items()]
            parts.append(aligned([['cost grows with','from','to','exponent (1: in proportion)'], *lines]))
        machine = self.of('limits')
        if machine and 'copy' in machine[-1]: parts.append(self.machine_line(machine[-1]))
        return '\n\n'.join(parts)

    def machine_line(self, limits)->str:
        "What the machine can do, and how busy it was: figures of a busy machine say little"
        line = f'this machine: {limits["fp32"]:.0f} GFLOP/s fp32, {limits["bf16"]:.0f} GFLOP/s bf16, {limits["copy"]:.1f} GB/s copied'
        loads = [r['load'] for r in self.runs if r.get('load') is not None]
        return line+(f'; load {min(loads):.1f} to {max(loads):.1f} on {os.cpu_count()} cores' if loads else '')

    def plot(self):
        "Bars of the ratios with a mark at each goal; the axis is logarithmic, because half and twice are equally far from even"
        from unet_nbdev.show import figure
        rows = [r for r in self.rows() if 'ratio' in r][::-1]
        with figure(7.5, .9+.36*len(rows)) as (fig,ax):
            for y,r in enumerate(rows): draw_bar(ax, y, r)
            ax.set(xscale='log', xlabel='times as fast as the peer; the mark is the goal')
            ax.set_yticks(range(len(rows)), [f'{r["what"]}\n{r["label"]}' for r in rows], fontsize=7)
            ax.axvline(1, color='.3', lw=1)
            ax.grid(False, axis='y')
            label_times(ax, [r['ratio'] for r in rows]+[r['goal'] for r in rows])
        return fig

    def plot_growth(self):
        "Seconds over size, both relative to the smallest, next to a line that grows as its input does"
        from unet_nbdev.show import figure
        largest = 1
        with figure(4.6, 3.4) as (fig,ax):
            for (k,g),color,marker in zip(self.growth().items(), palette(7)[[5,6,3,1]], 'osD^'):
                x,y = np.array(g['points'])[:,:2].T
                ax.plot(x/x[0], y/y[0], marker+'-', color=color/255, label=f'{k}, exponent {g["exponent"]:.2f}')
                largest = max(largest, *(x/x[0]))
            ax.plot([1,largest], [1,largest], ':', color='.4', label='linear', zorder=0)
            ax.set(xscale='log', yscale='log', xlabel='size, smallest = 1', ylabel='seconds, smallest = 1')
            ax.legend()
        return fig

    def save(self,
        out, # folder
    )->Path:
        "Write the table and the pictures"
        from unet_nbdev.show import save_fig
        out = Path(out)
        write_text(out/'table.txt', self.table()+'\n')
        if any('ratio' in r for r in self.rows()): save_fig(self.plot(), out/'ratios.png', small=True)
        if self.growth(): save_fig(self.plot_growth(), out/'growth.png', small=True)
        return out

# ── the table ────────────────────────────────────────────────────────────────────────────────────
def rate_text(side, unit)->str:
    "Median of a side, with the smallest and the largest where they differ"
    if 'why' in side: return '–'
    def show(rate): return f'{rate if unit else 1/rate:.3g}'
    text = show(side['rate'])
    if side['most']>side['least']:
        ends = sorted([show(side['least']), show(side['most'])], key=float)
        text += f' ({"–".join(ends)})'
    return text+(f' {unit}/s' if unit else ' s')

def ours_and_peer(row, key, fmt)->str:
    "A value of both sides: ours / peer"
    values = [row[side].get(key) for side in ('ours','peer')]
    return ' / '.join('–' if v is None else fmt.format(v) for v in values)

def table_line(r)->list:
    "The columns of a row"
    ratio = f'{r["ratio"]:.2f}×' if 'ratio' in r else '–'
    same = '–' if r.get('same') is None else f'{100*r["same"]:.2f} %'
    verdict = r['verdict']+(f': {r["why"]}' if 'why' in r else '')
    return [r['what'], r['label'], rate_text(r['ours'], r['unit']), rate_text(r['peer'], r['unit']), ratio, f'{r["goal"]:g}×', verdict,
            ours_and_peer(r, 'gb', '{:.2f} GB'), same, ours_and_peer(r, 'share', '{:.0%}')]

def aligned(lines)->str:
    widths = [max(map(len, column)) for column in zip(*lines)]
    return '\n'.join('  '.join(v.ljust(w) for v,w in zip(line, widths)).rstrip() for line in lines)

# ── the pictures ─────────────────────────────────────────────────────────────────────────────────
COLORS = dict(met=(0,114/255,178/255), missed=(213/255,94/255,0)) # Okabe and Ito's blue and vermilion

def draw_bar(ax, y, r):
    "The bar of a ratio, the mark of its goal, and the number"
    ax.barh(y, r['ratio']-1, left=1, height=.62, color=COLORS[r['verdict']])
    ax.plot([r['goal']]*2, [y-.42,y+.42], color='.1', lw=2)
    ax.text(max(r['ratio'], r['goal'], 1)*1.06, y, f'{r["ratio"]:.3g}×', va='center')

def label_times(ax, values):
    "Ticks of a logarithmic axis, as 2×, 5×, …"
    low = min(.9, *(.8*v for v in values))
    high = max(2, *(1.6*v for v in values))
    ticks = [t for t in (.01,.02,.05,.1,.2,.5,1,2,5,10,20,50,100,200,500,1000) if low<=t<=high]
    ax.set_xlim(low, high)
    ax.set_xticks(ticks, [f'{t:g}×' for t in ticks])
    ax.minorticks_off()
