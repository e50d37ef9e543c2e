"""Reads a federation's model file: tensors(path) gives its metadata and a dictionary of PyTorch
tensors by name. Weights in int8 or NF4 (docs/models.md) come out as the numbers they stand for."""
import json
import struct

import numpy as np
import torch

DTYPES = {"F32": "<f4", "I8": "i1", "U8": "u1"}
NF4 = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
                -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
                0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
                0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0], np.float32)


def numbers(codes, scale):
    """Codes of a matrix as numbers: int8 with a scale a row, NF4 (two a byte) one for 64 columns."""
    if codes.dtype == np.int8:
        return codes.astype(np.float32) * scale[:, None]
    levels = NF4[np.stack([codes >> 4, codes & 15], -1).reshape(len(codes), -1)]
    return levels * np.repeat(scale.reshape(len(codes), -1), 64, 1)[:, :levels.shape[1]]


def tensors(path):
    raw = open(path, "rb").read()
    end = 8 + struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:end])
    meta = header.pop("__metadata__")
    w = {}
    for name, t in header.items():
        first, last = t["data_offsets"]
        w[name] = np.frombuffer(raw[end + first:end + last], DTYPES[t["dtype"]]).reshape(t["shape"])
    for name in [n for n in w if w[n].dtype != np.float32]:
        w[name] = numbers(w[name], w.pop(name + ".scale"))
    return meta, {name: torch.tensor(x) for name, x in w.items()}
