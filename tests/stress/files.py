# purpose: every way to open any file ends in data or a DataError; nothing hangs, and memory stays within the stated limit
# minutes: 5, 1.5 with --quick
# ci: yes
"""Damages pictures of all formats, arrays and annotation files, and opens them in every way there is: `python tests/stress/files.py [--quick] [--n N] [--seed S]`

The formats: PNG, JPEG, TIFF, GIF, WebP, BMP, JPEG 2000, portable maps, AVIF where Pillow has it, npy and npz; JSON, XML, CSV, YAML and zips of regions.
Then come files that were made to do harm: pipes, sockets, devices, folders, chunks that claim 4 GB, texts, pictures and arrays that unfold to gigabytes, headers
that no parser likes, and arrays without a pixel. Each part runs in a process of its own, with an alarm for what hangs and its peak of memory measured."""
import argparse, io, json, os, random, resource, signal, socket, struct, subprocess, sys, tempfile, time, warnings, zipfile, zlib
from pathlib import Path
import numpy as np
from PIL import Image
sys.path.insert(0, str(Path(__file__).parents[1]))
from mutate import mutated

HANGS = 20     # seconds after which the alarm stops it
MOST = 2**20   # KiB of memory
PIXELS = 2**24 # the limit that is stated while harmful files are opened

class Hang(BaseException): pass

def on_alarm(*args): raise Hang

def picture_ways():
    "Name and function of every way to open a picture, an array or a mask"
    from unet_nbdev.image_checks import check_image, file_digest, read_header
    from unet_nbdev.images import (exif_orientation, image_files, image_info, n_pages, nodata_of, open_image, open_picture, open_stored,
                                   page_paths, stored_colours, unreadable_image)
    from unet_nbdev.large_images import TiledImage, open_large
    from unet_nbdev.masks import open_raw_mask, scan_mask
    from unet_nbdev.prep import Prep
    from unet_nbdev.tiff import read_tiff, tiff_info, tiff_mode, tiff_nodata
    def pages(path): return [open_image(o) for o in page_paths(path)[:3]]
    def smaller(path): return open_image(path, image_info(path).sz, (2,2))
    def for_network(path): return Prep().apply(open_large(path))
    def tiled(path):
        try: return TiledImage(path)[:9,:9]
        except KeyError: pass # not tiled
    def listed(path): return image_files(path)
    tiff_only = (tiled, read_tiff, tiff_info, tiff_mode, tiff_nodata)
    ways = [open_image, open_stored, image_info, exif_orientation, n_pages, nodata_of, pages, smaller, for_network, stored_colours, check_image, file_digest,
            read_header, open_raw_mask, scan_mask, unreadable_image, listed]
    return ways,[*ways, *tiff_only]

def annotation_ways():
    "Suffix → functions that open an annotation file"
    from unet_nbdev.coco_checks import load_coco
    from unet_nbdev.cvat import is_cvat, parse_xml
    from unet_nbdev.darwin import load_darwin
    from unet_nbdev.drawings import head_of, load_json
    from unet_nbdev.imagej import holds_rois, roi_bytes
    from unet_nbdev.items import read_items
    from unet_nbdev.labelbox import load_labelbox
    from unet_nbdev.qupath import load_features
    from unet_nbdev.runlength import table_lines
    from unet_nbdev.settings import read_settings
    from unet_nbdev.via import load_via_csv, load_via_json
    from unet_nbdev.yolo import is_label_file, load_yolo_yaml
    json_ways = [load_json, load_coco, load_darwin, load_labelbox, load_features, load_via_json, read_settings, read_items]
    return {'.json':json_ways, '.xml':[parse_xml, is_cvat, read_items], '.csv':[load_via_csv, table_lines, read_items], '.yaml':[load_yolo_yaml, read_items],
            '.txt':[head_of, is_label_file], '.zip':[roi_bytes, holds_rois, read_items], '.roi':[roi_bytes, holds_rois]}

def opened(f, path, done, slow=2):
    "Open a file one way, and count what came of it; anything but data or a DataError of one line is a failure"
    from unet_nbdev.core import DataError
    start = time.process_time()
    signal.alarm(HANGS)
    try:
        f(path)
        done['read'] += 1
    except DataError as e:
        assert '\n' not in str(e), (path.name, e)
        done['refused'] += 1
    except Hang: raise AssertionError(f'{f.__name__} hangs on {path.name}') from None
    except Exception as e: raise AssertionError(f'{f.__name__} of {path.name} raised {type(e).__name__}: {e}') from e
    finally: signal.alarm(0)
    took = time.process_time()-start # of the processor: other programs do not count
    assert took<slow, f'{f.__name__} took {took:.1f} s for {path.name}'

