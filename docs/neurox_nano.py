"""A federation's model in PyTorch: Nano("model.safetensors")(patches, spectra, stats, positions).

Inputs are what docs/models.md calls features: patches [B,C,S,n], spectra [B,C,S,F], stats
[B,C,8], positions [C,3]; the result is one logit a window. Needs neurox_model.py beside it,
numpy and torch.
"""
import math

import torch
import torch.nn.functional as F

from neurox_model import tensors


def rms(x):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class Nano(torch.nn.Module):
    def __init__(self, path):
        super().__init__()
        self.meta, self.w = tensors(path)
        for name, x in self.w.items():
            self.w[name] = torch.nn.Parameter(x, requires_grad=not name.startswith("features."))
            self.register_parameter(name.replace(".", "_"), self.w[name])

    def __getitem__(self, key):
        return int(self.meta[key])

    def encode(self, patches, spectra, stats, positions):
        w, H, Q, bins = self.w, self["heads"], self["queries"], self["bins"]
        B, C, S, _ = patches.shape
        mean, sd = w["features.mean"], w["features.sd"]
        x = torch.cat([patches, (spectra - mean[:bins]) / sd[:bins]], -1)
        angles = positions[:, :, None] * math.pi / 2 * 2 ** (torch.arange(16) * 4 / 15)
        place = torch.cat([angles.sin(), angles.cos()], -1).flatten(1)
        place = F.silu(F.linear(place, w["place.hidden.weight"], w["place.hidden.bias"]))
        place = F.linear(place, w["place.output.weight"], w["place.output.bias"])
        code = place + F.linear((stats - mean[bins:]) / sd[bins:], w["stats.weight"])
        h = rms(F.linear(x, w["tokens.weight"], w["tokens.bias"]) + code[:, :, None])
        q = F.linear(w["unifier.queries"], w["unifier.query.weight"]).reshape(Q, H, -1)
        k, v = (F.linear(h, w[f"unifier.{n}.weight"]).reshape(B, C, S, H, -1) for n in ("key", "value"))
        a = torch.softmax(torch.einsum("qhe,bcshe->bshqc", q, k) / q.shape[-1] ** 0.5, -1)
        z = torch.einsum("bshqc,bcshe->bsqhe", a, v).reshape(B, S * Q, -1)
        z = F.linear(z, w["unifier.output.weight"]) + w["unifier.queries"].repeat(S, 1)
        periods = torch.exp(torch.linspace(math.log(2), math.log(300), q.shape[-1] // 2))
        seconds = torch.arange(S).repeat_interleave(Q) * float(self.meta["patch_seconds"])
        for i in range(self["blocks"]):
            z = self.block(z, f"block.{i}.", 2 * math.pi * seconds[:, None] / periods)
        return rms(z)

    def block(self, z, name, angles):
        w, (B, T, d) = self.w, z.shape
        x = F.linear(rms(z) * w[name + "attention.norm"], w[name + "attention.qkv.weight"])
        q, k, v = x.reshape(B, T, 3, self["heads"], -1).permute(2, 0, 3, 1, 4)
        def turn(x):
            a, b = x.chunk(2, -1)
            return torch.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], -1)
        a = torch.softmax(turn(q) @ turn(k).transpose(-1, -2) / q.shape[-1] ** 0.5, -1) @ v
        z = z + F.linear(a.transpose(1, 2).reshape(B, T, d), w[name + "attention.output.weight"])
        u, v = F.linear(rms(z) * w[name + "feed_forward.norm"], w[name + "feed_forward.input.weight"]).chunk(2, -1)
        return z + F.linear(F.silu(u) * v, w[name + "feed_forward.output.weight"])

    def forward(self, patches, spectra, stats, positions):
        w, z = self.w, self.encode(patches, spectra, stats, positions)
        a = torch.softmax(z @ w["head.query"] / z.shape[-1] ** 0.5, 1)
        pooled = rms((a[..., None] * z).sum(1)) * w["head.norm"]
        return F.linear(pooled, w["head.weight"], w["head.bias"])[:, 0]
