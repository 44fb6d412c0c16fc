# purpose: DICOM and NIfTI files are read as they were written; damaged and lying ones end in pixels or a DataError that quotes nothing
# minutes: 2, 0.5 with --quick
# ci: yes
"""Writes DICOM files of every way to store pixels, and NIfTI volumes, reads them, and then damages them: `python tests/stress/medical.py [--quick]`

Files are cut off at many places, bytes of their headers are changed at random, lengths and sizes are replaced by huge ones, and gzip is made to unfold to gigabytes. Whatever happens, a reader
gives pixels or a DataError: one line that names the file and holds nothing of what the header says about the patient. It may neither hang nor ask for much memory."""
import argparse, gzip, io, resource, signal, struct, tempfile, warnings
from pathlib import Path
import numpy as np
from PIL import Image
from unet_nbdev.core import DataError
from unet_nbdev.dicom import dicom_patient
from unet_nbdev.images import DICOM, image_info, nodata_of, open_image, page_paths, reader_of
from unet_nbdev.nifti import volume_mismatch

SECRETS = 'SECRET7', 'Mustermann'
Y,X = np.mgrid[:48,:64]
CT = (X*50+Y*7).astype(np.uint16)

def data_set(a, **tags):
    "A DICOM data set with these pixels: (H,W), (frames,H,W), or either with three colours"
    import pydicom
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = '1.2.840.10008.1.2.1'
    ds.SOPClassUID,ds.SOPInstanceUID,ds.PatientID,ds.PatientName = '1.2','1.2.3',SECRETS[0],SECRETS[1]
    colour = a.shape[-1]==3
    ds.Rows,ds.Columns = a.shape[-3:-1] if colour else a.shape[-2:]
    ds.SamplesPerPixel,ds.PhotometricInterpretation = (3,'RGB') if colour else (1,'MONOCHROME2')
    if colour: ds.PlanarConfiguration = 0
    if a.ndim-colour==3: ds.NumberOfFrames = len(a)
    ds.BitsAllocated = ds.BitsStored = 8*a.dtype.itemsize
    ds.HighBit,ds.PixelRepresentation = ds.BitsStored-1,int(a.dtype.kind=='i')
    for k,v in tags.items(): setattr(ds, k, v)
    ds.PixelData = a.tobytes()
    return ds

def dicom_files():
    "Yield name, data set, and the pixels of its first page"
    import pydicom
    from pydicom.encaps import encapsulate
    hu = dict(BitsStored=12, HighBit=11, RescaleSlope='1', RescaleIntercept='-1024')
    yield 'ct', data_set(CT, **hu), CT.astype(np.int16)-1024
    yield 'xray', data_set(CT, BitsStored=12, HighBit=11, PhotometricInterpretation='MONOCHROME1'), (4095-CT).astype(np.int16)
    frames = np.stack([CT, CT+1, CT+2])
    yield 'frames', data_set(frames), CT
    rgb = np.stack([X, Y, X+Y], 2).astype(np.uint8)
    yield 'rgb', data_set(rgb), rgb
    names = [f'{o}PaletteColorLookupTable' for o in ('Red','Green','Blue')]
    table = {f'{o}Descriptor':[256,0,16] for o in names} | {f'{o}Data':(np.arange(256)*256).astype('<u2').tobytes() for o in names}
    grey = CT.astype(np.uint8)
    yield 'palette', data_set(grey, PhotometricInterpretation='PALETTE COLOR', **table), np.stack([grey]*3, 2)
    lut = pydicom.Dataset()
    lut.LUTDescriptor,lut.ModalityLUTType,lut.LUTData = [256,0,16],'US',(np.arange(256)**2).astype('<u2').tobytes()
    yield 'lut', data_set(grey, ModalityLUTSequence=[lut]), grey.astype(np.uint16)**2
    value,group = pydicom.Dataset(),pydicom.Dataset()
    value.RescaleSlope,value.RescaleIntercept = '2','-7'
    group.PixelValueTransformationSequence = [value]
    enhanced = data_set(frames, BitsStored=13, HighBit=12, SharedFunctionalGroupsSequence=[group])
    yield 'enhanced', enhanced, CT.astype(np.int16)*2-7
    for name,uid in dict(runs='RLELossless', j2k='JPEG2000Lossless', jls='JPEGLSLossless').items():
        ds = data_set(frames)
        ds.compress(getattr(pydicom.uid, uid))
        yield name, ds, CT
    buf = io.BytesIO()
    Image.fromarray(grey).save(buf, 'jpeg', quality=90)
    ds = data_set(grey)
    ds.file_meta.TransferSyntaxUID,ds.PixelData = pydicom.uid.JPEGBaseline8Bit,encapsulate([buf.getvalue()])
    ds['PixelData'].VR = 'OB'
    yield 'jpeg', ds, np.array(Image.open(buf))

