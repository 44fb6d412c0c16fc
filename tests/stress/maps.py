# purpose: what is predicted from a GeoTIFF lies where the image does, as GDAL reads it; broken coordinates end in a line
# minutes: 1, 0.5 with --quick
# ci: yes
"""Writes GeoTIFF files with rasterio, predicts them, and reads what was written with rasterio and pyogrio: `python tests/stress/maps.py [--quick] [--files FOLDER]`

The transform, the coordinate system and every pixel of a mask must be those of the image, in UTM, degrees, a turned grid, with points in the centres of pixels, as BigTIFF,
in tiles, as a cloud-optimised file, big-endian, in feet and with five bands of 16 bits. Outlines drawn on the map again must give the mask, and areas must be those of what was
drawn. Then tags are broken in every way that comes to mind, and bytes of directories are changed at random. Nothing may be raised but a DataError, and nothing may be left half
written. Without rasterio only this last part runs (`pip install rasterio pyogrio shapely` adds the first). With --files, the GeoTIFF files of a folder are predicted too."""
import argparse, contextlib, importlib.util, io, json, logging, struct, tempfile, warnings
from pathlib import Path
import numpy as np, tifffile
from unet_nbdev.core import Codes, DataError
from unet_nbdev.batch import predict_folder
from unet_nbdev.images import image_info, nodata_of
from unet_nbdev.masks import open_raw_mask
from unet_nbdev.place import GEO_TAGS, place_of
from unet_nbdev.prep import Prep
from unet_nbdev.runtime import Predictor

H,W = 300,420
EVERY = dict(mask=True, probs=True, objects=True, geojson=True)
CODES = Codes(['field','lake'], [1,2])

def see(x): # (1,n,H,W) from -1 to 1 → (3,H,W): bright is a field, half bright is a lake
    level = x[0,0]
    k = np.where(level>.5, 1, np.where(level>-.5, 2, 0))
    return np.stack([k==o for o in range(3)]).astype(np.float32)*np.float32(.94)+np.float32(.02)

def segmenter(n_in=3, dtype='uint8', top=255):
    more = dict(norm='window', low=[0]*n_in, high=[top]*n_in) if dtype!='uint8' else {}
    seg = Predictor([see], CODES, [Prep(n_in=n_in, mean=[.5]*n_in, std=[.5]*n_in, dtype=dtype, **more)], win=128)
    seg.files = [Path(__file__)]
    return seg

def scene():
    "A label map: fields, one of them with two holes that touch, lakes, and one field in two parts that touch at a corner"
    y,x = np.mgrid[:H,:W]
    m = np.zeros((H,W), np.uint8)
    m[40:120,30:140] = 1
    m[60:70,50:60] = m[70:90,60:80] = 0
    m[np.hypot(y-210, x-120)<60] = 2
    m[np.hypot(y-100, x-260)<70] = 1
    m[np.hypot(y-100, x-260)<40] = 0
    m[np.hypot(y-100, x-260)<20] = 2
    m[200:230,300:340] = m[230:260,340:400] = 1
    return m

def pixels(labels, n=3, dtype=np.uint8, top=255):
    levels = np.array([top*.1, top, top*.5]).astype(dtype)
    return np.repeat(levels[labels][None], n, 0)

def kinds(rasterio):
    "Yield name, and what rasterio.open takes, of each form"
    from rasterio import Affine
    utm = dict(crs='EPSG:32633', transform=Affine(.5,0,400000.25, 0,-.5,5700000.75))
    turned = Affine.translation(4e5, 57e5)*Affine.rotation(30)*Affine.scale(2,-2)
    yield 'utm',utm
    yield 'degrees',dict(crs='EPSG:4326', transform=Affine(.0001,0,11.5, 0,-.0001,48.2))
    yield 'east',dict(crs='EPSG:4326', transform=Affine(.01,0,190, 0,-.01,-20))
    yield 'etrs',dict(crs='EPSG:4258', transform=Affine(.0002,0,11.5, 0,-.0001,48.2))
    yield 'turned',dict(crs='EPSG:25832', transform=turned)
    yield 'southup',dict(crs='EPSG:32733', transform=Affine(10,0,4e5, 0,10,57e5))
    yield 'feet',dict(crs='EPSG:2263', transform=Affine(1,0,980000, 0,-1,200000))
    yield 'web',dict(crs='EPSG:3857', transform=Affine(.6,0,1e6, 0,-.6,8.4e6))
    yield 'own',dict(crs='+proj=laea +lat_0=10 +lon_0=20 +units=m +datum=WGS84', transform=Affine(30,0,1e5, 0,-30,2e5))
    yield 'nowhere',dict(transform=Affine(.5,0,4e5, 0,-.5,57e5))
    yield 'point',dict(utm, AREA_OR_POINT='Point')
    yield 'big',dict(utm, BIGTIFF='YES', tiled=True, blockxsize=128, blockysize=64, compress='deflate')
    yield 'cog',dict(utm, driver='COG', compress='deflate', blocksize=128)
    yield 'motorola',dict(utm, ENDIANNESS='BIG', BIGTIFF='YES', interleave='band')
    yield 'motorola_small',dict(utm, ENDIANNESS='BIG')

