"""The table "How fast it trains" of docs/models.md from `./run bench train --json FILE`.

    python3 tests/bench/train_table.py FILE
"""
import json
import sys

cases = {}
for row in json.load(open(sys.argv[1])):
    case = cases.setdefault(tuple(row["case"].values()), {"peers": {}})
    case[row["metric"]] = row["value"]
    if row["peer"]:
        case["peers"].setdefault(row["peer"], {})[row["metric"]] = row["peer_value"]
print("| size, threads, precision | tokens/s | % of GEMM | RSS, MiB | beside |")
print("|---|---|---|---|---|")
for (size, threads, precision), c in cases.items():
    peers = "; ".join(
        "%s: %.2f× as fast, %.2f of its memory"
        % (name, c["tokens_per_s"] / p["tokens_per_s"], c["peak_rss_mb"] / p["peak_rss_mb"])
        for name, p in c["peers"].items())
    print("| %s, %g, %s | %.0f | %.0f | %.0f | %s |"
          % (size, threads, precision, c["tokens_per_s"], c["percent_of_gemm"], c["peak_rss_mb"],
             peers or "no peer"))
