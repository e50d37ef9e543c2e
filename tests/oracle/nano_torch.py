"""The nano network once more, in PyTorch, as an oracle for models/nets/nano.c.

    nano_torch.py FOLDER

FOLDER holds what tests/unit/models/test-parity.c wrote: model.safetensors, case.json and
raw little-endian arrays (patches, spectra, stats, positions: f32; labels, visible: u8).
Written there: loss.f64, logits.f64, gradients.f64 (flat, in table order) and stepped.f64,
the parameters after one AdamW step. Everything in float64. Exit code 77: no PyTorch here.

Plainly written: keys and values of every token, no folding, autograd for every gradient.
"""
import json
import math
import struct
import sys

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
except ImportError:
    sys.exit(77)


def read_safetensors(path):
    raw = open(path, "rb").read()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + size])
    meta = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        values = np.frombuffer(raw[8 + size + first:8 + size + last], "<f4")
        tensors[name] = torch.tensor(values.astype("f8").reshape(entry["shape"]))
    return meta, tensors


def rms(x):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def heads(x, n):
    """[B, T, d] -> [B, n, T, d / n]"""
    return x.reshape(x.shape[0], x.shape[1], n, -1).transpose(1, 2)


def attend(q, k, v, n):
    q, k, v = heads(q, n), heads(k, n), heads(v, n)
    a = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), -1) @ v
    return a.transpose(1, 2).reshape(a.shape[0], a.shape[2], -1)


def rotate(x, cosines, sines):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cosines - b * sines, a * sines + b * cosines], -1)


