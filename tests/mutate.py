"""Damage files at random, to see that reading them ends in data or in a `DataError`."""
import random, re
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
