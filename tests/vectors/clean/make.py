#!/usr/bin/env python3
"""Writes spline.tsv: weights of MNE's spherical-spline interpolation (Debian python3-mne 1.3) from
eight places on the unit sphere to two others. Lines: from X Y Z | to X Y Z | weights W …"""
import numpy as np
from mne.channels.interpolation import _make_interpolation_matrix

draw = np.random.default_rng(5)
places = draw.normal(size=(10, 3))
places /= np.linalg.norm(places, axis=1)[:, None]
weights = _make_interpolation_matrix(places[:8], places[8:], alpha=1e-5)
with open(__file__.replace("make.py", "spline.tsv"), "w") as out:
    for kind, rows in (("from", places[:8]), ("to", places[8:]), ("weights", weights)):
        for row in rows:
            out.write(kind + "\t" + "\t".join(f"{v:.17g}" for v in row) + "\n")
