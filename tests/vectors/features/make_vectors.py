#!/usr/bin/env python3
"""Writes features.tsv, an independent numpy version of design/recipe-eegmat's features.

    python3 tests/vectors/features/make_vectors.py ../shared/data > tests/vectors/features/features.tsv

wave    k  value      x[i] = 3 sin(.63 i) + .01 (i % 97) - 12 (i == 250): its 5 x 45 spectra, 8 stats
eegmat  k  sum  sum of squares   over the 12 windows of Subject00's rest: 45 bins, 8 stats"""
import sys
import numpy as np

BANDS = [(1, 3), (4, 7), (8, 9), (10, 12), (13, 19), (20, 29), (30, 45)]


def features(x, scale):  # x[..., 500] robust units
    p = x.reshape(*x.shape[:-1], 5, 100)
    w = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(100) / 100)
    f = np.abs(np.fft.rfft((p - p.mean(-1, keepdims=True)) * w))[..., 1:46] / np.sqrt((w**2).sum())
    power = (f**2).mean(-2)
    bands = [np.log(power[..., a - 1:b].mean(-1) + 1e-3) for a, b in BANDS]
    return np.log(f + 0.02), np.stack([2 * np.log(scale / 8) + 0 * bands[0]] + bands, -1)


def edf(path):
    b = open(path, "rb").read()
    n = int(b[252:256])
    limit = np.array([float(b[256 + 112 * n + 8 * i:][:8]) for i in range(n)])
    d = np.frombuffer(b[256 * (n + 1):], "<i2").reshape(60, n, 100).transpose(1, 0, 2).reshape(n, -1)
    return (d + 32768.0) / 65535 * 2 * limit[:, None] - limit[:, None]


i = np.arange(500)
spectra, stats = features(3 * np.sin(0.63 * i) + 0.01 * (i % 97) - 12 * (i == 250), 11.0)
for k, v in enumerate(np.concatenate([spectra.ravel(), stats])):
    print("wave", k, "%.9g" % v, sep="\t")
x = edf(f"{sys.argv[1]}/eegmat_100Hz/Subject00_rest.edf")
x -= np.median(x, 1, keepdims=True)
scale = 1.4826 * np.median(abs(x), 1)
z = (x / np.median(scale)).clip(-15, 15).reshape(19, 12, 500)
spectra, stats = features(z, scale[:, None])
for k in range(45):
    print("eegmat", k, "%.9g" % spectra[..., k].sum(), "%.9g" % (spectra[..., k]**2).sum(), sep="\t")
for k in range(8):
    print("eegmat", 45 + k, "%.9g" % stats[..., k].sum(), "%.9g" % (stats[..., k]**2).sum(), sep="\t")
