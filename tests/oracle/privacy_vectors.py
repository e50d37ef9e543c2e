#!/usr/bin/env python3
"""Writes the known answers of tests/unit/privacy from other people's arithmetic.

    python3 -m venv v && v/bin/pip install dp_accounting mpmath
    v/bin/python tests/oracle/privacy_vectors.py tests/unit/privacy

Sampled Gaussian, per order: google's dp_accounting (floats, written by others).
Everything else: mpmath with 60 digits or more, from the formulae of the papers.
"""
import math
import sys
from pathlib import Path

import dp_accounting
import mpmath as mp
from dp_accounting.rdp import RdpAccountant

mp.mp.dps = 60
HEAD = "/* Written by tests/oracle/privacy_vectors.py; do not edit. */\n#pragma once\n\n#include <stdint.h>\n\n"


def table(name, fields, rows):
    """One struct and one array of it."""
    out = f"static const struct vector_{name} {{\n  {fields}\n}} vectors_{name}[] = {{\n"
    for row in rows:
        out += "    {" + ", ".join(str(x) for x in row) + "},\n"
    return out + "};\n"


def number(x):
    return mp.nstr(mp.mpf(x), 17)


def sampled_gaussian():
    rows = []
    orders = [2, 3, 5, 8, 17, 64, 200, 256, 1024]
    for q, sigma in [(0.001, 0.7), (0.01, 1.1), (0.004, 2), (0.1, 2), (0.5, 5), (0.9, 1), (1, 3)]:
        accountant = RdpAccountant(orders)
        accountant.compose(
            dp_accounting.PoissonSampledDpEvent(q, dp_accounting.GaussianDpEvent(sigma)))
        for order, eps in zip(orders, accountant._rdp):
            rows.append((order, q, sigma, repr(float(eps))))
    return table("sampled_gaussian", "uint32_t order; double q, sigma, eps;", rows)


def phi(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


def exact_delta(m, eps):
    return phi(-eps / m + m / 2) - mp.e**eps * phi(-eps / m - m / 2)


def exact_gaussian():
    rows = []
    for m in [0.001, 0.1, 0.3, 1, 3, 10, 50]:
        for delta in ["1e-3", "1e-5", "1e-9", "1e-15"]:
            low, high = mp.mpf(0), mp.mpf(m)**2 / 2 + m * mp.sqrt(-2 * mp.log(mp.mpf(delta)))
            if exact_delta(mp.mpf(m), low) <= mp.mpf(delta):
                rows.append((m, delta, "0"))
                continue
            for _ in range(180):
                middle = (low + high) / 2
                if exact_delta(mp.mpf(m), middle) > mp.mpf(delta):
                    low = middle
                else:
                    high = middle
            rows.append((m, delta, number(high)))
    return table("exact_gaussian", "double m, delta, epsilon;", rows)


def log_normal_cdf():
    xs = [5, 0, -1, -10, -29.9, -30.1, -40, -1000, -1e6]
    return table("log_normal_cdf", "double x, value;",
                 [(x, number(mp.log(phi(mp.mpf(x))))) for x in xs])


def skellam_curve(order, s, z, d):
    s, z, d = mp.mpf(s), mp.mpf(z), mp.mpf(d)
    beta, root = mp.e**mp.mpf(-0.5), mp.sqrt(d)
    l2 = min(s + root, mp.sqrt(s**2 + d / 4 + mp.sqrt(2 * mp.log(1 / beta)) * (s + root / 2)))
    l1, mu = min(root * l2, l2**2), (z * s)**2
    return order * l2**2 / (2 * mu) + min(((2 * order - 1) * l2**2 + 6 * l1) / (4 * mu**2),
                                          3 * l1 / (2 * mu))


def skellam():
    rows = []
    for s, z, d in [(16384, 1, 1e6), (1024, 5, 1e6), (64, 0.7, 1e4), (8, 3, 100)]:
        for q in [1, 0.5, 0.1, 0.01]:
            for order in [2, 3, 10, 64, 256]:
                curve = {l: skellam_curve(l, s, z, d) for l in range(2, order + 1)}
                q_, a = mp.mpf(str(q)), order
                total = (1 - q_)**(a - 1) * (a * q_ - q_ + 1)
                for l in range(2, a + 1):
                    factor = 1 if l == 2 else 3
                    total += factor * mp.binomial(a, l) * (1 - q_)**(a - l) * q_**l * mp.e**(
                        (l - 1) * curve[l])
                eps = min(curve[a], mp.log(total) / (a - 1)) if q != 1 else curve[a]
                rows.append((order, q, s, z, d, number(eps)))
    return table("skellam", "uint32_t order; double q, scale, z, d, eps;", rows)


def u128(x):
    x = int(x)
    return f"{{{x >> 64:#018x}u, {x & (2**64 - 1):#018x}u}}"


def skellam_tails():
    """floor(2^128 P(|X| > k)) of Skellam(mu), from Bessel functions. mu is what the sampler
    makes of it: 2^t / R with R whole, of 64 bits, rounded down."""
    rows = []
    mp.mp.dps = 80
    for mu in [1, 3.7, 64, 1000.25]:
        t = 63 + math.frexp(mu)[1]
        mu_ = mp.mpf(2)**t / mp.floor(mp.mpf(2)**t / mp.mpf(mu))
        end = int(15 * mp.sqrt(mu_) + 60)
        p = [mp.e**-mu_ * mp.besseli(k, mu_) for k in range(end + 1)]
        tail = mp.mpf(0)
        tails = {}
        for k in range(end, -1, -1):
            tails[k] = tail
            tail += 2 * p[k]
        sigma = mp.sqrt(mu_)
        for k in sorted({int(f * sigma) for f in (0, 0.5, 1, 2, 4, 7, 10, 12, 13)}):
            rows.append((mu, k, u128(mp.floor(tails[k] * 2**128))))
    return table("skellam_tail", "double mu; uint32_t k; uint64_t tail[2];", rows)


def gaussian_tails():
    """floor(2^128 P(|round(N(0, 2^28))| > k))."""
    rows = []
    mp.mp.dps = 80
    for k in [0, 1, 2, 100, 8192, 16384, 16385, 50000, 100000, 150000, 200000, 214000]:
        tail = mp.erfc((k + mp.mpf(0.5)) / 16384 / mp.sqrt(2))
        rows.append((k, u128(mp.floor(tail * 2**128))))
    return table("gaussian_tail", "uint32_t k; uint64_t tail[2];", rows)


def main():
    out = Path(sys.argv[1])
    (out / "vectors_gaussian.h").write_text(
        HEAD + "\n".join([sampled_gaussian(), exact_gaussian(), log_normal_cdf()]))
    (out / "vectors_skellam.h").write_text(HEAD + skellam())
    (out / "vectors_tails.h").write_text(HEAD + "\n".join([skellam_tails(), gaussian_tails()]))


main()
