#!/usr/bin/env python3
"""Peer of bench-data: MNE decoding a file, MNE and scipy running the same chain. One thread.

    data_peer.py FILE OUT   → prints "decode S", "mne S" and "scipy S"; OUT gets the first channel's
                              result of scipy's chain, float64
The chain: average reference, notch 50 Hz (Q 30), Butterworth-4 band-pass 0.5-40 Hz, both forward
and backward, then a quarter of the rate. scipy: filtfilt, sosfiltfilt, resample_poly, which is
what ours is compared with. MNE: as one writes it there, with the very same filters; its resampling
is its own, by FFT."""
import os, sys, time, warnings

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
warnings.filterwarnings("ignore")
import numpy as np
import mne
from scipy import signal

mne.set_log_level("ERROR")
best = float("inf")
for _ in range(3):
    start = time.perf_counter()
    raw = mne.io.read_raw_edf(sys.argv[1], preload=True)
    best = min(best, time.perf_counter() - start)
print("decode", best, flush=True)
x, rate = raw.get_data() * 1e6, raw.info["sfreq"]
sos = signal.butter(4, [0.5, 40], "bandpass", fs=rate, output="sos")
b, a = signal.iirnotch(50, 30, rate)


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


best = float("inf")
for _ in range(2):
    copy = raw.copy()
    start = time.perf_counter()
    by_mne(copy)
    best = min(best, time.perf_counter() - start)
print("mne", best, flush=True)
del copy
best = float("inf")
for _ in range(2):
    start = time.perf_counter()
    y = by_scipy(x)
    best = min(best, time.perf_counter() - start)
print("scipy", best, flush=True)
y[0].tofile(sys.argv[2])
