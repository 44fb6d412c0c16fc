# purpose: every TIFF is read as it was written, or refused in one line; damaged ones end in pixels or a DataError
# minutes: 3, 1.5 with --quick
# ci: yes
"""Writes TIFF files of every type of number, number of bands, arrangement, compression and number of pages, and reads them: `python tests/stress/tiffs.py [--quick]`

They are read in two processes, with imagecodecs and as if it were not installed. What is read must be what was written, bit for bit (for JPEG: what tifffile
decodes), and what the header says; without imagecodecs a file may be refused, in one line that names the extra. Then the files are damaged: cut off, and bytes of
their directories changed at random. No reader may raise anything but a DataError, or ask for much memory."""
import argparse, itertools, logging, random, resource, subprocess, sys, tempfile, warnings
from pathlib import Path
import numpy as np
from PIL import Image

TYPES = dict(u8=np.uint8, u16=np.uint16, i16=np.int16, i32=np.int32, f32=np.float32, f64=np.float64, bool=np.bool_)
H,W = 37,45 # no multiple of a tile

def numbers(rng, dtype, shape):
    "Random values that use the range of their type, NaN among the floats"
    if dtype==np.bool_: return rng.random(shape)<.5
    if np.dtype(dtype).kind!='f':
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    a = rng.normal(size=shape).astype(dtype)
    a.flat[::7] = np.nan
    return a

def smooth(shape): # for JPEG: (…,H,W,C) uint8
    y,x = np.mgrid[:H,:W]
    return np.broadcast_to((128+100*np.sin(x/9)*np.cos(y/7)).astype(np.uint8)[...,None], shape).copy()

def kinds(quick):
    "Yield name, pixels (pages,H,W,C), and arguments of tifffile.imwrite, for each file"
    rng = np.random.default_rng(0)
    bands = (1,3,13) if quick else (1,2,3,4,5,13)
    for (name,dtype),n,planar,tiled,pages,packed in itertools.product(TYPES.items(), bands, (False,True), (False,True), (1,5), ('none','zlib','lzw','jpeg')):
        if planar and n==1 or packed=='jpeg' and (dtype!=np.uint8 or n not in (1,3)): continue
        a = smooth((pages,H,W,n)) if packed=='jpeg' else numbers(rng, dtype, (pages,H,W,n))
        form = dict(photometric='rgb' if n==3 and dtype in (np.uint8, np.uint16) else 'minisblack', metadata=None)
        if n>1: form['planarconfig'] = 'separate' if planar else 'contig'
        if tiled: form['tile'] = (16,32)
        elif packed!='none': form['rowsperstrip'] = 10
        if packed!='none': form['compression'] = packed
        yield f'{name}_{n}{"p" if planar else "i"}{"t" if tiled else "s"}{pages}_{packed}', a, form
    for name,n,predictor,packed in itertools.product(('u8','u16','i32','f32','f64'), (1,3,5), (2,3), ('zlib','lzw')):
        if (predictor==3)==(name[0]=='f'):
            form = dict(photometric='minisblack', metadata=None, predictor=predictor, compression=packed, planarconfig='contig' if n>1 else None)
            yield f'{name}_{n}_predictor{predictor}_{packed}', numbers(rng, TYPES[name], (1,H,W,n)), form
    for big,order in itertools.product((False,True), '<>'):
        yield f'u16_big{big}{"be" if order==">" else "le"}', numbers(rng, np.uint16, (5,H,W,2)), dict(photometric='minisblack', planarconfig='contig', bigtiff=big, byteorder=order)
    yield 'u8_white', numbers(rng, np.uint8, (1,H,W,1)), dict(photometric='miniswhite')
    yield 'shaped', numbers(rng, np.int16, (5,H,W,1)), dict(photometric='minisblack')
    for packed in ('none','lzw'):
        c = dict(metadata=dict(axes='ZCYX'), **({} if packed=='none' else dict(compression=packed)))
        yield f'imagej_{packed}', numbers(rng, np.uint16, (5,H,W,3)), dict(imagej=True, **c)
        yield f'ome_{packed}', numbers(rng, np.float32, (5,H,W,3)), dict(ome=True, **c)

