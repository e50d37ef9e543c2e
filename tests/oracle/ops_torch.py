"""Every op of models/ops/ops.h once more in PyTorch, as an oracle for its value and gradients.

    ops_torch.py FOLDER

For each line of FOLDER/cases, "name rows columns rows columns …", reads name.in0 … (float32) and
name.dy, and writes name.y and name.grad0 … (float64). Everything is computed in float64 by
torch.nn.functional and autograd, in the plainest way, so that what the test compares is the whole
error of our float32. What besides tensors an op is told (labels, limits, masks) follows the same
rules as in tests/unit/models/test-op-parity.c. Exit code 77: no PyTorch here.
"""
import math
import sys

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
except ImportError:
    sys.exit(77)

torch.set_num_threads(1)
folder = sys.argv[1]


def every(n, k, is_):
    return torch.arange(n) % k == is_


def rms_norm(x, gain):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * gain


def swiglu(x):
    u, v = x.chunk(2, -1)
    return F.silu(u) * v


def rope(x):  # 12 positions of 0.35 s, three heads of 16 turned, the fourth not
    n = x.shape[0]
    period = 0.02 * torch.exp(math.log(300 / 0.02) * torch.arange(8, dtype=x.dtype) / 7)
    angle = 2 * math.pi * (torch.arange(n) % 12).double()[:, None] * 0.35 / period
    angle = angle[:, None]
    h = x.reshape(n, 4, 16)
    a, b = h[:, :3, :8], h[:, :3, 8:]
    c, s = torch.cos(angle), torch.sin(angle)
    turned = torch.cat([a * c - b * s, a * s + b * c], -1)
    return torch.cat([turned, h[:, 3:]], 1).reshape(n, 64)


def heads(x, batch):
    return x.reshape(batch, -1, 4, 16).transpose(1, 2)


def attention(q, k, v, batch, limits=None):
    q, k, v = (heads(x, batch) for x in (q, k, v))
    seen = None
    if limits is not None:
        seen = torch.arange(k.shape[2])[None] < limits[:, None]
    y = F.scaled_dot_product_attention(q, k, v, seen) if hasattr(F, "scaled_dot_product_attention") else \
        plain_attention(q, k, v, seen)
    return y.transpose(1, 2).reshape(-1, 64)


def plain_attention(q, k, v, seen):
    scores = q @ k.transpose(-1, -2) / 4
    if seen is not None:
        scores = scores.masked_fill(~seen, -math.inf)
    return torch.softmax(scores, -1) @ v


def mixture(base, x, h, gate):
    """Top-1 routing: rows of h whose gate is largest at expert 2 get x's row, in order."""
    p = torch.softmax(F.linear(h, gate), -1)
    rows = (p.argmax(-1) == 2).nonzero()[:, 0]
    return base.index_add(0, rows, p[rows, 2, None] * x[:len(rows)])


def unify(h, folded, visible):  # 3 windows, 7 channels, 5 patches, 2 heads of 3 queries
    h = h.reshape(3, 7, 5, 32)
    scores = torch.einsum("wcsd,kd->wskc", h, folded)
    if visible is not None:
        scores = scores.masked_fill(~visible.transpose(1, 2)[:, :, None], -1e30)
    p = torch.softmax(scores, -1)
    if visible is not None:
        p = p * visible.transpose(1, 2)[:, :, None]
    return torch.einsum("wskc,wcsd->wskd", p, h).reshape(3 * 5 * 3, 64)


def fold(queries, key):  # head e of W_key seen by head e of a query: [Q * H, d]
    q = queries.reshape(5, 4, 16)
    return torch.einsum("qhe,hed->qhd", q / 4, key.reshape(4, 16, 64)).reshape(20, 64)


def values(x, w):
    return torch.einsum("rhd,hed->rhe", x.reshape(-1, 4, 64), w.reshape(4, 16, 64)).reshape(-1, 64)


def pool(x, h):
    x = x.reshape(-1, 20, 64)
    a = torch.softmax(x @ h[0] / 8, 1)
    return (a[..., None] * x).sum(1)