class Nano:
    def __init__(self, meta, w, case):
        self.w, self.case = w, case
        for key in ("width", "blocks", "queries", "heads", "patches", "bins"):
            setattr(self, key, int(meta[key]))
        self.patch_seconds = float(meta["patch_seconds"])

    def channel_code(self, stats, positions):
        frequencies = 2.0 ** (torch.arange(16, dtype=torch.float64) * (4 / 15.0)) * math.pi / 2
        angles = positions[:, :, None] * frequencies
        place = torch.cat([angles.sin(), angles.cos()], -1).reshape(len(positions), -1)
        w = self.w
        place = F.silu(place @ w["place.hidden.weight"].T + w["place.hidden.bias"])
        place = place @ w["place.output.weight"].T + w["place.output.bias"]
        mean, sd = w["features.mean"][self.bins:], w["features.sd"][self.bins:]
        return place + (stats - mean) / sd @ w["stats.weight"].T

    def unify(self, tokens, visible):
        w, n = self.w, self.heads
        B, C, S, d = tokens.shape
        h = rms(tokens)
        q = (w["unifier.queries"] @ w["unifier.query.weight"].T).reshape(self.queries, n, -1)
        k = (h @ w["unifier.key.weight"].T).reshape(B, C, S, n, -1)
        v = (h @ w["unifier.value.weight"].T).reshape(B, C, S, n, -1)
        scores = torch.einsum("qhe,bcshe->bshqc", q, k) / math.sqrt(d // n)
        if visible is not None:
            hidden = ~visible.permute(0, 2, 1)[:, :, None, None, :]
            scores = scores.masked_fill(hidden, -1e300)
        z = torch.einsum("bshqc,bcshe->bsqhe", torch.softmax(scores, -1), v)
        z = z.reshape(B, S * self.queries, d) @ w["unifier.output.weight"].T
        return z + w["unifier.queries"].repeat(S, 1)

    def rotary(self):
        half = self.width // self.heads // 2
        periods = torch.exp(torch.linspace(math.log(2), math.log(300), half, dtype=torch.float64))
        seconds = torch.arange(self.patches).repeat_interleave(self.queries) * self.patch_seconds
        angles = 2 * math.pi * seconds[:, None] / periods
        return angles.cos(), angles.sin()

    def block(self, z, i, cosines, sines):
        w = {k.split(".", 2)[2]: v for k, v in self.w.items() if k.startswith(f"block.{i}.")}
        n = self.heads
        q, k, v = (rms(z) * w["attention.norm"] @ w["attention.qkv.weight"].T).chunk(3, -1)
        split = lambda x: rotate(heads(x, n), cosines, sines).transpose(1, 2).reshape(x.shape)
        z = z + attend(split(q), split(k), v, n) @ w["attention.output.weight"].T
        u, v = (rms(z) * w["feed_forward.norm"] @ w["feed_forward.input.weight"].T).chunk(2, -1)
        return z + (F.silu(u) * v) @ w["feed_forward.output.weight"].T

    def encode(self, patches, spectra, stats, positions, visible):
        w = self.w
        spectra = (spectra - w["features.mean"][:self.bins]) / w["features.sd"][:self.bins]
        x = torch.cat([patches, spectra], -1)
        code = self.channel_code(stats, positions)
        tokens = x @ w["tokens.weight"].T + w["tokens.bias"] + code[:, :, None]
        z = self.unify(tokens, visible)
        cosines, sines = self.rotary()
        for i in range(self.blocks):
            z = self.block(z, i, cosines, sines)
        return rms(z), x, code

    def classify(self, data):
        w = self.w
        z, _, _ = self.encode(*data, None)
        a = torch.softmax(z @ w["head.query"] / math.sqrt(self.width), 1)
        p = rms((a[..., None] * z).sum(1)) * w["head.norm"]
        return (p @ w["head.weight"].T + w["head.bias"])[:, 0]

    def reconstruct(self, data, visible):
        w = self.w
        z, x, code = self.encode(*data, visible)
        B, C, S, _ = x.shape
        steps = torch.arange(S, dtype=torch.float64)[:, None] / S * math.pi
        angles = steps * torch.arange(1, 9, dtype=torch.float64)
        times = torch.cat([angles.sin(), angles.cos()], -1) @ w["decoder.time.weight"].T
        asked = rms(code[:, :, None] + times).reshape(B, C * S, -1)
        o = attend(asked @ w["decoder.query.weight"].T, z @ w["decoder.key.weight"].T,
                   z @ w["decoder.value.weight"].T, self.heads).reshape(B, C, S, -1)
        o = o @ w["decoder.output.weight"].T + w["decoder.output.bias"]
        return ((o - x) ** 2)[~visible].mean()


def adamw_step(params, gradients, case):
    """First step of AdamW as design/recipe-eegmat has it: decay on matrices only."""
    norm = math.sqrt(sum(float((g * g).sum()) for g in gradients))
    k = min(1.0, case["clip_norm"] / (norm + 1e-9))
    b1, b2, lr = case["beta1"], case["beta2"], case["learning_rate"]
    stepped = []
    for p, g in zip(params, gradients):
        m, v = (1 - b1) * k * g, (1 - b2) * (k * g) ** 2
        if p.dim() > 1:
            p = p * (1 - lr * case["weight_decay"])
        stepped.append(p - lr / (1 - b1) * m / ((v / (1 - b2)).sqrt() + 1e-8))
    return stepped


def main(folder):
    torch.set_num_threads(1)
    case = json.load(open(f"{folder}/case.json"))
    meta, w = read_safetensors(f"{folder}/model.safetensors")
    names = [n for n in w if not n.startswith("features.")]
    for name in names:
        w[name].requires_grad_(True)
    B, C, S = case["windows"], case["channels"], int(meta["patches"])
    load = lambda name, dtype: np.fromfile(f"{folder}/{name}", dtype)
    real = lambda name, *shape: torch.tensor(load(name, "<f4").astype("f8").reshape(shape))
    data = (real("patches", B, C, S, int(meta["patch_samples"])),
            real("spectra", B, C, S, int(meta["bins"])), real("stats", B, C, int(meta["stats"])),
            real("positions", C, 3))
    nano = Nano(meta, w, case)
    if meta["objective"] == "reconstruction":
        visible = torch.tensor(load("visible", "u1").reshape(B, C, S) != 0)
        loss = nano.reconstruct(data, visible)
    else:
        logits = nano.classify(data)
        y = torch.tensor(load("labels", "u1").astype("f8"))
        smoothing = case["label_smoothing"]
        loss = F.binary_cross_entropy_with_logits(logits, y * (1 - smoothing) + smoothing / 2)
        logits.detach().numpy().tofile(f"{folder}/logits.f64")
    loss.backward()
    params, gradients = [w[n].detach() for n in names], [w[n].grad for n in names]
    flat = lambda tensors: torch.cat([t.reshape(-1) for t in tensors]).numpy()
    flat([loss.detach()]).tofile(f"{folder}/loss.f64")
    flat(gradients).tofile(f"{folder}/gradients.f64")
    flat(adamw_step(params, gradients, case)).tofile(f"{folder}/stepped.f64")


if __name__ == "__main__":
    main(sys.argv[1])
