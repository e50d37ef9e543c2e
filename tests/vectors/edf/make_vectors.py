#!/usr/bin/env python3
"""Writes edf.tsv: what MNE reads from the EDF and BDF files of the shared data.

    python3 tests/vectors/edf/make_vectors.py ../shared/data > tests/vectors/edf/edf.tsv

file     path  channels  events
channel  path  index  samples  rate  crc32-of-int32-integers  first-value  last-value
event    path  index  onset  duration  text
Integers are MNE's volts put back through its own calibration. Status channels, of which
MNE masks bits, have '-' for the checksum."""
import sys, warnings, zlib
import numpy as np, mne

warnings.filterwarnings("ignore")
mne.set_log_level("ERROR")
FILES = [
    "eegmat_100Hz/Subject00_rest.edf", "eegmat_500Hz/Subject00_2.edf", "eegmmidb_S001/S001R01.edf",
    "human_ieeg_mne_misc/sub-pat01_ses-test_acq-ecog_ieeg.edf",
    "human_ieeg_mne_misc/sub-pat01_ses-test_acq-seeg_ieeg.edf",
    "mne_formats/EDF/chtypes_edf.edf", "mne_formats/EDF/subsecond_starttime.edf",
    "mne_formats/mnepy/edf/duplicate_channel_labels.edf", "mne_formats/mnepy/edf/test.edf",
    "mne_formats/mnepy/edf/test.bdf", "mne_formats/BDF/test_bdf_stim_channel.bdf",
]
for name in FILES:
    read = mne.io.read_raw_bdf if name.endswith("bdf") else mne.io.read_raw_edf
    raw = read(f"{sys.argv[1]}/{name}", preload=False)
    extra = raw._raw_extras[0]
    data = raw.get_data()
    notes = mne.read_annotations(f"{sys.argv[1]}/{name}") if name.endswith("edf") else []
    print("file", name, len(raw.ch_names), len(notes), sep="\t")
    for i, label in enumerate(raw.ch_names):
        unit = np.asarray(extra["units"])[i] if np.ndim(extra["units"]) else extra["units"]
        cal, offset = np.ravel(extra["cal"])[i], np.ravel(extra["offsets"])[i]
        physical = data[i] / unit
        integers = np.rint((physical - offset) / cal).astype("<i4")
        stim = raw.get_channel_types()[i] == "stim"
        crc = "-" if stim else "%08x" % zlib.crc32(integers.tobytes())
        print("channel", name, i, len(integers), "%.9g" % raw.info["sfreq"], crc,
              "%.9g" % physical[0], "%.9g" % physical[-1], sep="\t")
    for i, note in enumerate(notes):
        print("event", name, i, "%.9g" % note["onset"], "%.9g" % note["duration"],
              note["description"].strip(), sep="\t")
