"""What tests/e2e/regression.sh trained, computed anew: speeds from the monkeys' files must be those that
`neurox-node predict` wrote (each site's own z over training patches), R squared over the held-out rows of
all sites the hub's (argument 3). Prints it beside ridge regression of the speed on the counts of the patch
and two on either side, fitted on each monkey's own training part (where the held-out part has the same units). Exit code 77: no scipy here."""
import csv
import sys

try:
    import numpy as np
    from scipy.io import loadmat
except ImportError:
    sys.exit(77)

data, folder, told = sys.argv[1], sys.argv[2], float(sys.argv[3])


def rows(site):
    with open(f"{folder}/{site}.tsv") as f:
        return [r for r in csv.DictReader(f, delimiter="\t") if r["speed_recorded"] != "n/a"]


def r_squared(y, p):
    return 1 - np.sum((y - p) ** 2) / np.sum((y - y.mean()) ** 2)


def channels_first(a):
    return a if a.shape[0] < a.shape[1] else a.T


def around(counts):
    """[patches, 5 * units]"""
    padded = np.pad(counts, ((0, 0), (2, 2)), mode="edge")
    return np.concatenate([padded[:, k:k + counts.shape[1]] for k in range(5)]).T


def ridge(x, y, held_x):
    """Penalty by the last fifth of the training part."""
    mean, sd = x.mean(0), x.std(0) + 1e-9
    x, held_x = (x - mean) / sd, (held_x - mean) / sd

    def fit(x, y, penalty):
        w = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (y - y.mean()))
        return lambda z: z @ w + y.mean()

    cut = len(y) * 4 // 5
    best = max(10.0 ** np.arange(0, 6), key=lambda a: r_squared(y[cut:], fit(x[:cut], y[:cut], a)(x[cut:])))
    return fit(x, y, best)(held_x)


bad = 0
every_y, every_p = [], []
print("held out          patches  network R squared   r     ridge R squared")
for site in "chewie", "mihi", "mouse":
    held = [r for r in rows(site) if r["use"] == "held-out"]
    y = np.array([float(r["speed_recorded"]) for r in held])
    p = np.array([float(r["speed"]) for r in held])
    every_y.append(y)
    every_p.append(p)
    other = "-"
    if site != "mouse":
        m = loadmat(f"{data}/monkey_m1_dad/DAD_{site}_demo.mat")
        counts = [channels_first(m[k].astype(float)) for k in ("Ytr", "Yte")]
        speed = [np.linalg.norm(channels_first(m[k].astype(float)), axis=0) for k in ("Xtr", "Xte")]
        z = [(s - speed[0].mean()) / speed[0].std() for s in speed]
        at = [round(float(r["start_s"]) * 5) for r in held]
        if not np.allclose(z[1][at], y, atol=2e-3):
            print(f"{site}: speeds differ by {np.abs(z[1][at] - y).max():.3g}")
            bad = 1
        if counts[0].shape[0] == counts[1].shape[0]:  # else the held-out part has other units
            other = f"{r_squared(z[1][at], ridge(around(counts[0]), z[0], around(counts[1]))[at]):.3f}"
    print(f"{site:16} {len(y):8} {r_squared(y, p):18.3f} {np.corrcoef(y, p)[0, 1]:6.3f} {other:>14}")
y, p = np.concatenate(every_y), np.concatenate(every_p)
print(f"all              {len(y):8} {r_squared(y, p):18.3f} {np.corrcoef(y, p)[0, 1]:6.3f}   the hub says {told:.3f}")
if abs(r_squared(y, p) - told) > 1e-3:
    bad = 1
sys.exit(bad)
