"""Training steps of the nano network in PyTorch, as the peer of tests/bench/bench-train.c.

    train_torch.py CASE     CASE is JSON: width, blocks, queries, heads, feed_forward, patches,
                            patch_seconds, patch_samples, bins, stats, windows, channels, objective,
                            threads, bf16, steps, folder
Prints JSON: seconds (median of a step), peak_rss_mb, version, blas. Exit code 77: no PyTorch here.
With steps 0 it prints the loss (no dropout) of the model and batch that lie in the folder instead:
model.safetensors, patches, spectra, stats, positions (f32), labels, visible (u8).

Written as one would: F.linear, keys and values of every token, torch.optim.AdamW,
clip_grad_norm_, dropout, autocast for bf16; a current PyTorch's own attention and fused AdamW where
there are any. CASE's threads are the OMP threads.
"""
import array
import json
import math
import os
import resource
import struct
import sys
import time

CASE = json.loads(sys.argv[1])
os.environ["OMP_NUM_THREADS"] = str(CASE["threads"])

try:
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
except ImportError:
    sys.exit(77)


FUSED = hasattr(F, "scaled_dot_product_attention")


def blas():
    """What Debian's PyTorch multiplies with: whatever stands behind libblas.so.3."""
    maps = open("/proc/self/maps").read()
    for word, name in (("openblas-openmp", "OpenBLAS, OpenMP"), ("openblas", "OpenBLAS"),
                       ("libmkl", "MKL"), ("blis", "BLIS"), ("libblas", "reference BLAS")):
        if word in maps:
            return name
    return "MKL" if torch.backends.mkl.is_available() else "?"


def rms(x):
    return x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)


def attention(q, k, v):
    if FUSED:
        return F.scaled_dot_product_attention(q, k, v)
    return torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), -1) @ v


def attend(q, k, v, n):
    split = lambda x: x.reshape(x.shape[0], x.shape[1], n, -1).transpose(1, 2)
    q, k, v = split(q), split(k), split(v)
    a = attention(q, k, v)
    return a.transpose(1, 2).reshape(a.shape[0], a.shape[2], -1)


