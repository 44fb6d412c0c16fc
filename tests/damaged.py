"""Damage files at random, to see that a reader ends in data or in a DataError

The notebooks of the annotation tools use this.
"""
import random, re
from unet_nbdev.core import DataError
from unet_nbdev.coco import anns2mask

WORDS = ['', '9', '-', '"', '{}', 'NaN', '1e9', '9'*20, 'null', '[', ']', ';', ',', '0', '.', '<', '"x"', 'true', '[[1]]', '\\ud800']

def damage(raw, rng): # bytes → bytes, changed in one to three places
    raw = bytearray(raw)
    for _ in range(rng.randint(1, 3)):
        i = rng.randrange(len(raw)+1)
        word = rng.choice(WORDS).encode()
        how = rng.randrange(5)
        if how==0: raw[i:i+1] = bytes([rng.randrange(256)])
        elif how==1: raw[i:i+rng.randint(1, 12)] = word
        elif how==2: raw[i:i] = word
        elif how==3: raw[i:i] = raw[rng.randrange(len(raw)+1):][:rng.randint(1, 60)] # a piece twice
        else: # another value of JSON or of an XML attribute
            values = [m.span(1) for m in re.finditer(rb'(?:: ?|=)("[^"]*"|-?[\d.]+|true|false|null|\[\]|\{\})', raw)]
            a,b = rng.choice(values or [(0,0)])
            raw[a:b] = b'"%s"' % word.strip(b'"') if raw[a:a+1]==b'"' and rng.random()<.5 else word
    return bytes(raw)

def check_damaged(read, file, n, sz): # damage a file n times, read it; returns how often that gave items, all of size sz
    rng,whole,n_read = random.Random(0),file.read_bytes(),0
    try:
        for _ in range(n):
            file.write_bytes(damage(whole, rng))
            try: items = read(file)
            except DataError: continue
            n_read += 1
            for o in items: assert anns2mask(o.anns, o.sz, items.codes).shape==tuple(o.sz)==sz, (o.sz, file.read_bytes())
    finally: file.write_bytes(whole)
    return n_read