def nifti_files():
    "Yield name, image of nibabel, and the pixels of its first page"
    import nibabel as nib
    a = (np.arange(9*8*7).reshape(9,8,7)%250).astype(np.int16)
    where = np.diag([-1.,-2,3,1])
    kinds = dict(int16=a, uint8=a.astype(np.uint8), float32=a.astype(np.float32), series=np.stack([a, a+1], 3))
    for name,o in kinds.items():
        for end in ('nii','nii.gz'): yield f'{name}.{end}', nib.Nifti1Image(o, where), o.reshape(9,8,7,-1)[:,:,0,0].T
    yield 'second.nii', nib.Nifti2Image(a, where), a[:,:,0].T
    swapped = nib.Nifti1Header(endianness='>')
    swapped.set_data_dtype('>i2')
    yield 'big.nii', nib.Nifti1Image(a, where, swapped), a[:,:,0].T
    scaled = nib.Nifti1Image(a, where)
    scaled.header.set_slope_inter(.5, 3)
    yield 'scaled.nii.gz', scaled, (a[:,:,0].T*.5+3).astype(np.float32)

def write_all(folder):
    "Write the files and read them back → paths"
    made = []
    for name,ds,expected in dicom_files():
        path = folder/f'{name}.dcm'
        ds.save_as(path, enforce_file_format=True)
        made.append((path, expected))
    for name,img,expected in nifti_files():
        img.to_filename(folder/name)
        made.append((folder/name, expected))
    for path,expected in made:
        found = open_image(page_paths(path)[0])
        assert found.dtype.newbyteorder('=')==expected.dtype.newbyteorder('=') and np.array_equal(found, expected), path
        assert image_info(path).sz==expected.shape[:2], path
    return [path for path,_ in made]

def damaged(path, n, rng):
    "Yield bytes: cut off, with bytes changed, and with huge numbers in the place of lengths and sizes"
    raw = path.read_bytes()
    packed = path.name.endswith('.gz')
    for end in {*rng.integers(0, len(raw), n).tolist(), 1, 131, 132, 140, 348, len(raw)-1}: yield raw[:end]
    plain = gzip.decompress(raw) if packed else raw
    def pack(o): return gzip.compress(bytes(o), 1, mtime=0) if packed else bytes(o)
    head = plain.find(b'\xe0\x7f\x10\0') if path.suffix=='.dcm' else 352
    for _ in range(n): # bytes changed at random
        o = bytearray(plain)
        for at in rng.integers(0, head+12, rng.integers(1, 6)): o[at] = rng.integers(256)
        yield pack(o)
    for _ in range(n): # numbers of 16 and 32 bits
        o = bytearray(plain)
        at = int(rng.integers(0, head+8))
        value = [b'\xff\xff\xff\xff', b'\xfe\xff\xff\xff', b'\xff\xff\xff\x7f', b'\xff\x7f', b'\0\0\0\0', b'\0\0'][rng.integers(6)]
        o[at:at+len(value)] = value
        yield pack(o)
    if path.suffix=='.dcm':
        for tag,values in {b'\x28\0\x10\0':(0,1,65535), b'\x28\0\x11\0':(0,65535), b'\x28\0\x00\x01':(0,1,32,64,65535)}.items():
            for value in values: # rows, columns, bits of a pixel
                yield plain.replace(tag+b'US\2\0'+plain[plain.find(tag)+8:][:2], tag+b'US\2\0'+struct.pack('<H', value))
        for count in (b'0 ', b'-1', b'99', b'1e', b'1\\'): yield plain.replace(b'IS\2\0003 ', b'IS\2\0'+count)
        for tag in (b'\x28\0\x10\0', b'\x28\0\x11\0'): yield plain.replace(tag, b'\x29\0\x10\0')
        yield both_sides(plain, 65535)
        yield both_sides(plain, 20000)
    else:
        for dims in ([3,32767,32767,32767], [4,32767,1,1,32767], [3,0,8,7], [3,-9,8,7], [7,9,8,7,2,2,2,2], [99,9,8,7], [2,9,8]):
            o = bytearray(plain)
            wide = plain[4:8]==b'n+2\0'
            order = '>' if path.name=='big.nii' else '<'
            struct.pack_into(f'{order}{len(dims)}{"q" if wide else "h"}', o, 16 if wide else 40, *dims)
            yield pack(o)

