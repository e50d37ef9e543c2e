"""What docs/neurox_general.py and docs/neurox_nano.py say of the real windows in FOLDER, which
tests/unit/train/test-real-windows.c wrote: answers.f64, and for nano its embedding. usage:
real_windows.py general|nano FOLDER WINDOWS CHANNELS. Exit code 77: no PyTorch here."""
import sys

try:
    import numpy as np
    import torch
except ImportError:
    sys.exit(77)

sys.dont_write_bytecode = True
sys.path.insert(0, "docs")
from neurox_general import General  # noqa: E402
from neurox_nano import Nano  # noqa: E402

network, folder, B, C = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(1)


def read(name, dtype, *shape):
    return torch.tensor(np.fromfile(f"{folder}/{name}", dtype).reshape(shape))


def write(name, x):
    x.double().numpy().tofile(f"{folder}/{name}")


with torch.no_grad():
    positions = read("positions", "<f4", C, 3)
    if network == "general":
        net = General(f"{folder}/model.safetensors")
        write("answers.f64", net(read("x", "<f4", B, C, net.S, -1), read("stats", "<f4", C, 8), positions,
                                 read("placed", "u1", C).bool(), "eeg", "eeg", "human", "as-recorded",
                                 visible=read("visible", "u1", B, C, net.S).bool()))
    else:
        net = Nano(f"{folder}/model.safetensors")
        inputs = (read("patches", "<f4", B, C, 5, -1), read("spectra", "<f4", B, C, 5, -1),
                  read("stats", "<f4", B, C, 8), positions)
        write("answers.f64", net(*inputs))
        write("embeddings.f64", net.encode(*inputs).mean(1))
