#!/usr/bin/env python3
"""Oracle of test-nifti: images written and read by nibabel.

    nifti_nibabel.py FOLDER IMAGE   → FOLDER/NAME and FOLDER/NAME.want, for every NAME printed:
                                      float64 [volumes][voxels], the first voxel index fastest
IMAGE (gzipped, of the shared recordings) is read, not written. Exit 77: nibabel is not installed."""
import gzip, os, shutil, sys

try:
    import nibabel
    import numpy as np
except ImportError:
    sys.exit(77)
folder, shared = sys.argv[1:]
draw = np.random.default_rng(1)
shape = (5, 4, 3, 7)


def want(name):
    data = np.asarray(nibabel.load(f"{folder}/{name}").dataobj, dtype="f8")
    data.ravel(order="F").tofile(f"{folder}/{name}.want")
    print(name)


def make(name, dtype, kind=nibabel.Nifti1Image, header=None, slope=1, inter=0):
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        values = draw.integers(max(info.min, -2**23), min(info.max, 2**23), shape).astype(dtype)
    else:
        values = draw.normal(0, 1e3, shape).astype(dtype)
    image = kind(values, np.diag([2, 2, 3, 1]), header=header)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2
    nibabel.save(image, f"{folder}/{name}")
    # nibabel rescales what is saved with a slope: it is put where it belongs, the integers stay.
    if (slope, inter) != (1, 0):
        two = kind is nibabel.Nifti2Image
        with open(f"{folder}/{name}", "r+b") as file:
            file.seek(176 if two else 112)
            file.write(np.array([slope, inter], "<f8" if two else "<f4").tobytes())
    want(name)


make("i16.nii", np.int16)
make("u8.nii.gz", np.uint8)
make("i32.nii", np.int32)
make("f32.nii.gz", np.float32)
make("f64.nii", np.float64)
make("u16.nii", np.uint16)
make("scaled.nii", np.int16, slope=0.0123, inter=-7.5)
make("second.nii.gz", np.int16, nibabel.Nifti2Image)
make("second_scaled.nii", np.int16, nibabel.Nifti2Image, slope=2.5e-3, inter=100)
make("big_endian.nii", np.int16, header=nibabel.Nifti1Header(endianness=">"))
# A gzip file may have several members.
whole = nibabel.Nifti1Image(draw.integers(-2**15, 2**15, shape).astype("<i2"), np.eye(4)).to_bytes()
with open(f"{folder}/members.nii.gz", "wb") as file:
    file.write(gzip.compress(whole[:700]) + gzip.compress(whole[700:]))
want("members.nii.gz")
if os.path.exists(shared):
    shutil.copy(shared, f"{folder}/shared.nii.gz")
    want("shared.nii.gz")
