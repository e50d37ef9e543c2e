#!/usr/bin/env python3
"""Peer of bench-data: writes the files, decodes them with what people use, and runs the same chain
with MNE and with scipy. One thread. Reads commands, one a line, and answers each with one line:

    make FORMAT          → path of the file, or "-" where its writer is not installed
    decode FORMAT PATH   → name of the reader, seconds of processor time
    chain mne|scipy      → seconds of processor time; scipy's leaves FOLDER/result, float64

    data_peer.py FOLDER RATE   FOLDER/samples: int16 [64][n], of 0.1 uV
The chain: average reference, notch 50 Hz (Q 30), Butterworth-4 band-pass 0.5-40 Hz, both forward
and backward, then a quarter of the rate. scipy: filtfilt, sosfiltfilt, resample_poly, which is what
ours is compared with. MNE: as one writes it there, with the very same filters; its resampling is
its own, by FFT."""
import os, sys, time, warnings

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
warnings.filterwarnings("ignore")
import numpy as np
import mne
from scipy import io, signal

mne.set_log_level("ERROR")
CHANNELS = 64
folder, rate = sys.argv[1], float(sys.argv[2])
digital = np.memmap(folder + "/samples", "<i2", "r").reshape(CHANNELS, -1)
names = [f"E{c + 1}" for c in range(CHANNELS)]
sos = signal.butter(4, [0.5, 40], "bandpass", fs=rate, output="sos")
b, a = signal.iirnotch(50, 30, rate)


def bdf(path):
    """24 bits, of 1 uV; nothing on Debian writes BDF."""
    n = digital.shape[1] // int(rate)

    def field(width, values):
        return b"".join(f"{v:<{width}}".encode()[:width] for v in values)

    head = b"\xffBIOSEMI" + field(80, ["X", "SYNTHETIC"]) + field(8, ["01.01.01", "00.00.00"])
    head += field(8, [256 * (CHANNELS + 1)]) + field(44, ["24BIT"]) + field(8, [n, 1]) + field(4, [CHANNELS])
    for width, values in ((16, names), (80, [""] * CHANNELS), (8, ["uV"] * CHANNELS),
                          (8, [-8388608] * CHANNELS), (8, [8388607] * CHANNELS),
                          (8, [-8388608] * CHANNELS), (8, [8388607] * CHANNELS), (80, [""] * CHANNELS),
                          (8, [int(rate)] * CHANNELS), (32, [""] * CHANNELS)):
        head += field(width, values)
    with open(path, "wb") as file:
        file.write(head)
        for record in range(n):
            part = digital[:, record * int(rate):(record + 1) * int(rate)].astype("<i4")
            file.write(np.ascontiguousarray(part).view("u1").reshape(-1, 4)[:, :3].tobytes())


def brainvision(path):
    base = os.path.basename(path)[:-5]
    text = f"""Brain Vision Data Exchange Header File Version 1.0
[Common Infos]
Codepage=UTF-8
DataFile={base}.eeg
MarkerFile={base}.vmrk
DataFormat=BINARY
DataOrientation=MULTIPLEXED
NumberOfChannels={CHANNELS}
SamplingInterval={1e6 / rate:.10g}
[Binary Infos]
BinaryFormat=INT_16
[Channel Infos]
""" + "".join(f"Ch{c + 1}={n},,0.1,µV\n" for c, n in enumerate(names))
    open(path, "w", encoding="utf-8").write(text)
    open(path[:-5] + ".vmrk", "w").write("Brain Vision Data Exchange Marker File, Version 1.0\n"
                                         f"[Common Infos]\nDataFile={base}.eeg\n[Marker Infos]\n")
    np.ascontiguousarray(digital.T).tofile(path[:-5] + ".eeg")


def fif(path):
    info = mne.create_info(names, rate, "eeg")
    mne.io.RawArray(digital * 1e-7, info).save(path, fmt="single", overwrite=True)


