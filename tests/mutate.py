"""Damage files and JSON values at random, to see that reading them ends in data or in a `DataError`."""
import math, random, re
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

SPECIAL = [None, True, False, '', '3', '7', 3, 7, 0, -1, 2.5, 2**31, 2**63, 10**400, -10**400, 1e308, -1e308, math.nan, math.inf, -math.inf, [], {},
           10**12, 10**30, 'a\0b', 'x'*2000, '(', [0]*5000, {'x':{'x':{}}}, ['a', 1],
           [[]], [None], [[[]]], {'size':[]}, {'':0}, 'é', '\ud800', '\0', '٣', '../a.png', '/etc/a.png', '},{', '"}]', [[0.5,2,3,4,5,6]], [{}], [{'a':[{}]}]]

def places(o, path=()):
    "Yield the path of every place in a JSON value"
    yield path
    inside = o.items() if isinstance(o, dict) else enumerate(o) if isinstance(o, list) else ()
    for k,v in inside: yield from places(v, (*path, k))

def put(o, path, new):
    "A copy of a JSON value with another value at a path"
    if not path: return new
    o = o.copy()
    o[path[0]] = put(o[path[0]], path[1:], new)
    return o

def at(o, path):
    for k in path: o = o[k]
    return o

def other_value(v, rng, special):
    "Another value in place of one: anything, a part of it, twice of it, much more, within a list, or as text"
    new,how = rng.choice(special),rng.randrange(8)
    if how<3: return new
    if how==3: return [v]
    if how==7 and type(v) in (int, float): return v*rng.choice((-1, 2, 1000, 10**6))
    if how==7 and isinstance(v, dict): return {**v, 'new':new}
    if how==4 and not isinstance(v, int): return str(v)[:99]
    if isinstance(v, (str,list)): return v+v if how==5 else v[:rng.randrange(len(v)+1)]
    if isinstance(v, dict) and v: return {k:o for k,o in v.items() if k!=rng.choice([*v])}
    return new

def mutated_value(o, rng, below=(), special=SPECIAL):
    "Change one to three places of nested dicts and lists, below one of these keys or anywhere"
    for _ in range(rng.randint(1, 3)):
        paths = [p for p in places(o) if p and (not below or below[0] in p or rng.random()<.1)]
        path = rng.choice(paths or [()])
        o = put(o, path, other_value(at(o, path), rng, special))
    return o