def prototype_contrast(x, prototypes):
    u, labels = F.normalize(x), torch.arange(len(x)) % len(prototypes)
    return F.cross_entropy(u @ F.normalize(prototypes).T / 0.1, labels).reshape(1, 1)


def quadratic(x, target, a):
    m = a @ a.T / 8
    r = (x - target.detach())[~every(len(x), 3, 1)]
    return 0.01 * torch.einsum("rn,nm,rm->", r, m.detach(), r).reshape(1, 1)


def poisson(x, counts):
    keep = ~every(len(x), 3, 1)
    counts = counts.abs().round().detach()
    return 0.01 * F.poisson_nll_loss(x[keep], counts[keep], log_input=True, full=False,
                                     reduction="sum").reshape(1, 1)


def square_error(x, target):
    keep = ~every(len(x), 3, 1)
    return 0.01 * F.mse_loss(x[keep], target.detach()[keep], reduction="sum").reshape(1, 1)


def cross_entropy(x):
    targets = ((torch.arange(len(x)) % 5).double() * 0.25)[:, None]
    return F.binary_cross_entropy_with_logits(x, targets).reshape(1, 1)


VISIBLE = (torch.arange(3 * 7 * 5) * 7 % 5 < 3).reshape(3, 7, 5)
VISIBLE[0, :, 2] = False
CAUSAL = (torch.arange(20) // 4 + 1) * 4

OPS = {
    "linear": lambda x, w, b: F.linear(x, w, b[0]),
    "linear_plain": F.linear,
    "add_rows": lambda x, v: x + v[torch.arange(len(x)) // 3 % len(v)],
    "rms_norm": rms_norm,
    "layer_norm": lambda x, g, b: F.layer_norm(x, x.shape[1:], g[0], b[0]),
    "silu": F.silu,
    "gelu": F.gelu,
    "swiglu": swiglu,
    "softmax": lambda x: torch.softmax(x, -1),
    "unit_norm": F.normalize,
    "embedding": lambda x: F.embedding(torch.arange(90) * 7 % len(x), x),
    "choose": lambda x, v: torch.where(every(len(x), 3, 1)[:, None], v, x),
    "residual": lambda x, f: x + f,
    "dropout": lambda x, mask: x * mask.detach(),
    "rope": rope,
    "self_attention": lambda x: attention(*x.chunk(3, -1), 3),
    "block_causal_attention": lambda x: attention(*x.chunk(3, -1), 3, CAUSAL),
    "cross_attention": lambda q, k, v: attention(q, k, v, 3),
    "mixture": mixture,
    "fold": fold,
    "unify": lambda h, f: unify(h, f, None),
    "unify_ragged": lambda h, f: unify(h, f, VISIBLE),
    "values": values,
    "pool": pool,
    "cross_entropy": cross_entropy,
    "class_entropy": lambda x: F.cross_entropy(x, torch.arange(len(x)) % x.shape[1]).reshape(1, 1),
    "prototype_contrast": prototype_contrast,
    "square_error": square_error,
    "poisson": poisson,
    "quadratic": quadratic,
    "fourier": lambda x: fourier(x),
}


def fourier(x):
    angles = (x[:, :, None] * math.pi / 2 * 2 ** (torch.arange(16, dtype=x.dtype) * 4 / 15))
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(1)


def read(name, shape):
    return torch.tensor(np.fromfile(f"{folder}/{name}", "<f4").reshape(shape).astype("f8"))


for line in open(f"{folder}/cases"):
    name, *sizes = line.split()
    sizes = [int(s) for s in sizes]
    inputs = [read(f"{name}.in{i}", sizes[2 * i:2 * i + 2]).requires_grad_() for i in range(len(sizes) // 2)]
    y = OPS[name](*inputs)
    y.detach().numpy().tofile(f"{folder}/{name}.y")
    y.backward(read(f"{name}.dy", y.shape))
    for i, x in enumerate(inputs):
        g = x.grad if x.grad is not None else torch.zeros_like(x)
        g.numpy().tofile(f"{folder}/{name}.grad{i}")