def write_scene(rasterio, path, labels, nodata=None, n=3, dtype=np.uint8, top=255, **form):
    img = pixels(labels, n, dtype, top)
    if nodata is not None: img[:,:25] = nodata
    area_or_point = form.pop('AREA_OR_POINT', None)
    driver = form.pop('driver', 'GTiff')
    with rasterio.open(path, 'w', driver=driver, height=H, width=W, count=n, dtype=np.dtype(dtype).name, nodata=nodata, **form) as f:
        if area_or_point: f.update_tags(AREA_OR_POINT=area_or_point)
        f.write(img)

def check_mask(rasterio, src, msk, expected):
    with rasterio.open(src) as a, rasterio.open(msk) as b:
        assert b.transform.almost_equals(a.transform, 1e-12), (msk.name, a.transform, b.transform)
        assert a.crs==b.crs, (msk.name, a.crs, b.crs)
        assert a.tags().get('AREA_OR_POINT')==b.tags().get('AREA_OR_POINT'), msk.name
        assert (b.nodata, b.count, b.shape, b.dtypes)==(255, 1, a.shape, ('uint8',)), b.profile
        assert b.compression.value=='DEFLATE', b.profile
        assert (b.read(1)==expected).all(), msk.name
        assert b.colormap(1)[1][:3]==tuple(int(o) for o in CODES.colors[1])

def check_probs(rasterio, src, path, expected):
    with rasterio.open(src) as a, rasterio.open(path) as b:
        assert (b.transform, b.crs, b.descriptions)==(a.transform, a.crs, ('background','field','lake')), b.profile
        p = b.read()
    assert np.isnan(b.nodata) and (np.isnan(p).all(0)==(expected==255)).all()
    seen = expected<255
    assert (p.argmax(0)[seen]==expected[seen]).all()

def check_outlines(rasterio, src, path, expected):
    "Features of a file: valid, in the right direction, and drawn on the map again they are the mask"
    import pyogrio, shapely
    from rasterio.features import rasterize
    info,_,wkb,fields = pyogrio.raw.read(path)
    shapes = shapely.from_wkb(wkb)
    assert shapely.is_valid(shapes).all(), shapely.is_valid_reason(shapes)
    names = dict(zip(info['fields'], fields))
    with rasterio.open(src) as a:
        assert rasterio.crs.CRS.from_user_input(info['crs'])==a.crs, (path.name, info['crs'], a.crs)
        shift = 360 if a.crs and a.crs.to_epsg()==4326 and a.transform.c>180 else 0
        moved = [shapely.transform(s, lambda p: p+(shift,0)) for s in shapes]
        values = [{'field':1,'lake':2}[o] for o in names['class']]
        back = rasterize(zip(moved, values), a.shape, transform=a.transform)
    assert (back==np.where(expected==255, 0, expected)).all(), path.name
    for o in json.loads(path.read_text())['features']:
        polys = o['geometry']['coordinates']
        for rings in [polys] if o['geometry']['type']=='Polygon' else polys:
            turns = [shapely.LinearRing(r).is_ccw for r in rings]
            assert turns==[True, *[False]*(len(rings)-1)], (path.name, turns)
    return names,shapes

def check_areas(name, names, shapes, src):
    "Areas of what was drawn: those of the outlines on a projected map, those of pyproj's ellipsoid where it is there"
    import shapely
    place = place_of(src)
    if 'area_m2' not in names:
        assert place.unit is None, name
        return
    if place.kind=='projected' and name!='web':
        truth = shapely.area(shapes)*place.unit**2
        assert (abs(names['area_m2']/truth-1)<.005).all(), (name, names['area_m2'], truth)
    elif importlib.util.find_spec('pyproj') and place.is_lonlat:
        from pyproj import Geod
        truth = [abs(Geod(ellps='WGS84').geometry_area_perimeter(s)[0]) for s in shapes]
        assert (abs(names['area_m2']/truth-1)<.005).all(), (name, names['area_m2'], truth)
    return names['area_m2'].sum()

def quietly(*args, **kwargs):
    with contextlib.redirect_stderr(io.StringIO()) as said: res = predict_folder(*args, **kwargs)
    return res,said.getvalue().splitlines()

