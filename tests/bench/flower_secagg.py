#!/usr/bin/env python3
"""Times the primitives of Flower's SecAgg+ for bench-secagg: what its client does to mask an
update, and what its server does to unmask the sum. Needs "pip install flwr", for example in
a virtual environment whose python is named in NEUROX_PYTHON; exit code 3 when it is absent.

    flower_secagg.py D N[,N…]    prints: version, then lines "n dropped node_ms unmask_ms"
"""
import os
import sys
import time
from importlib.metadata import version

try:
    import numpy as np
    from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
    from flwr.common.secure_aggregation.ndarrays_arithmetic import (
        parameters_addition,
        parameters_mod,
        parameters_subtraction,
    )
    from flwr.common.secure_aggregation.quantization import quantize
    from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
except ImportError as problem:
    print(problem, file=sys.stderr)
    sys.exit(3)

CLIP, TARGET, MODULO = 8.0, 1 << 22, 1 << 32  # the workflow's defaults


def quorum(n):
    return max(3, (n + (n - 1) // 3) // 2 + 1)


def node(values, seeds):
    """As _collect_masked_vectors(): the first seed is the private mask's."""
    start = time.perf_counter()
    lanes = quantize([values], CLIP, TARGET)
    shape = [a.shape for a in lanes]
    lanes = parameters_addition(lanes, pseudo_rand_gen(seeds[0], MODULO, shape))
    for i, seed in enumerate(seeds[1:]):
        change = parameters_addition if i % 2 else parameters_subtraction
        lanes = change(lanes, pseudo_rand_gen(seed, MODULO, shape))
    lanes = parameters_mod(lanes, MODULO)
    return lanes, 1e3 * (time.perf_counter() - start)


def server(total, shares, survivors, dropped):
    """As _unmask_stage(): a private mask for who is there, pair masks for who is not."""
    shape = [a.shape for a in total]
    start = time.perf_counter()
    for _ in range(survivors):
        seed = combine_shares(shares)
        total = parameters_subtraction(total, pseudo_rand_gen(seed, MODULO, shape))
    for _ in range(dropped):
        seed = combine_shares(shares)
        for i in range(survivors):
            change = parameters_addition if i % 2 else parameters_subtraction
            total = change(total, pseudo_rand_gen(seed, MODULO, shape))
    parameters_mod(total, MODULO)
    return 1e3 * (time.perf_counter() - start)


def main():
    d = int(sys.argv[1])
    print(version("flwr"))
    values = np.random.default_rng(1).normal(size=d)
    for n in map(int, sys.argv[2].split(",")):
        seeds = [os.urandom(32) for _ in range(n)]
        t = quorum(n)
        shares = create_shares(seeds[0], t, n)[:t]
        masked, node_ms = node(values, seeds)
        masked, node_ms = node(values, seeds)  # warm
        for drop in (0, 0.1, 0.3):
            dropped = min(max(1, round(drop * n)), n - t) if drop else 0
            print(n, drop, node_ms, server(masked, shares, n - dropped, dropped), flush=True)


main()