class Block(nn.Module):
    def __init__(self, c, cosines, sines):
        super().__init__()
        d, f = c["width"], c["feed_forward"]
        self.n, self.cosines, self.sines = c["heads"], cosines, sines
        self.qkv, self.out = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.up, self.down = nn.Linear(d, 2 * f, bias=False), nn.Linear(f, d, bias=False)
        self.norm1, self.norm2 = nn.Parameter(torch.ones(d)), nn.Parameter(torch.ones(d))
        self.drop = nn.Dropout(0.2)

    def rope(self, x):
        a, b = x.chunk(2, -1)
        return torch.cat([a * self.cosines - b * self.sines, a * self.sines + b * self.cosines], -1)

    def forward(self, z):
        B, T, d = z.shape
        x = self.qkv(rms(z) * self.norm1).reshape(B, T, 3, self.n, d // self.n)
        q, k, v = x.permute(2, 0, 3, 1, 4)
        q, k = self.rope(q), self.rope(k)
        a = attention(q, k, v)
        z = z + self.drop(self.out(a.transpose(1, 2).reshape(B, T, d)))
        u, v = self.up(rms(z) * self.norm2).chunk(2, -1)
        return z + self.drop(self.down(F.silu(u) * v))


class Nano(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, d, n_in = c, c["width"], c["patch_samples"] + c["bins"]
        self.tokens, self.stats = nn.Linear(n_in, d), nn.Linear(c["stats"], d, bias=False)
        self.place = nn.Sequential(nn.Linear(96, d), nn.SiLU(), nn.Linear(d, d))
        self.queries = nn.Parameter(torch.randn(c["queries"], d))
        linear = lambda: nn.Linear(d, d, bias=False)
        self.uq, self.uk, self.uv, self.uo = linear(), linear(), linear(), linear()
        half = d // c["heads"] // 2
        periods = torch.exp(torch.linspace(math.log(2), math.log(300), half))
        seconds = torch.arange(c["patches"]).repeat_interleave(c["queries"]) * c["patch_seconds"]
        angles = 2 * math.pi * seconds[:, None] / periods
        self.blocks = nn.ModuleList(
            [Block(c, angles.cos(), angles.sin()) for _ in range(c["blocks"])])
        self.dq, self.dk, self.dv = linear(), linear(), linear()
        self.dt, self.do = nn.Linear(16, d, bias=False), nn.Linear(d, n_in)
        self.pool, self.norm = nn.Parameter(torch.randn(d)), nn.Parameter(torch.ones(d))
        self.head, self.drop = nn.Linear(d, 1), nn.Dropout(0.2)
        self.register_buffer("place_features", torch.randn(c["channels"], 96))
        steps = torch.arange(c["patches"])[:, None] / c["patches"] * math.pi * torch.arange(1, 9)
        self.register_buffer("times", torch.cat([steps.sin(), steps.cos()], -1))

    def encode(self, x, stats, visible):
        c, n = self.c, self.c["heads"]
        B, C, S, _ = x.shape
        code = self.place(self.place_features) + self.stats(stats)
        h = rms(self.tokens(x) + code[:, :, None])
        q = self.uq(self.queries).reshape(c["queries"], n, -1)
        k, v = self.uk(h).reshape(B, C, S, n, -1), self.uv(h).reshape(B, C, S, n, -1)
        scores = torch.einsum("qhe,bcshe->bshqc", q, k) / math.sqrt(c["width"] // n)
        if visible is not None:
            scores = scores.masked_fill(~visible.permute(0, 2, 1)[:, :, None, None, :], -1e9)
        z = torch.einsum("bshqc,bcshe->bsqhe", torch.softmax(scores, -1), v.to(scores.dtype))
        z = self.uo(z.reshape(B, S * c["queries"], -1)) + self.queries.repeat(S, 1)
        for block in self.blocks:
            z = block(z)
        return rms(z), code

    def classify(self, x, stats, y):
        z, _ = self.encode(x, stats, None)
        a = torch.softmax(z @ self.pool / math.sqrt(z.shape[-1]), 1)
        p = self.drop(rms((a[..., None] * z).sum(1)) * self.norm)
        return F.binary_cross_entropy_with_logits(self.head(p)[:, 0].float(), y)

    def reconstruct(self, x, stats, visible):
        z, code = self.encode(x, stats, visible)
        B, C, S, _ = x.shape
        asked = rms(code[:, :, None] + self.dt(self.times)).reshape(B, C * S, -1)
        o = attend(self.dq(asked), self.dk(z), self.dv(z), self.c["heads"])
        return ((self.do(o).float().reshape(x.shape) - x) ** 2)[~visible].mean()


NAMES = {"tokens": "tokens", "place.hidden": "place.0", "place.output": "place.2", "stats": "stats",
         "unifier.query": "uq", "unifier.key": "uk", "unifier.value": "uv", "unifier.output": "uo",
         "decoder.query": "dq", "decoder.key": "dk", "decoder.value": "dv", "decoder.time": "dt",
         "decoder.output": "do", "head": "head", "attention.qkv": "qkv", "attention.output": "out",
         "feed_forward.input": "up", "feed_forward.output": "down"}
LONE = {"unifier.queries": "queries", "head.query": "pool", "head.norm": "norm",
        "attention.norm": "norm1", "feed_forward.norm": "norm2"}


def ours(name):
    """The name of one of our tensors in this module."""
    block = ""
    if name.startswith("block."):
        _, index, name = name.split(".", 2)
        block = "blocks.%s." % index
    if name in LONE:
        return block + LONE[name]
    module, kind = name.rsplit(".", 1)
    return block + NAMES[module] + "." + kind


def read(folder, name, kind, *shape):
    values = array.array(kind, open(folder + "/" + name, "rb").read())
    return torch.tensor(values, dtype=torch.float32 if kind == "f" else torch.bool).reshape(shape)


def loss_of(c):
    """Of the model and batch in a folder."""
    raw = open(c["folder"] + "/model.safetensors", "rb").read()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + size])
    net, state, features = Nano(c), {}, {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        values = array.array("f", raw[8 + size + first:8 + size + last])
        values = torch.tensor(values).reshape(entry["shape"])
        if name.startswith("features."):
            features[name] = values
        else:
            state[ours(name)] = values
    missing = net.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys, missing.unexpected_keys
    shape = (c["windows"], c["channels"], c["patches"])
    f, bins = c["folder"], c["bins"]
    mean, sd = features["features.mean"], features["features.sd"]
    spectra = (read(f, "spectra", "f", *shape, bins) - mean[:bins]) / sd[:bins]
    x = torch.cat([read(f, "patches", "f", *shape, c["patch_samples"]), spectra], -1)
    stats = (read(f, "stats", "f", *shape[:2], c["stats"]) - mean[bins:]) / sd[bins:]
    frequencies = 2.0 ** (torch.arange(16) * (4 / 15.0)) * math.pi / 2
    angles = read(f, "positions", "f", c["channels"], 3)[:, :, None] * frequencies
    net.place_features = torch.cat([angles.sin(), angles.cos()], -1).reshape(c["channels"], -1)
    net.eval()
    with torch.no_grad():
        if c["objective"] == "reconstruction":
            loss = net.reconstruct(x, stats, read(f, "visible", "B", *shape))
        else:
            loss = net.classify(x, stats, read(f, "labels", "B", c["windows"]).float())
    print(json.dumps({"loss": float(loss)}))


def main(c):
    if blas() == "reference BLAS":  # twenty times slower than any other: no peer
        print(json.dumps({"version": torch.__version__, "blas": blas(), "seconds": 0}))
        return
    torch.set_num_threads(c["threads"])
    torch.manual_seed(0)
    net = Nano(c)
    recon = c["objective"] == "reconstruction"
    unused = ("pool", "norm", "head") if recon else ("dq", "dk", "dv", "dt", "do")
    params = [p for n, p in net.named_parameters() if n.split(".")[0] not in unused]
    options = {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0.05}
    optimiser = torch.optim.AdamW(params, **options, **({"fused": True} if FUSED else {}))
    shape = (c["windows"], c["channels"], c["patches"])
    x = torch.randn(*shape, c["patch_samples"] + c["bins"])
    stats, y = torch.randn(*shape[:2], c["stats"]), (torch.arange(shape[0]) % 2).float()
    visible = torch.rand(shape) < 0.5
    visible[:, 0] = True
    seconds = []
    for _ in range(c["steps"] + 2):
        start = time.perf_counter()
        optimiser.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bool(c["bf16"])):
            loss = net.reconstruct(x, stats, visible) if recon else net.classify(x, stats, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        seconds.append(time.perf_counter() - start)
    seconds = sorted(seconds[2:])
    print(json.dumps({"version": torch.__version__, "blas": blas(),
                      "seconds": seconds[len(seconds) // 2],
                      "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if CASE["steps"]:
    main(CASE)
else:
    loss_of(CASE)
