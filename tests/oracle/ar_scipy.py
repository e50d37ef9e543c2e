"""The autoregressive predictor of tests/bench/ar_predictor.c by other means (scipy), for test-ar.

    ar_scipy.py FOLDER      reads x (float32), window (float32), hidden (uint8), order (text)
Prints JSON: the Yule-Walker coefficients of that order, and of the window's hidden samples the
forecast and the conditional mean. The latter takes the dense covariance matrix and inverts it; the
former runs the recursion as written. Exit code 77: no scipy here.
"""
import json
import sys

try:
    import numpy as np
    from scipy.linalg import solve_toeplitz, toeplitz
except ImportError:
    sys.exit(77)

folder = sys.argv[1]
x = np.fromfile(folder + "/x", np.float32).astype(float)
window = np.fromfile(folder + "/window", np.float32).astype(float)
hidden = np.fromfile(folder + "/hidden", np.uint8).astype(bool)
p = int(open(folder + "/order").read())

mean, n = x.mean(), len(window)
c = x - mean
r = np.array([c[: len(c) - k] @ c[k:] for k in range(p + 1)]) / len(x)
a = solve_toeplitz(r[:p], r[1:])

cov = list(r)  # of the model: the recordings' own up to lag p, then by its recursion
while len(cov) < n:
    cov.append(float(a @ np.array(cov[-1 : -p - 1 : -1])))
S = toeplitz(cov)
w = window - mean
seen = ~hidden
both = mean + S[np.ix_(hidden, seen)] @ np.linalg.solve(S[np.ix_(seen, seen)], w[seen])

filled = w.copy()
for t in np.flatnonzero(hidden):
    past = filled[max(0, t - p) : t][::-1]
    filled[t] = a[: len(past)] @ past
print(json.dumps({"a": a.tolist(), "forecast": (filled[hidden] + mean).tolist(),
                  "both": both.tolist()}))