def write_pictures(folder):
    "Write a small picture of each format → paths"
    import tifffile
    rng = np.random.default_rng(0)
    y,x = np.mgrid[:40,:60]
    photo = np.stack([x*4, y*6, (x+y)*2], 2).astype(np.uint8)
    photo[::5,::7] = rng.integers(0, 256, 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    im = Image.fromarray(photo)
    kinds = dict(L='png jpg bmp tif jp2 pgm gif', RGB='png jpg bmp tif webp jp2 ppm gif avif', RGBA='png webp tif jp2', P='png gif bmp tif', CMYK='jpg tif', LA='png')
    for mode,suffixes in kinds.items():
        for suffix in suffixes.split():
            try: im.convert(mode).save(folder/f'{mode}.{suffix}', **(dict(exif=exif) if suffix in ('png','jpg','tif','webp') else {}))
            except (OSError, KeyError, ValueError): (folder/f'{mode}.{suffix}').unlink(missing_ok=True) # this Pillow has no such encoder
    im.save(folder/'progressive.jpg', progressive=True)
    Image.fromarray(photo[...,0].astype(np.uint16)*200).save(folder/'deep.png')
    im.save(folder/'film.gif', save_all=True, append_images=[im.rotate(90), im.rotate(180)])
    im.save(folder/'film.webp', save_all=True, append_images=[im.rotate(180)])
    tifffile.imwrite(folder/'tiles.tif', rng.integers(0, 999, (40,60,5), dtype=np.uint16), tile=(16,16), compression='zlib', photometric='minisblack', planarconfig='contig')
    tifffile.imwrite(folder/'stack.tif', rng.normal(size=(3,40,60)).astype(np.float32), photometric='minisblack')
    tifffile.imwrite(folder/'imagej.tif', rng.integers(0, 999, (3,40,60), dtype=np.uint16), imagej=True)
    np.save(folder/'a.npy', photo)
    np.save(folder/'b.npy', rng.normal(size=(40,60)))
    np.savez(folder/'c.npz', photo)
    np.savez_compressed(folder/'d.npz', photo)
    (folder/'e.npy').write_bytes((folder/'d.npz').read_bytes())
    return sorted(folder.iterdir())

def damaged_bytes(raw, rng):
    "Damage a picture: as `mutated` does, or numbers of its first bytes, or cut it off"
    if rng.random()<.4: return mutated(raw, rng)
    raw = bytearray(raw)
    if rng.random()<.3: return bytes(raw[:rng.randrange(len(raw))])
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(min(len(raw), 200) if rng.random()<.7 else len(raw))
        raw[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    return bytes(raw)

def damage_pictures(folder, n, seed):
    "Open `n` damaged pictures, each in three ways, and every tenth in all"
    rng = random.Random(seed)
    done = dict(read=0, refused=0)
    whole = [(o.suffix, o.read_bytes()) for o in write_pictures(folder)]
    ways,tiff_ways = picture_ways()
    for k in range(n):
        suffix,raw = rng.choice(whole)
        if rng.random()<.1: suffix = rng.choice(whole)[0] # a name that promises another format
        path = folder/f'{seed}_{k}{suffix}'
        path.write_bytes(damaged_bytes(raw, rng))
        able = tiff_ways if suffix=='.tif' else ways
        for f in able if k%10==0 else rng.sample(able, 3): opened(f, path, done)
        path.unlink()
    return done

def write_annotations(folder):
    "Write a small annotation file of each kind → paths"
    coco = dict(images=[dict(id=1, file_name='RGB.png', height=40, width=60)], categories=[dict(id=1, name='cell')],
                annotations=[dict(id=1, image_id=1, category_id=1, segmentation=[[1,1,9,1,9,9]], bbox=[1,1,8,8], area=32, iscrowd=0)])
    via = {'RGB.png9': dict(filename='RGB.png', size=9, regions=[dict(shape_attributes=dict(name='rect', x=1, y=1, width=5, height=5), region_attributes={})])}
    texts = {'coco.json':json.dumps(coco), 'via.json':json.dumps(via), 'darwin.json':json.dumps(dict(item=dict(name='RGB.png'), annotations=[])),
             'box.json':json.dumps(dict(data_row=dict(external_id='RGB.png'))), 'geo.json':json.dumps(dict(type='FeatureCollection', features=[])),
             'cvat.xml':'<annotations><version>1.1</version><image id="0" name="RGB.png" width="60" height="40"><polygon label="cell" points="1,1;9,1;9,9"/></image></annotations>',
             'via.csv':'filename,region_shape_attributes,region_attributes\nRGB.png,"{""name"":""rect""}",{}\n', 'rle.csv':'ImageId,EncodedPixels\nRGB.png,1 5 9 2\n',
             'data.yaml':'path: .\ntrain: images\nval: images\nnames: [cell, "b"]\n', 'label.txt':'0 .1 .1 .5 .1 .5 .5\n'}
    for name,text in texts.items(): (folder/name).write_text(text)
    roi = b'Iout\0\xe4\0\0'+bytes(120)
    (folder/'a.roi').write_bytes(roi)
    with zipfile.ZipFile(folder/'RoiSet.zip', 'w', zipfile.ZIP_DEFLATED) as z:
        for k in range(2): z.writestr(f'{k}.roi', roi)
    return [folder/o for o in (*texts, 'a.roi', 'RoiSet.zip')]

def damage_annotations(folder, n, seed):
    "Open `n` damaged annotation files"
    rng = random.Random(seed)
    done = dict(read=0, refused=0)
    whole = [(o.suffix, o.read_bytes()) for o in write_annotations(folder)]
    for o in folder.iterdir(): o.unlink()
    Image.new('RGB', (60,40)).save(folder/'RGB.png')
    ways = annotation_ways()
    for k in range(n):
        suffix,raw = rng.choice(whole)
        path = folder/f'{seed}_{k}{suffix}'
        path.write_bytes(mutated(raw, rng))
        for f in ways[suffix]: opened(f, path, done)
        path.unlink()
    return done

def png_chunk(name, content): return struct.pack('>I', len(content))+name+content+struct.pack('>I', zlib.crc32(name+content))

def png_bytes(w, h, bits, kind, packed, more=b''):
    head = png_chunk(b'IHDR', struct.pack('>IIBBBBB', w, h, bits, kind, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n'+head+more+png_chunk(b'IDAT', packed)+png_chunk(b'IEND', b'')

def zeros_packed(n, what=b'\0'): # n bytes, deflated
    packer = zlib.compressobj(9)
    return b''.join(packer.compress(what*2**20) for _ in range(n>>20))+packer.flush()

def npy_bytes(shape, descr="'|u1'"): # the header of an array, without numbers
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117)+'\n'
    return b'\x93NUMPY\x01\0'+struct.pack('<H', len(text)&65535)+text.encode()

def harmful_bytes():
    "Name → content of files that were made to do harm"
    small,bomb = zlib.compress(bytes(110)),zeros_packed(2**27, b'A')
    files = {'claim.png': png_bytes(10, 10, 8, 0, b'')[:33]+b'\x7f\xff\xff\xffIDAT'+b'x'*10, 'text.png': png_bytes(10, 10, 8, 0, b'')[:33]+b'\xff\xff\xff\xf0tEXt'+b'x'*10}
    for name,start in dict(zTXt=b'XML:com\0\0', iTXt=b'XML:com.adobe.xmp\0\1\0\0\0', iCCP=b'x\0\0').items():
        files[f'{name}.png'] = png_bytes(10, 10, 8, 0, small, png_chunk(name.encode(), start+bomb))
    files['exif.png'] = png_bytes(10, 10, 8, 0, small, png_chunk(b'zTXt', b'Raw profile type exif\0\0'+bomb))
    files['grey.png'] = png_bytes(2**13, 2**14, 8, 0, zeros_packed(2**27))
    files['rgb.png'] = png_bytes(2**13, 2**13, 8, 2, zeros_packed(3*2**26))
    files['short.png'] = png_bytes(8000, 8000, 8, 2, small)
    gif = io.BytesIO()
    Image.new('P', (9,9)).save(gif, 'gif', save_all=True, append_images=[Image.new('P', (9,9), 1)])
    files['gif.gif'] = gif.getvalue()
    at = gif.getvalue().rindex(b'\x2c') # the second frame says that it is 65535×65535
    files['frame.gif'] = gif.getvalue()[:at+5]+b'\xff'*4+gif.getvalue()[at+9:]
    for name,shape in dict(huge=(10**12,10**12), negative=(-1,5), zero=(0,0), row=(0,5), bands=(5,5,0), deep=(1,)*40).items(): files[f'{name}.npy'] = npy_bytes(shape)
    files |= {'digits.npy': npy_bytes(f'({"9"*400}, 5)'), 'nested.npy': npy_bytes('('*4000), 'minus.npy': npy_bytes('-'*9000), 'void.npy': npy_bytes((10**9,10**9), "'|S0'")}
    for name,how in (('deflate', zipfile.ZIP_DEFLATED), ('bz2', zipfile.ZIP_BZIP2)):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, 'w', how) as z:
            with z.open('a.npy', 'w', force_zip64=True) as f:
                f.write(npy_bytes((2**13,2**13)))
                for _ in range(2**6): f.write(bytes(2**20))
        files[f'{name}.npz'] = packed.getvalue()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, 'w', zipfile.ZIP_DEFLATED) as z: z.writestr('a.roi', bytes(2**26))
    files['bomb.zip'] = packed.getvalue()
    files |= {'nested.json': b'['*10**6, 'digits.json': b'{"a":'+b'9'*10**6+b'}', 'nested.xml': b'<annotations><version>'+b'<a>'*10**5, 'nested.yaml': b'['*10**5}
    files['laughs.xml'] = b'<!DOCTYPE a [<!ENTITY b "'+b'c'*1000+b'">]><annotations><version>&b;</version></annotations>'
    files['laughs.yaml'] = b'a: &a [x,x]\n'+b''.join(b'%c: &%c [*%c,*%c]\n' % (98+k, 98+k, 97+k, 97+k) for k in range(20))
    return files

def write_harm(folder):
    "Write harmful files, and what only looks like a file"
    import tifffile
    for name,raw in harmful_bytes().items(): (folder/name).write_bytes(raw)
    tifffile.imwrite(folder/'flat.tif', np.zeros((2**12,2**13), np.uint8), compression='zlib', rowsperstrip=2**12)
    for suffix in ('.jp2','.webp','.bmp','.jpg','.gif'):
        for side in (4000,5000): # within the limit, and above it
            try: Image.new('L', (side,side)).save(folder/f'flat{side}{suffix}')
            except OSError: pass # this Pillow has no such encoder
    for suffix in ('.png','.npy','.tif','.json','.xml'):
        with open(folder/f'sparse{suffix}', 'wb') as f: f.truncate(2**42)
    with open(folder/'sparse_true.png', 'wb') as f: # a good picture, and then 4 TB of nothing
        f.write(png_bytes(10, 10, 8, 0, zlib.compress(bytes(110))))
        f.truncate(2**42)
    for suffix in ('.png','.jpg','.gif','.tif','.npy','.npz','.json','.xml','.csv','.yaml','.txt','.zip','.roi'):
        os.mkfifo(folder/f'pipe{suffix}')
        (folder/f'folder{suffix}').mkdir()
        (folder/f'endless{suffix}').symlink_to('/dev/zero')
        (folder/f'loop{suffix}').symlink_to(folder/f'loop{suffix}')
        (folder/f'empty{suffix}').touch()
    with socket.socket(socket.AF_UNIX) as s: s.bind(str(folder/'socket.png'))

def open_harm(folder, n, seed):
    "Open each harmful file in all ways"
    done = dict(read=0, refused=0)
    writer = os.fork() # its memory is not that of the readers
    if writer==0:
        write_harm(folder)
        os._exit(0)
    assert os.waitpid(writer, 0)[1]==0
    paths = sorted(folder.iterdir())
    (ways,tiff_ways),annotations = picture_ways(),annotation_ways()
    for path in paths:
        is_tiff = path.suffix=='.tif'
        for f in annotations.get(path.suffix, tiff_ways if is_tiff else ways):
            if path.is_dir() and f.__name__ in ('read_items','listed'): continue # folders are read otherwise
            opened(f, path, done, slow=HANGS)
    return done

PARTS = dict(pictures=damage_pictures, annotations=damage_annotations, harm=open_harm)

def run_part(o):
    "Run one part in this process, and print what was done"
    signal.signal(signal.SIGALRM, on_alarm)
    warnings.simplefilter('ignore')
    with tempfile.TemporaryDirectory() as d: done = PARTS[o.part](Path(d), o.n, o.seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss # Linux counts KiB
    assert peak<MOST, f'{peak>>10} MiB of memory'
    print(f'{o.part}: opened {done["read"]} times, refused {done["refused"]} times, {peak>>10} MiB')

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--quick', action='store_true', help='1000 damaged files of each kind')
    p.add_argument('--n', type=int, help='damaged pictures, and half as many annotation files (default: 5000)')
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--part', choices=PARTS, help=argparse.SUPPRESS)
    o = p.parse_args()
    if o.part: return run_part(o)
    n = o.n or (1000 if o.quick else 5000)
    for part in PARTS:
        env = dict(os.environ, UNET_MAX_PIXELS=str(PIXELS)) if part=='harm' else os.environ
        command = [sys.executable, __file__, '--part', part, '--n', str(n if part=='pictures' else n//2), '--seed', str(o.seed)]
        subprocess.run(command, check=True, env=env)
    print(f'{n} damaged pictures, {n//2} damaged annotation files, and files made to do harm, opened in all ways: data or a DataError, no hang, below 1 GiB')

if __name__=='__main__': main()
