"""Training steps of the nano network in PyTorch, as the peer of tests/bench/bench-train.c.

    train_torch.py CASE     CASE is JSON: width, blocks, queries, heads, feed_forward, patches,
                            patch_samples, bins, stats, windows, channels, objective, threads,
                            bf16, steps
Prints JSON: seconds (median of a step), peak_rss_mb. Exit code 77: no PyTorch here.

Written as one would: F.linear, keys and values of every token, torch.optim.AdamW,
clip_grad_norm_, dropout, autocast for bf16. CASE's threads are the OMP threads.
"""
import json
import math
import os
import resource
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


def rms(x):
    return x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)


def attend(q, k, v, n):
    split = lambda x: x.reshape(x.shape[0], x.shape[1], n, -1).transpose(1, 2)
    q, k, v = split(q), split(k), split(v)
    a = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), -1) @ v
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
        a = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(d // self.n), -1) @ v
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
        half, T = d // c["heads"] // 2, c["patches"] * c["queries"]
        periods = torch.exp(torch.linspace(math.log(2), math.log(300), half))
        angles = torch.arange(T)[:, None] * 2 * math.pi / periods
        self.blocks = nn.ModuleList(
            [Block(c, angles.cos(), angles.sin()) for _ in range(c["blocks"])])
        self.dq, self.dk, self.dv = linear(), linear(), linear()
        self.dt, self.do = nn.Linear(16, d, bias=False), nn.Linear(d, n_in)
        self.pool, self.norm = nn.Parameter(torch.randn(d)), nn.Parameter(torch.ones(d))
        self.head, self.drop = nn.Linear(d, 1), nn.Dropout(0.2)
        self.register_buffer("place_features", torch.randn(c["channels"], 96))
        self.register_buffer("times", torch.randn(c["patches"], 16))

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


def main(c):
    torch.set_num_threads(c["threads"])
    torch.manual_seed(0)
    net = Nano(c)
    recon = c["objective"] == "reconstruction"
    unused = ("pool", "norm", "head") if recon else ("dq", "dk", "dv", "dt", "do")
    params = [p for n, p in net.named_parameters() if n.split(".")[0] not in unused]
    optimiser = torch.optim.AdamW(params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.05)
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
    print(json.dumps({"seconds": seconds[len(seconds) // 2],
                      "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


main(CASE)
