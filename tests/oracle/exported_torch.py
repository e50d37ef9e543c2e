"""Runs docs/neurox_nano.py on what tests/unit/models/test-parity.c wrote into FOLDER (see
nano_torch.py) and writes exported.f64, the logits. Exit code 77: no PyTorch here."""
import json
import sys

try:
    import numpy as np
    import torch
except ImportError:
    sys.exit(77)

sys.dont_write_bytecode = True
sys.path.insert(0, "docs")
from neurox_nano import Nano  # noqa: E402

folder = sys.argv[1]
torch.set_num_threads(1)
case = json.load(open(f"{folder}/case.json"))
nano = Nano(f"{folder}/model.safetensors")
B, C, S = case["windows"], case["channels"], nano["patches"]
shapes = {"patches": (B, C, S, nano["patch_samples"]), "spectra": (B, C, S, nano["bins"]),
          "stats": (B, C, nano["stats"]), "positions": (C, 3)}
data = [torch.tensor(np.fromfile(f"{folder}/{n}", "<f4").reshape(s)) for n, s in shapes.items()]
with torch.no_grad():
    nano(*data).double().numpy().tofile(f"{folder}/exported.f64")
