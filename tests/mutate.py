"""Damage files at random, to see that reading them ends in data or in a `DataError`."""
import copy, random, re
from unet_nbdev.coco import anns2mask
from unet_nbdev.core import DataError

ODD = [b'NaN', b'-1', b'0', b'1e999', b'-1e308', b'99999999999999999999', b'9'*5000, b'null', b'true', b'""', b'"\\ud800"', b'"\\u0000"',
       b'[]', b'{}', b'[[]]', b'"x"', b'['*3000, b'/', b'..', b'', b' ', b'\n', b'\0', b'\xff']

def mutated(raw, rng):
    "Change one to four places of a file: bytes, numbers, words, its order and its end"
    for _ in range(rng.randint(1, 4)):
        i,j = sorted((rng.randint(0, len(raw)), rng.randint(0, len(raw))))
        j = min(j, i+rng.choice((1, 8, 64)))
        tokens = list(re.finditer(rb'-?[0-9][0-9.eE+-]*|"[^"]{0,80}"|\w+', raw))
        how = rng.randrange(7)
        if how<3 and tokens: # a value becomes another value
            t = rng.choice(tokens)
            new = rng.choice(ODD) if how else rng.choice(tokens)[0]
            raw = raw[:t.start()]+new+raw[t.end():]
        elif how==3: raw = raw[:i]+bytes(rng.randrange(256) for _ in range(j-i))+raw[j:]
        elif how==4: raw = raw[:i]+raw[j:]
        elif how==5: raw = raw[:j]+raw[i:j]+raw[j:]
        else: raw = raw[:i]+rng.choice(ODD)+raw[i:] if rng.random()<.8 else raw[:i]
    return raw

def mutated_part(raw, rng, n=4096):
    "The same for a large file: only a part of it, often its beginning or end, is looked at"
    start = rng.choice((0, max(0, len(raw)-n), rng.randint(0, max(0, len(raw)-n))))
    return raw[:start]+mutated(raw[start:start+n], rng)+raw[start+n:]

def check_mutations(read, files, n, seed=0, sz=None):
    "Read a data set `n` times, with one of its files damaged each time; returns how often it was read, all of it of size `sz`, and how often refused"
    rng = random.Random(seed)
    whole = {f:f.read_bytes() for f in files}
    done = dict(read=0, refused=0)
    for _ in range(n):
        f = rng.choice(list(files))
        f.write_bytes(mutated(whole[f], rng))
        try:
            items = read()
            for o in items: assert anns2mask(o.anns, o.sz, items.codes).shape==tuple(o.sz)==(sz or tuple(o.sz))
            done['read'] += 1
        except DataError as e:
            assert '\n' not in str(e), str(e)
            done['refused'] += 1
        finally: f.write_bytes(whole[f])
    return done

ODD_VALUES = [None, True, -1, 0, 1, 7.5, 10**12, 10**30, 1e308, float('nan'), float('inf'), '', 'x', '\ud800', 'a\0b', 'x'*2000, '../x', '(', [], {}, [[]],
              [0]*5000, {'x': {'x': {}}}, ['a', 1]]

def places(tree):
    "Yield (dict or list, key) of every value in a tree"
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree,key
        if isinstance(tree[key], (dict, list)): yield from places(tree[key])

def lied(tree, rng, odd=ODD_VALUES):
    "A copy of nested dicts and lists, in which one to three values are others, larger, missing, or new"
    tree = copy.deepcopy(tree)
    for _ in range(rng.randint(1, 3)):
        found = list(places(tree))
        if not found: break
        holder,key = rng.choice(found)
        how = rng.randrange(8)
        if how==0: del holder[key]
        elif how==1: holder[key] = copy.deepcopy(rng.choice([h[k] for h,k in found]))
        elif how==2 and type(holder[key]) in (int, float): holder[key] *= rng.choice((-1, 2, 1000, 10**6))
        elif how==3 and isinstance(holder, dict): holder[f'{key}x'] = rng.choice(odd)
        else: holder[key] = copy.deepcopy(rng.choice(odd))
    return tree