def with_gdal(top):
    import rasterio
    warnings.simplefilter('ignore')
    labels = scene()
    n = 0
    for name,form in kinds(rasterio):
        for nodata in (None, 7):
            src = top/f'{name}{nodata or ""}.tif'
            write_scene(rasterio, src, labels, nodata, **form)
            expected = labels.copy()
            if nodata is not None: expected[:25] = 255
            out = top/'out'/src.stem
            named = name not in ('own','nowhere') # a system with an EPSG code
            quietly(segmenter(), src, out, **EVERY | dict(geojson=named))
            check_mask(rasterio, src, out/f'{src.stem}_mask.tif', expected)
            check_probs(rasterio, src, out/f'{src.stem}_probs.tif', expected)
            n += 1
            if not named: continue
            names,shapes = check_outlines(rasterio, src, out/f'{src.stem}.geojson', expected)
            check_areas(name, names, shapes, src)
    src = top/'bands.tif'
    utm = dict(kinds(rasterio))['utm']
    write_scene(rasterio, src, labels, 0, 5, np.uint16, 10000, **utm)
    expected = np.where(np.arange(H)[:,None]<25, 255, labels)
    quietly(segmenter(5, 'uint16', 10000), src, top/'out'/'bands', **EVERY)
    check_mask(rasterio, src, top/'out'/'bands'/'bands_mask.tif', expected)
    check_outlines(rasterio, src, top/'out'/'bands'/'bands.geojson', expected)
    by_rows = segmenter().write_mask(top/'cog7.tif', top/'rows.tif')
    with rasterio.open(by_rows) as b, rasterio.open(top/'cog7.tif') as a:
        assert (b.transform, b.crs, b.nodata)==(a.transform, a.crs, 255)
        assert (b.read(1)==np.where(np.arange(H)[:,None]<25, 255, labels)).all()
    return n+2

def broken_tags():
    "Yield name and tags, each wrong in its own way, or odd and right"
    good = {33550:(12, (.5,.5,0.)), 33922:(12, (0.,0.,0.,4e5,57e5,0.)), 34735:(3, (1,1,0,3, 1024,0,1,1, 3072,0,1,32633, 3076,0,1,9001))}
    nan,inf = float('nan'),float('inf')
    for k,v in enumerate([(0.,0.,0.), (nan,1.,0.), (inf,1.,0.), (1e300,1e300,0.), (-.5,.5,0.), (.5,), (.5,-.5), (1e-300,1.,0.), tuple([.5]*999)]):
        yield f'scale{k}',good|{33550:(12, v)}
    for k,v in enumerate([(0.,)*5, (0.,)*7, (nan,)*6, (inf,)*6, (0.,0.,0.,1e300,0.,0.), (0.,)*24, (-1e18,0.,0.,0.,0.,0.), (0.,)*6*5000]):
        yield f'ties{k}',good|{33922:(12, v)}
    for k,v in enumerate([(0.,)*16, (1.,)*15, (1.,)*17, (nan,)*16, (1.,1.,0.,0., 1.,1.,0.,0., 0.,0.,0.,0., 0.,0.,0.,1.)]):
        yield f'matrix{k}',{34264:(12, v), 34735:good[34735]}
    for k,v in enumerate([(1,), (1,1,0), (1,1,0,65535), (1,1,0,1, 1024,0,1), (1,1,0,0), (1,1,0,1, 1024,34736,1,0), (1,1,0,1, 1024,34737,5,60000),
                          (1,1,0,1, 3072,0,1,0), (1,1,0,1, 3072,0,1,65535), (1,1,0,2, 1024,0,1,77, 1025,0,1,99), (1,1,0,1, 1024,34735,400,3),
                          (1,1,0,2, 1024,0,1,1, 3077,34735,1,0), (1,1,0,2, 1024,0,1,1, 3076,0,1,1), (9,9,9,1, 1024,0,1,1), (1,1,0,1, 2048,33550,1,0)]):
        yield f'keys{k}',good|{34735:(3, v)}
    for code in (33550,33922,34735):
        for kind,v in ((2, b'text\0'), (4, (1,2,3,4)), (11, (.5,.5,0.)), (5, (1,2,3,4,5,6)), (7, b'12345678')): yield f'type{code}_{kind}',good|{code:(kind, v)}
    yield 'only_keys',{34735:good[34735]}
    yield 'only_scale',{33550:good[33550]}
    yield 'text',good|{34737:(2, bytes(range(128, 256))+b'\0')}
    yield 'size',good|{34735:(3, (1,1,0,2, 1024,0,1,1, 3077,34736,1,0)), 34736:(12, (nan,))}
    for k,v in enumerate((b'nan\0', b'\0', b'1e999\0', b'\xff\xfe\0', b'0x10\0', b'9'*4000+b'\0')): yield f'nodata{k}',good|{42113:(2, v)}

