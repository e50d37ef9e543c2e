#!/usr/bin/env python3
"""Writes small.nwb, an NWB 2 file as far as the reader looks: python3 make_nwb.py OUT"""
import sys
import h5py
import numpy as np

with h5py.File(sys.argv[1], "w") as f:
    f.attrs["nwb_version"] = "2.6.0"
    f["session_description"] = "Jane Doe, born 1980"  # must not come out anywhere
    other = f.create_group("acquisition/Behaviour")
    other.attrs["neurodata_type"] = "TimeSeries"
    series = f.create_group("acquisition/ElectricalSeries")
    series.attrs["neurodata_type"] = "ElectricalSeries"
    data = series.create_dataset("data", data=np.arange(30, dtype="i2").reshape(10, 3), chunks=(4, 3), compression="gzip")
    data.attrs["conversion"] = 1e-6
    start = series.create_dataset("starting_time", data=0.0)
    start.attrs["rate"] = 250.0
