"""Runs docs/neurox_general.py on what tests/unit/models/test-general-parity.c wrote into FOLDER:
answers (or logits) in float32 as exported, then in float64 the loss, every parameter's gradient
and one step of AdamW. Exit code 77: no PyTorch here."""
import json
import math
import sys

try:
    import numpy as np
    import torch
except ImportError:
    sys.exit(77)

sys.dont_write_bytecode = True
sys.path.insert(0, "docs")
from neurox_general import General  # noqa: E402

folder = sys.argv[1]
torch.set_num_threads(1)
case = json.load(open(f"{folder}/case.json"))
net = General(f"{folder}/model.safetensors")
B, C, S, n = case["windows"], case["channels"], net.S, net.tokenisers[case["tokeniser"]][0]
n_in = n + n // 2 + 1


def read(name, dtype, shape):
    return torch.tensor(np.fromfile(f"{folder}/{name}", dtype).reshape(shape))


x, stats, positions = read("x", "<f4", (B, C, S, n_in)), read("stats", "<f4", (C, 8)), read("positions", "<f4", (C, 3))
placed, visible = read("placed", "u1", (C,)).bool(), read("visible", "u1", (B, C, S)).bool()
names = [case[k] for k in ("tokeniser", "modality", "species", "reference")]
masked = None if net.meta["objective"] != "reconstruction" else visible



def contrast(latent):
    # Windows and their classes as in test-general-parity.c; prototypes are constants, some unknown.
    weight, temperature = (float(v) for v in net.meta["contrast"].split(":"))
    mu, classes = net.w["prototypes.mean"].detach(), torch.tensor([2, 0])
    known = mu.abs().sum(1) > 0
    classes, kept = classes[known[classes]], known[classes]
    logits = net.direction(latent)[kept] @ mu[known].T / temperature
    return weight * torch.nn.functional.cross_entropy(logits, known.cumsum(0)[classes] - 1)


with torch.no_grad():
    net(x, stats, positions, placed, *names, visible=masked).double().numpy().tofile(f"{folder}/answers.f64")

net.double()
net.w = {k: getattr(net, k.replace(".", "_")) for k in net.w}
x, stats, positions = x.double(), stats.double(), positions.double()
y = net(x, stats, positions, placed, *names, visible=masked)
if net.meta["objective"] == "classification":
    labels = torch.arange(B) % 2
    loss = torch.nn.functional.binary_cross_entropy_with_logits(y, labels.double())
elif net.meta["objective"] == "regression":
    loss = torch.nn.functional.mse_loss(y, (torch.arange(y.numel()) % 7 - 3).double().reshape(y.shape))
else:
    wanted = ~visible if masked is not None else (torch.arange(S) > 0).expand(B, C, S)
    target, weight, power = x[..., :n], case["frequency_weight"], case["frequency_power"]
    if net.tokenisers[case["tokeniser"]][2] == "poisson":
        each = (torch.exp(y) - target * y).mean(-1)
    else:
        r = y - target
        d = torch.arange(n // 2 + 1, dtype=torch.float64) ** power
        d[0] = 0
        d = d / d[1:].mean()
        both = torch.full((n // 2 + 1,), 2.0, dtype=torch.float64)
        both[0] = both[-1] = 1
        spectrum = torch.fft.rfft(r, norm="ortho").abs() ** 2
        each = (r.pow(2).sum(-1) + weight * (spectrum * d * both).sum(-1)) / n
    loss = each[wanted].mean()
    if net.classes:
        loss = loss + contrast(net.latent(x, stats, positions, placed, *names, visible=masked))
told = loss.item()  # balance pulls at gates and is not told
for block, load in net.loads().items():
    p = net.gates[block].flatten(0, 1)
    full = (load + torch.bincount(p.argmax(1), minlength=len(load)) / len(p)) / 2
    loss = loss + float(net.meta["expert_balance"]) * len(load) * (full * p.mean(0)).sum()
loss.backward()
np.array([told]).tofile(f"{folder}/loss.f64")
flat = [w.grad if w.grad is not None else torch.zeros_like(w) for w in net.w.values()]
np.concatenate([g.numpy().ravel() for g in flat]).tofile(f"{folder}/gradients.f64")
lr, clip, decay, norm = 0.003, 1.0, 0.05, math.sqrt(sum(float(g.pow(2).sum()) for g in flat))
out = []
for w, g in zip(net.w.values(), flat):
    g = g * min(1, clip / (norm + 1e-9))
    keep = 1 - lr * decay if w.dim() > 1 else 1
    out.append((keep * w.detach() - lr * g / (g.abs() + 1e-8)).numpy().ravel())
np.concatenate(out).tofile(f"{folder}/stepped.f64")