def both_sides(plain, side): # DICOM with this many rows and columns
    for tag in (b'\x28\0\x10\0', b'\x28\0\x11\0'):
        plain = plain.replace(tag+b'US\2\0'+plain[plain.find(tag)+8:][:2], tag+b'US\2\0'+struct.pack('<H', side))
    return plain

def bomb(): # a volume of 3 GB of zeros in 3 MB
    import nibabel as nib
    header = nib.Nifti1Header()
    header.set_data_shape((1024,1024,3072))
    header.set_data_dtype(np.uint8)
    header['sform_code'],header['srow_x'],header['srow_y'],header['srow_z'] = 1,[1,0,0,0],[0,1,0,0],[0,0,1,0]
    header['magic'],header['vox_offset'] = b'n+1',352
    zeros = bytes(2**24)
    buf = io.BytesIO()
    with gzip.GzipFile(fileobj=buf, mode='wb', compresslevel=9) as f:
        f.write(header.binaryblock+bytes(4))
        for _ in range(192): f.write(zeros)
    return buf.getvalue()

def last_page(path):
    for page in {page_paths(path)[0], page_paths(path)[-1]}: open_image(page)

READERS = (image_info, nodata_of, last_page)

def check(bad, other):
    "Read a damaged file in every way → whether all gave a result"
    fine = True
    for read in (*READERS, *([dicom_patient] if reader_of(bad) is DICOM else [lambda o: volume_mismatch(o, other)])):
        signal.alarm(20) # ends this program
        try: read(bad)
        except DataError as e:
            fine = False
            assert '\n' not in str(e) and bad.name in str(e), e
            assert not any(o in str(e) for o in SECRETS), e
        signal.alarm(0)
    return fine

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--quick', action='store_true', help='fewer damaged files')
    p.add_argument('--seed', type=int, default=0, help='of what is damaged (default: 0)')
    o = p.parse_args()
    n = 8 if o.quick else 60
    warnings.simplefilter('ignore')
    rng = np.random.default_rng(o.seed)
    with tempfile.TemporaryDirectory() as d:
        folder = Path(d)
        files = write_all(folder)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        done = fine = 0
        for path in files:
            end = '.dcm' if path.suffix=='.dcm' else '.nii.gz' if path.name.endswith('.gz') else '.nii'
            for raw in damaged(path, n, rng):
                bad = folder/f'damaged{done}{end}' # a new name each time, as headers are remembered
                bad.write_bytes(raw)
                try: fine += check(bad, files[-1])
                except Exception as e: raise AssertionError(f'{path.name}, damaged file {done}: {e!r}') from e
                done += 1
                bad.unlink()
        (folder/'bomb.nii.gz').write_bytes(bomb())
        assert not check(folder/'bomb.nii.gz', files[-1])
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss-before)/2**20 # Linux counts KiB
        assert peak<1, f'{peak:.1f} GiB of memory'
    print(f'{len(files)} DICOM and NIfTI files are read as they were written; of {done} damaged ones {fine} are still read, '
          f'and the others end in a DataError, in {peak:.2f} GiB')

if __name__=='__main__': main()