def nwb(path):
    import h5py
    with h5py.File(path, "w") as f:
        f.attrs["nwb_version"] = "2.6.0"
        f.attrs["neurodata_type"] = "NWBFile"
        f.attrs["namespace"] = "core"
        series = f.create_group("acquisition/ElectricalSeries")
        series.attrs["neurodata_type"] = "ElectricalSeries"
        series.attrs["namespace"] = "core"
        data = series.create_dataset("data", data=np.ascontiguousarray(digital.T), chunks=(8192, CHANNELS))
        data.attrs.update({"unit": "volts", "conversion": 1e-7, "offset": 0.0, "resolution": -1.0})
        start = series.create_dataset("starting_time", data=0.0)
        start.attrs.update({"rate": rate, "unit": "seconds"})


def nifti(path):
    import nibabel
    n = digital.size // 4096 # not of the brain: the same numbers as so many voxels
    image = nibabel.Nifti1Image(np.asarray(digital).ravel()[:4096 * n].reshape((16, 16, 16, n), order="F"),
                                np.eye(4))
    image.header.set_slope_inter(1, 0)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 1
    nibabel.save(image, path)


def read_nwb(path):
    import h5py
    with h5py.File(path) as f:
        return f["acquisition/ElectricalSeries/data"][:].astype("f4") * 1e-7


def read_nifti(path):
    import nibabel
    return nibabel.load(path).get_fdata(dtype=np.float32)


# format: ending, writer, name of the reader people use, it
formats = {
    "edf": ("edf", None, "mne", lambda p: mne.io.read_raw_edf(p, preload=True)),
    "bdf": ("bdf", bdf, "mne", lambda p: mne.io.read_raw_bdf(p, preload=True)),
    "brainvision": ("vhdr", brainvision, "mne", lambda p: mne.io.read_raw_brainvision(p, preload=True)),
    "fif": ("fif", fif, "mne", lambda p: mne.io.read_raw_fif(p, preload=True)),
    "nwb": ("nwb", nwb, "h5py", read_nwb),
    "nifti": ("nii", nifti, "nibabel", read_nifti),
    "nifti-gz": ("nii.gz", nifti, "nibabel", read_nifti),
    "mat5": ("mat", lambda p: io.savemat(p, {"x": digital * 0.1}), "scipy", lambda p: io.loadmat(p)["x"]),
    "npy": ("npy", lambda p: np.save(p, (digital * 0.1).astype("f4")), "numpy", np.load),
}


def by_mne(raw):
    raw.set_eeg_reference("average", projection=False)
    raw.notch_filter(50, method="iir", iir_params={"b": b, "a": a, "padlen": 9})
    raw.filter(0.5, 40, method="iir", iir_params={"sos": sos, "output": "sos", "padlen": 27})
    raw.resample(rate / 4)


def by_scipy(x):
    y = x - x.mean(0)
    y = signal.filtfilt(b, a, y)
    y = signal.sosfiltfilt(sos, y)
    return signal.resample_poly(y, 1, 4, axis=1)


def answer(words):
    if words[0] == "make":
        path = f"{folder}/a.{formats[words[1]][0]}"
        try:
            formats[words[1]][1](path)
        except ImportError:
            return "-"
        return path
    if words[0] == "decode":
        start = time.process_time()
        formats[words[1]][3](words[2])
        return f"{formats[words[1]][2]} {time.process_time() - start}"
    if words[1] == "mne":
        raw = mne.io.RawArray(digital * 1e-7, mne.create_info(names, rate, "eeg"))
        start = time.process_time()
        by_mne(raw)
        return str(time.process_time() - start)
    x = digital * 0.1
    start = time.process_time()
    y = by_scipy(x)
    seconds = time.process_time() - start
    y[0].tofile(folder + "/result")
    return str(seconds)


for line in sys.stdin:
    print(answer(line.split()), flush=True)
