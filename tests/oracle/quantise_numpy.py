"""Oracle for models/tensor/quantise.c: NF4 and int8 codes of a matrix, by numpy and scipy.

    quantise_numpy.py FILE ROWS COLUMNS

reads float32 from FILE and writes FILE.nf4, FILE.nf4.scale, FILE.int8, FILE.int8.scale and
FILE.levels (float64). The sixteen levels are recomputed from normal quantiles as in appendix E of
the QLoRA paper (and bitsandbytes' create_normal_map).
"""
import sys

try:
    import numpy as np
    from scipy.stats import norm
except ImportError:
    sys.exit(77)

path, rows, columns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
w = np.fromfile(path, "<f4").reshape(rows, columns)

offset = 0.9677083  # bitsandbytes: the mean of 1 - 1/30 and 1 - 1/32 with one digit of each
above = norm.ppf(np.linspace(offset, 0.5, 9)[:-1])
below = -norm.ppf(np.linspace(offset, 0.5, 8)[:-1])
levels = np.sort(np.concatenate([above, [0.0], below]))
levels /= levels.max()
levels.astype("<f8").tofile(path + ".levels")

blocks = np.full((rows, -(-columns // 64) * 64), 0, np.float32)
blocks[:, :columns] = w
blocks = blocks.reshape(rows, -1, 64)
scale = np.abs(blocks).max(-1)
unit = np.divide(blocks, scale[..., None], out=np.zeros_like(blocks), where=scale[..., None] > 0)
stored = levels.astype(np.float32).astype(np.float64)
code = np.searchsorted((stored[1:] + stored[:-1]) / 2, unit.astype(np.float64), side="left")
code = code.reshape(rows, -1)[:, :columns].astype(np.uint8)
(code[:, 0::2] << 4 | code[:, 1::2]).tofile(path + ".nf4")
scale.astype("<f4").tofile(path + ".nf4.scale")

scale = np.abs(w).max(1) / np.float32(127)
unit = np.divide(w, scale[:, None], out=np.zeros_like(w), where=scale[:, None] > 0)
np.clip(np.rint(unit), -127, 127).astype(np.int8).tofile(path + ".int8")
scale.astype("<f4").tofile(path + ".int8.scale")