def write_broken(top, n_random):
    "Files with broken coordinates, and copies of a good one with two bytes of a tag changed; world files, too; → how many"
    img = np.ascontiguousarray(pixels(scene())[:,:90,:120].transpose(1,2,0))
    for name,tags in broken_tags():
        listed = [(code, kind, len(v)//2 if kind==5 else len(v), v, True) for code,(kind,v) in tags.items()]
        tifffile.imwrite(top/f'{name}.tif', img, photometric='rgb', extratags=listed)
    raw = (top/'text.tif').read_bytes()
    first, = struct.unpack('<I', raw[4:8])
    n, = struct.unpack_from('<H', raw, first)
    tags = [o for o in range(first+2, first+2+12*n, 12) if struct.unpack_from('<H', raw, o)[0] in GEO_TAGS]
    rng = np.random.default_rng(0)
    for k in range(n_random):
        bad = bytearray(raw)
        at = int(rng.choice(tags))+int(rng.integers(0, 11))
        bad[at:at+2] = rng.integers(0, 256, 2, np.uint8).tobytes()
        (top/f'random{k}.tif').write_bytes(bad)
    from PIL import Image
    for k,text in enumerate((b'', b'1 2 3', b'nan '*6, b'a b c d e f', b'0 '*6, b'1 '*7, b'\xff'*24, b'1 '*9000, b'.5 0 0 -.5 4e5 57e5')):
        Image.fromarray(img).save(top/f'world{k}.png')
        (top/f'world{k}.pgw').write_bytes(text)
    return len([o for o in top.iterdir() if o.suffix!='.pgw'])

def check_broken(top, out, n_random):
    n = write_broken(top, n_random)
    res,said = quietly(segmenter(), top, out, **EVERY)
    assert len(res.rows)+len(res.bad)==n, (len(res.rows), len(res.bad), n)
    assert not [o for o in out.rglob('*') if 'tmp' in o.suffix], 'a file was left half written'
    good = 0
    for f in top.iterdir():
        if f.suffix=='.pgw' or not (out/f'{f.stem}.png').exists(): continue
        try: placed = place_of(f) is not None
        except DataError as e:
            placed = False
            assert '\n' not in str(e) and any(f.name in o for o in said), (f.name, said)
        assert (out/f'{f.stem}_mask.tif').exists()==placed and (out/f'{f.stem}_mask.png').exists()!=placed, f.name
        msk,_ = open_raw_mask(out/f'{f.stem}_mask{".tif" if placed else ".png"}')
        assert msk.shape==image_info(f).sz
        if placed: assert place_of(out/f'{f.stem}_mask.tif').matrix==place_of(f).matrix and nodata_of(out/f'{f.stem}_mask.tif')==255, f.name
        good += placed
    for o in out.glob('*.geojson'): json.loads(o.read_text())
    return n,good

def real_files(folder, top):
    import rasterio
    n = 0
    for src in sorted(folder.glob('*.tif')):
        with rasterio.open(src) as a: n_in,dtype,crs = a.count,a.dtypes[0],a.crs
        if crs is None or dtype not in ('uint8','uint16','float32'): continue
        out = top/'real'/src.stem
        try: res,said = quietly(segmenter(n_in, dtype, 255 if dtype=='uint8' else 1), src, out, mask=True, objects=True, geojson=True)
        except DataError as e:
            print(e)
            continue
        with rasterio.open(src) as a, rasterio.open(out/f'{src.stem}_mask.tif') as b: assert (a.transform, a.crs, a.shape)==(b.transform, b.crs, b.shape)
        print(src.name, *said, sep='\n  ')
        n += 1
    return n

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--quick', action='store_true', help='fewer damaged files')
    p.add_argument('--files', type=Path, help='folder with GeoTIFF files')
    o = p.parse_args()
    logging.getLogger('tifffile').setLevel(logging.CRITICAL)
    found = [importlib.util.find_spec(m) is not None for m in ('rasterio','pyogrio','shapely')]
    with tempfile.TemporaryDirectory() as d:
        top = Path(d)
        for name in ('gdal','broken'): (top/name).mkdir()
        if all(found): told = f'{with_gdal(top/"gdal")} GeoTIFF files lie where their images do'
        else: told = 'rasterio, pyogrio or shapely is not installed, so GDAL read nothing'
        n,good = check_broken(top/'broken', top/'out', 40 if o.quick else 300)
        if o.files: print(f'{real_files(o.files, top)} files of {o.files} keep their place')
    print(f'{told}; of {n} files with broken or odd coordinates {good} have a place, and all others end in a line')

if __name__=='__main__': main()
