#!/usr/bin/env python3
"""Epsilon of a plan, from the plan's text and a trained model's size: written from the
papers that crypto/rdp.h names, in plain Python, to stand beside what a node says.

    tests/oracle/epsilon.py PLAN MODEL.safetensors [ROUNDS]

Prints epsilon at the plan's delta after ROUNDS training rounds (default: all of the plan's).
MODEL may be a number of parameters instead.
"""
import json
import math
import re
import struct
import sys

ORDERS = list(range(2, 257)) + [320, 384, 512, 768, 1024]
DEVIATION = 2.0**14  # grid steps in one standard deviation of site-local noise
LOG = math.log


def read_plan(path):
    """The last part of a dotted key is enough here: plans are small and flat."""
    plan = {}
    for line in open(path):
        found = re.match(r"\s*(\w+):\s*([^#\s]+)", line)
        if found:
            plan[found.group(1)] = found.group(2)
    return plan


def parameters(model):
    if model.isdigit():
        return int(model)
    with open(model, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(size))
    return sum(math.prod(t["shape"]) for name, t in header.items()
               if name != "__metadata__" and not name.startswith("feature"))


def log_sum(terms):
    top = max(terms)
    return top + LOG(sum(math.exp(t - top) for t in terms))


def log_binomial(n, k):
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def gaussian(order, q, sigma):
    if q == 1:
        return order / (2 * sigma**2)
    return log_sum([
        log_binomial(order, k) + (order - k) * math.log1p(-q) + k * LOG(q) + k * (k - 1) /
        (2 * sigma**2) for k in range(order + 1)
    ]) / (order - 1)


def skellam_curve(order, mu, l1, l2):
    return order * l2**2 / (2 * mu) + min(((2 * order - 1) * l2**2 + 6 * l1) / (4 * mu**2),
                                          3 * l1 / (2 * mu))


def skellam(order, q, mu, l1, l2):
    plain = skellam_curve(order, mu, l1, l2)
    if q == 1:
        return plain
    terms = [(order - 1) * math.log1p(-q) + LOG(order * q - q + 1)]
    for k in range(2, order + 1):
        terms.append(LOG(1 if k == 2 else 3) + log_binomial(order, k) + (order - k) *
                     math.log1p(-q) + k * LOG(q) + (k - 1) * skellam_curve(k, mu, l1, l2))
    return min(plain, log_sum(terms) / (order - 1))


def rounded_l2(s, c, d, beta=math.exp(-0.5)):
    return min(s * c + math.sqrt(d),
               math.sqrt(s**2 * c**2 + d / 4 +
                         math.sqrt(2 * LOG(1 / beta)) * (s * c + math.sqrt(d) / 2)))


def phi(x):
    return math.erfc(-x / math.sqrt(2)) / 2


def exact_gaussian(m, delta):
    low, high = 0.0, m * m / 2 + m * math.sqrt(-2 * LOG(delta)) + 1
    for _ in range(200):
        eps = (low + high) / 2
        if phi(-eps / m + m / 2) - math.exp(eps) * phi(-eps / m - m / 2) > delta:
            low = eps
        else:
            high = eps
    return high


def main():
    plan, d = read_plan(sys.argv[1]), parameters(sys.argv[2])
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else int(plan["rounds"])
    q, z, c, delta = (float(plan[k])
                      for k in ("sampling_rate", "noise_multiplier", "clip_norm", "delta"))
    if plan["privacy"] == "site-local-gaussian":
        steps = rounds * int(plan["local_steps"])
        sigma = DEVIATION / rounded_l2(DEVIATION / (z * c), c, d)
        curve = lambda order: gaussian(order, q, sigma)
        best = exact_gaussian(math.sqrt(steps) / sigma, delta) if q == 1 else math.inf
    else:
        steps, best = rounds, math.inf
        s = 2.0**(int(plan["value_bits"]) - 1 - math.ceil(math.log2(float(plan["value_range"]))))
        l2 = rounded_l2(s, c, d)
        l1, mu = min(math.sqrt(d) * l2, l2**2), (z * s * c)**2
        curve = lambda order: skellam(order, q, mu, l1, l2)
    for order in ORDERS:
        best = min(best, steps * curve(order) + math.log1p(-1 / order) -
                   LOG(delta * order) / (order - 1))
    print(f"{best:.9g}")


main()
