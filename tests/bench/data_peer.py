#!/usr/bin/env python3
"""Peer of bench-data: MNE decoding a file, scipy running the same chain. One thread.

    data_peer.py FILE OUT   → prints "decode S" and "chain S"; OUT gets the first channel's
                              result of the chain, float64
The chain: average reference, notch 50 Hz (Q 30), Butterworth-4 band-pass 0.5-40 Hz, both
forward and backward, resample_poly to a quarter of the rate."""
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
best = float("inf")
for _ in range(2):
    start = time.perf_counter()
    y = x - x.mean(0)
    y = signal.filtfilt(b, a, y)
    y = signal.sosfiltfilt(sos, y)
    y = signal.resample_poly(y, 1, 4, axis=1)
    best = min(best, time.perf_counter() - start)
print("chain", best, flush=True)
y[0].tofile(sys.argv[2])
