"""A model of network: general in PyTorch; needs neurox_model.py beside it, numpy and torch.

    net = General("model.safetensors")
    net(x, stats, positions, placed, "eeg", "eeg", "human", "average", visible=mask)

x [B,C,S,n_in], stats [C,8], positions [C,3] (100 mm), placed [C] bool, visible [B,C,S] bool or
None: node/dataset/signal.h says what they hold. The result is [B,C,S,n]: for every (channel,
patch) the samples it would have (log counts for a Poisson tokeniser); a classifier's is [B], a
regression's [B,S,targets], in the plan's regression.unit (SDs where it says standardise: site).

net.latent(…the same…) is what the last block says, [B,S*Q,width]; net.direction(latent) a window's unit
vector [B,128], in a model with prototypes, whose rows (net.w["prototypes.mean"]; 0: not known) are of
net.classes. Cosines between the two say which behaviour a window is like.

net.loads() is, by block, the share of the federation's rows that each expert took (expert_balance).
"""
import math

import torch
import torch.nn.functional as F

from neurox_model import tensors


def rms(x, gain=1.0):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * gain


class General(torch.nn.Module):
    def __init__(self, path):
        super().__init__()
        self.meta, self.w = tensors(path)
        self.scale = None  # mean and SD of a regression's targets
        if "features.mean" in self.w:
            self.scale = self.w.pop("features.mean"), self.w.pop("features.sd")
        for name, x in self.w.items():
            self.w[name] = torch.nn.Parameter(x)
            self.register_parameter(name.replace(".", "_"), self.w[name])
        kinds = [t.split(":") for t in self.meta["tokenisers"].split()]
        self.tokenisers = {k[0]: (int(k[1]), float(k[2]), k[3]) for k in kinds}
        self.H, self.Q, self.S = (int(self.meta[k]) for k in ("heads", "queries", "patches"))
        self.causal = self.meta["objective"] == "next-patch"
        self.gates = {}  # of the last pass, by block
        self.classes = self.meta.get("classes", "").split()

    def loads(self):
        return {k[:-len(".experts.load")]: w.detach() for k, w in self.w.items() if k.endswith(".experts.load")}

    def linear(self, x, name):
        return F.linear(x, self.w[name + ".weight"], self.w.get(name + ".bias"))

    def swiglu(self, h, name):
        return self.linear(F.silu(self.linear(h, name + ".gate")) * self.linear(h, name + ".up"),
                           name + ".output")

    def feed_forward(self, z, part, modality):
        w, h = self.w, rms(z, self.w[part + ".feed_forward.norm"])
        f = self.swiglu(h, part + ".feed_forward")
        if part + ".experts.gate.weight" in w:
            p = torch.softmax(F.linear(h, w[part + ".experts.gate.weight"],
                                       w[f"{part}.experts.bias.{modality}"]), -1)
            self.gates[part] = p
            for e in range(p.shape[-1]):
                chosen = (p.argmax(-1, keepdim=True) == e) * p[..., e:e + 1]
                f = f + chosen * self.swiglu(h, f"{part}.expert.{e}")
        return z + f

    def heads(self, x, angles=None):
        x = x.unflatten(-1, (self.H, -1)).transpose(-3, -2)  # [.., H, rows, e]
        if angles is None:
            return x
        a, b = x.chunk(2, -1)
        return torch.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], -1)

    def attend(self, q, k, v, seen=None):
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if seen is None:
            p = torch.softmax(scores, -1)
        else:  # nothing seen: 0
            p = torch.softmax(scores.masked_fill(~seen, -1e30), -1) * seen
        return (p @ v).transpose(-3, -2).flatten(-2)

    def code(self, stats, positions, placed, modality, species, reference):
        angles = positions[:, :, None] * math.pi / 2 * 2 ** (torch.arange(16) * 4 / 15)
        place = torch.cat([angles.sin(), angles.cos()], -1).flatten(1).to(stats.dtype)
        place = self.linear(F.silu(self.linear(place, "place.hidden")), "place.output")
        place = torch.where(placed[:, None], place, self.w["place.unknown"])
        return (place + self.linear(stats, "stats") + self.w["modality." + modality] +
                self.w["species." + species] + self.w["reference." + reference])

    def periods(self, n, dtype):
        return torch.exp(torch.linspace(math.log(0.02), math.log(300), n, dtype=dtype))

    def direction(self, latent):
        return F.normalize(self.linear(rms(latent).mean(1), "prototypes"), dim=-1)

    def turns(self, tokeniser, dtype):
        seconds = torch.arange(self.S, dtype=dtype) * self.tokenisers[tokeniser][1]
        half = self.w["unifier.queries"].shape[1] // self.H // 2
        return seconds, 2 * math.pi * seconds[:, None] / self.periods(half, dtype)

    def latent(self, x, stats, positions, placed, tokeniser, modality, species, reference, visible=None):
        w, S, Q = self.w, self.S, self.Q
        code = self.code(stats, positions, placed, modality, species, reference)
        h = rms(self.linear(x, "tokens." + tokeniser) + code[:, None], w["unifier.attention.norm"])
        q = self.heads(self.linear(w["unifier.queries"], "unifier.attention.query"))
        k, v = (self.heads(self.linear(h.transpose(1, 2), "unifier.attention." + m)) for m in ("key", "value"))
        seen = None if visible is None or self.causal else visible.transpose(1, 2)[:, :, None, None]
        z = self.linear(self.attend(q, k, v, seen), "unifier.attention.output") + w["unifier.queries"]
        z = self.feed_forward(z, "unifier", modality).flatten(1, 2)
        turns = self.turns(tokeniser, x.dtype)[1].repeat_interleave(Q, 0)
        patch = torch.arange(S).repeat_interleave(Q)
        seen = patch[None] <= patch[:, None] if self.causal else None
        for i in range(int(self.meta["blocks"])):
            part = f"block.{i}"
            h = rms(z, w[part + ".attention.norm"])
            q, k, v = (self.heads(self.linear(h, f"{part}.attention.{m}"), t)
                       for m, t in (("query", turns), ("key", turns), ("value", None)))
            z = z + self.linear(self.attend(q, k, v, seen), part + ".attention.output")
            z = self.feed_forward(z, part, modality)
        return z

    def forward(self, x, stats, positions, placed, tokeniser, modality, species, reference, visible=None):
        w, S, Q = self.w, self.S, self.Q
        z = self.latent(x, stats, positions, placed, tokeniser, modality, species, reference, visible)
        if "head.query" in w:
            together = Q if self.scale else S * Q  # a value for each patch, or one for the window
            z = rms(z).unflatten(1, (-1, together))
            a = torch.softmax(z @ w["head.query"] / z.shape[-1] ** 0.5, 2)
            y = self.linear(rms((a[..., None] * z).sum(2), w["head.norm"]), "head")
            return y * self.scale[1] + self.scale[0] if self.scale else y[:, 0, 0]
        return self.decode(z, stats, positions, placed, tokeniser, modality, species, reference)

    def decode(self, z, stats, positions, placed, tokeniser, modality, species, reference):
        w, C, S, Q = self.w, len(stats), self.S, self.Q
        n, _, loss = self.tokenisers[tokeniser]
        code = self.code(stats, positions, placed, modality, species, reference)
        seconds, turn = self.turns(tokeniser, z.dtype)
        turns, patch = turn.repeat_interleave(Q, 0), torch.arange(S).repeat_interleave(Q)
        z = rms(z, w["decoder.latent.norm"])
        angles = 2 * math.pi * seconds[:, None] / self.periods(16, z.dtype)
        times = self.linear(torch.cat([angles.sin(), angles.cos()], -1), "decoder.time")
        ask = self.linear(code, "decoder.ask.code")[:, None] + self.linear(times, "decoder.ask.time")
        ask = self.linear(F.silu(ask), "decoder.ask.output").flatten(0, 1)
        q = self.heads(self.linear(rms(ask, w["decoder.attention.norm"]), "decoder.attention.query"), turn.repeat(C, 1))
        k = self.heads(self.linear(z, "decoder.attention.key"), turns)
        v = self.heads(self.linear(z, "decoder.attention.value"))
        seen = patch[None] < torch.arange(S).repeat(C)[:, None] if self.causal else None
        a = ask + self.linear(self.attend(q, k, v, seen), "decoder.attention.output")
        a = rms(self.feed_forward(a, "decoder", modality), w["samples.norm"])
        y = self.linear(a, "samples." + tokeniser).reshape(-1, C, S, n)
        return y + stats[None, :, None, 1:2] if loss == "poisson" else y