def write_all(folder, quick):
    "Write the files, and what is to be read from them → how many"
    import tifffile
    done = 0
    for name,a,form in kinds(quick):
        form = {k:v for k,v in form.items() if v is not None}
        order = form.pop('byteorder', None)
        out = a[...,0] if a.shape[-1]==1 else a
        if form.get('planarconfig')=='separate' or 'ZCYX' in str(form): out = np.moveaxis(a, -1, 1)
        if len(out)==1: out = out[0]
        path = folder/f'{name}.tif'
        tifffile.imwrite(path, out, **form, **(dict(byteorder=order) if order else {}))
        if 'jpeg' in name or name.startswith('bool'): # lossy; and tifffile packs bits of several bands in a way of its own
            read = tifffile.imread(path).reshape(len(a), *out.shape[-3 if a.shape[-1]>1 else -2:])
            a = (read[...,None] if a.shape[-1]==1 else np.moveaxis(read, 1, -1) if 'separate' in str(form) else read)
        np.save(folder/f'{name}.npy', a)
        done += 1
    return done+write_scans(folder)

def write_scans(folder):
    "Write TIFF files of 1 bit as scanners and Pillow do, with 0 as black and as white → how many"
    import tifffile
    bits = np.random.default_rng(0).random((H, W))>.7
    for compression in ('group3', 'group4', 'tiff_ccitt', 'packbits', 'tiff_lzw', 'tiff_adobe_deflate', 'raw'):
        for photometric in (0, 1):
            path = folder/f'scan_{compression}_{photometric}.tif'
            Image.fromarray(bits).save(path, compression=compression)
            with tifffile.TiffFile(path, mode='r+') as tif: tif.pages[0].tags['PhotometricInterpretation'].overwrite(photometric)
            np.save(path.with_suffix('.npy'), bits[None,...,None])
    return 14

def read_all(folder, without):
    "Read the files → how many were read, how many refused"
    from unet_nbdev.core import DataError
    from unet_nbdev.images import image_info, open_image, page_paths
    read = refused = 0
    for path in sorted(folder.glob('*.tif')):
        true = np.load(path.with_suffix('.npy'))
        if true.shape[-1]==1: true = true[...,0]
        pages = page_paths(path)
        assert len(pages)==len(true), (path.name, len(pages))
        try: imgs = [open_image(o) for o in pages]
        except DataError as e:
            assert without and "pip install 'unet_nbdev[tiff]'" in str(e) and '\n' not in str(e), (path.name, e)
            refused += 1
            continue
        for img,t in zip(imgs, true):
            bands = img.shape[2] if img.ndim==3 else 1
            assert img.dtype==t.dtype and np.array_equal(img, t, equal_nan=t.dtype.kind=='f'), path.name
            assert image_info(path)[:6]==(H, W, bands, img.dtype, len(true), 1), (path.name, image_info(path))
        read += 1
    print(f'{"without" if without else "with"} imagecodecs: {read} files as they were written, {refused} refused')

def damage_all(folder, n):
    "Damage the files in n ways each, and read what remains → how many were read"
    from unet_nbdev.core import DataError
    from unet_nbdev.images import exif_orientation, image_info, nodata_of, open_image, open_stored, page_paths
    chance,read = random.Random(0),0
    for k,path in enumerate(sorted(folder.glob('*.tif'))):
        whole = path.read_bytes()
        for j in range(n):
            raw = bytearray(whole)
            if j%3==0: raw = raw[:chance.randrange(len(raw))]
            else:
                at = int.from_bytes(raw[4:8], 'little') if j%3==1 else chance.randrange(len(raw)) # of the first directory
                for _ in range(chance.randint(1, 4)): raw[min(at+chance.randrange(200), len(raw)-1)] = chance.randrange(256)
            bad = folder/'damaged.tiff'
            bad.write_bytes(raw)
            for f in (image_info, exif_orientation, nodata_of, open_stored, lambda o: [open_image(p) for p in page_paths(o)[:3]]):
                try:
                    f(bad)
                    read += 1
                except DataError as e: assert '\n' not in str(e), e
    return read

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--quick', action='store_true', help='fewer numbers of bands')
    p.add_argument('--folder', type=Path, help=argparse.SUPPRESS)
    p.add_argument('--without', action='store_true', help=argparse.SUPPRESS)
    o = p.parse_args()
    warnings.simplefilter('ignore')
    if o.folder:
        if o.without: sys.modules['imagecodecs'] = None # importing it fails
        read_all(o.folder, o.without)
        damage_all(o.folder, 3)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20
        assert peak<4, f'{peak:.1f} GiB of memory' # Linux counts KiB
        return
    logging.getLogger('tifffile').setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as d:
        n = write_all(Path(d), o.quick)
        for more in ([], ['--without']): subprocess.run([sys.executable, __file__, '--folder', d, *more], check=True)
    print(f'{n} TIFF files are read as they were written, or refused with the reason; {6*n} damaged ones end in pixels or a DataError')

if __name__=='__main__': main()
