"""What tests/e2e/regression.sh trained on the monkeys, computed anew from their files.

    monkeys_torch.py targets DATA MODEL SITE…   mean and SD of speed that the model has are those over all of
                                                these monkeys' training bins
    monkeys_torch.py logits DATA MODEL TSV      what `neurox-node predict` wrote of chewie with a classifier is
                                                what docs/neurox_general.py says of its counts, to 1e-4 and a
                                                twentieth of how windows differ
Exit code 77: no scipy or PyTorch here."""
import csv
import sys

try:
    import numpy as np
    import torch
    from scipy.io import loadmat
except ImportError:
    sys.exit(77)

sys.dont_write_bytecode = True
sys.path.insert(0, "docs")
from neurox_general import General  # noqa: E402
from neurox_model import tensors  # noqa: E402

BIN = 10  # samples of 20 ms in the file's bins of 200 ms


def channels_first(x):
    return x if x.shape[0] < x.shape[1] else x.T


def monkey(data, name):
    return loadmat(f"{data}/monkey_m1_dad/DAD_{name}_demo.mat")


def statistics(x):
    """Those of node/dataset/signal.h of one channel of counts."""
    d = x - x.mean()
    m2, m3, m4 = ((d ** k).mean() for k in (2, 3, 4))
    lag, steps = (d[1:] * d[:-1]).sum() / len(x), (np.diff(d) ** 2).sum() / len(x)
    return [np.log(m2 + 1e-3), np.log(x.mean() + 1e-3), lag / m2, np.log(steps / m2 + 1e-3), np.log(m4 / m2 ** 2 + 1),
            np.clip(m3 / m2 ** 1.5, -5, 5), (x == 0).mean(), 0]


def logits(net, counts):
    """[windows] of a recording's bins [units, bins]: counts are split evenly over samples."""
    x = np.repeat(counts[counts.min(1) < counts.max(1)].astype(float) / BIN, BIN, 1).astype(np.float32)
    n, stats = net.tokenisers["spikes"][0], np.array([statistics(row) for row in x.astype(float)])
    windows = x.shape[1] // (net.S * n)
    x = x[:, :windows * net.S * n].reshape(len(x), windows, net.S, n).transpose(1, 0, 2, 3)
    x = np.concatenate([x, np.log(np.abs(np.fft.rfft(x)) / np.sqrt(n) + 0.02)], -1)
    nowhere = torch.zeros(x.shape[1], 3)
    with torch.no_grad():
        return net(torch.tensor(x, dtype=torch.float32), torch.tensor(stats, dtype=torch.float32), nowhere,
                   nowhere[:, 0] > 0, "spikes", "spikes", "monkey", "absolute").numpy()


def check_targets(data, model, *sites):
    speeds = [np.linalg.norm(channels_first(monkey(data, s)["Xtr"].astype(float)), axis=0) for s in sites]
    speeds = np.concatenate(speeds)
    w = tensors(model)[1]
    found = [float(w["features.mean"][0]), float(w["features.sd"][0])]
    right = [speeds.mean(), speeds.std(ddof=1)]
    print("mean and SD of speed:", found, "from the files:", right)
    return np.allclose(found, right, rtol=1e-4)


def check_logits(data, model, table):
    net, error, all_said = General(model), 0, []
    parts = [channels_first(monkey(data, "chewie")[k]) for k in ("Ytr", "Yte")]
    with open(table) as f:
        rows = list(csv.DictReader(f, delimiter="\t"))
    for k, part in enumerate(parts):
        said = np.array([float(r["logit"]) for r in rows if r["recording"].endswith(f"#{k}")])
        right = logits(net, part)
        if len(said) != len(right):
            print(f"part {k}: {len(said)} windows, not {len(right)}")
            return False
        error, all_said = max(error, np.abs(said - right).max()), all_said + list(said)
    # After few steps windows hardly differ: the error must be small beside that, too.
    print(f"{len(all_said)} windows, logits of SD {np.std(all_said):.2g} differ by at most {error:.2g}")
    return error <= min(1e-4, 0.05 * np.std(all_said))


sys.exit(not {"targets": check_targets, "logits": check_logits}[sys.argv[1]](*sys.argv[2:]))
