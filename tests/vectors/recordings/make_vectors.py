#!/usr/bin/env python3
"""Writes recordings.tsv: what reference readers (MNE, nibabel, numpy, h5py) find in the
recordings of the shared data that are not EDF.

    python3 tests/vectors/recordings/make_vectors.py ../shared/data > tests/vectors/recordings/recordings.tsv

file     path  channels  events (- where not compared)
channel  path  index  name  type  rate  samples  first  middle  last  rms
event    path  index  onset  duration  text
Values in SI units (volts, teslas), as MNE gives them; a voltage of ours is converted."""
import sys, warnings
import numpy as np, mne

warnings.filterwarnings("ignore")
mne.set_log_level("ERROR")
ROOT = sys.argv[1]
TYPES = {"eeg": "eeg", "ecog": "ieeg", "seeg": "ieeg", "mag": "meg-mag", "grad": "meg-grad", "eog": "eog",
         "ecg": "ecg", "emg": "emg", "stim": "stim"}


def channel(path, i, name, kind, rate, x):
    n = len(x)
    print("channel", path, i, name or "-", kind, "%.9g" % rate, n, "%.9g" % x[0], "%.9g" % x[n // 2],
          "%.9g" % x[-1], "%.9g" % np.sqrt((x.astype(float)**2).mean()), sep="\t")


def mne_file(path, read, events=True, types=True):
    raw = read(f"{ROOT}/{path}")
    data, notes = raw.get_data(), raw.annotations
    print("file", path, len(raw.ch_names), len(notes) if events else "-", sep="\t")
    for i, name in enumerate(raw.ch_names):
        kind = TYPES.get(raw.get_channel_types()[i], "-") if types else "-"
        channel(path, i, name, kind, raw.info["sfreq"], data[i])
    for i, note in enumerate(notes if events else []):
        print("event", path, i, "%.9g" % note["onset"], "%.9g" % note["duration"],
              note["description"], sep="\t")


for name in ["Brainvision/test_NO", "mnepy/brainvision/test_units", "mnepy/brainvision/test_mixed_highpass"]:
    mne_file(f"mne_formats/{name}.vhdr", mne.io.read_raw_brainvision, types=False)
mne_file("mne_formats/SSS/sample_audvis_trunc_raw_sss.fif", mne.io.read_raw_fif)
mne_file("human_ieeg_mne_misc/sample_ecog_ieeg.fif", mne.io.read_raw_fif)
for name in ["sample_data_1_human_M1_ecog_1000Hz", "sample_data_2_rat_hpc_lfp_1000Hz"]:
    path = f"lfp_neurodsp/{name}.npy"
    print("file", path, 1, 0, sep="\t")
    channel(path, 0, "1", "misc", 1, np.load(f"{ROOT}/{path}").ravel())

import nibabel, scipy.io

raw = mne.io.read_raw_eeglab(f"{ROOT}/mne_formats/EEGLAB/test_raw_2021.set")
path = "mne_formats/EEGLAB/test_raw_2021.set"
print("file", path, len(raw.ch_names), len(raw.annotations), sep="\t")
for i in range(len(raw.ch_names)):
    channel(path, i, None, "eeg", raw.info["sfreq"], raw.get_data()[i])
for i, note in enumerate(raw.annotations):
    print("event", path, i, "%.9g" % note["onset"], "%.9g" % note["duration"], note["description"], sep="\t")

path = "monkey_m1_dad/DAD_mihi_demo.mat"
matrix = scipy.io.loadmat(f"{ROOT}/{path}")["Yte"]
print("file", path, matrix.shape[1], 0, sep="\t")
for i in range(matrix.shape[1]):
    channel(path, i, None, "misc", 1, matrix[:, i])

for path in ["fmri_haxby_pymvpa/bold.nii.gz",
             "fmri_haxby_pymvpa/haxby2001/sub001/BOLD/task001_run001/bold_25mm.nii.gz"]:
    image = nibabel.load(f"{ROOT}/{path}")
    data = image.get_fdata()
    data = data.reshape(-1, data.shape[-1], order="F")
    print("file", path, len(data), 0, sep="\t")
    for i in range(0, len(data), 37):
        channel(path, i, None, "bold", 1 / image.header.get_zooms()[3], data[i])
