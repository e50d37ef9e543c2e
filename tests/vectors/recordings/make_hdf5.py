#!/usr/bin/env python3
"""HDF5 recordings by their formats' own writers: NWB (pynwb), SNIRF (snirf), MAT 7.3 (hdf5storage,
which writes what MATLAB writes). From a venv with those packages:

    make_hdf5.py FOLDER

The committed files were made by pynwb 4.2.0, snirf 0.8.0 and hdf5storage 0.2.2. Values are simple
functions of channel c and sample t, which tests/unit/recordings/test-hdf5.c repeats."""
import os, sys
from datetime import datetime, timezone
import numpy as np

out = sys.argv[1]


def wave(n, channels, dtype=float):
    t, c = np.arange(n)[:, None], np.arange(channels)[None, :]
    return ((t * (c + 1)) % 101 - 50).astype(dtype)


def nwb():
    from pynwb import NWBFile, NWBHDF5IO, TimeSeries
    from pynwb.ecephys import LFP, ElectricalSeries
    from pynwb.behavior import BehavioralTimeSeries, Position, SpatialSeries
    from pynwb.ophys import (Fluorescence, ImageSegmentation, OpticalChannel, RoiResponseSeries)

    f = NWBFile("synthetic", "synthetic", datetime(2000, 1, 1, tzinfo=timezone.utc))
    device = f.create_device("none")
    group = f.create_electrode_group("g", "synthetic", "nowhere", device)
    for _ in range(3):
        f.add_electrode(group=group, location="nowhere")
    region = f.create_electrode_table_region([0, 1, 2], "all")
    f.add_acquisition(ElectricalSeries("raw", wave(500, 3, "i2"), region, rate=1000.0,
                                       starting_time=2.0, conversion=1e-6))
    ecephys = f.create_processing_module("ecephys", "synthetic")
    ecephys.add(LFP(ElectricalSeries("lfp", wave(200, 3, "f4"), region, rate=250.0,
                                     starting_time=1.0)))
    behavior = f.create_processing_module("behavior", "synthetic")
    behavior.add(Position(SpatialSeries("position", wave(60, 2), rate=20.0, starting_time=1.5,
                                        reference_frame="corner", unit="meters")))
    behavior.add(BehavioralTimeSeries(TimeSeries("speed", data=np.arange(40.0), unit="m/s", rate=10.0,
                                                 starting_time=0.0)))
    ophys = f.create_processing_module("ophys", "synthetic")
    plane = f.create_imaging_plane(
        optical_channel=OpticalChannel("c", "synthetic", 500.0), name="p", description="synthetic",
        device=device, excitation_lambda=600.0, indicator="none", location="nowhere")
    segmentation = ImageSegmentation()
    ophys.add(segmentation)
    cells = segmentation.create_plane_segmentation("cells", plane, "cells")
    for _ in range(4):
        cells.add_roi(pixel_mask=[(0, 0, 1.0)])
    rois = cells.create_roi_table_region(region=[0, 1, 2, 3], description="all")
    ophys.add(Fluorescence(RoiResponseSeries("traces", wave(90, 4), "dF/F", rois, rate=30.0,
                                             starting_time=1.0)))
    f.add_unit(spike_times=[1.0, 1.0005, 1.25, 2.0])
    f.add_unit(spike_times=[])
    f.add_unit(spike_times=[1.1, 1.9])
    with NWBHDF5IO(os.path.join(out, "many.nwb"), "w") as io:
        io.write(f, cache_spec=False)


def snirf():
    from snirf import Snirf

    path = os.path.join(out, "small.snirf")
    if os.path.exists(path):
        os.remove(path)
    with Snirf(path, "w") as s:
        s.nirs.appendGroup()
        n = s.nirs[0]
        n.metaDataTags.SubjectID = "synthetic"
        n.metaDataTags.MeasurementDate = "2000-01-01"
        n.metaDataTags.MeasurementTime = "00:00:00"
        n.metaDataTags.LengthUnit = "mm"
        n.metaDataTags.TimeUnit = "s"
        n.metaDataTags.FrequencyUnit = "Hz"
        n.probe.wavelengths = [760.0, 850.0]
        n.probe.sourcePos3D = [[0.0, 0.0, 90.0]]
        n.probe.detectorPos3D = [[30.0, 0.0, 90.0]]
        n.data.appendGroup()
        n.data[0].dataTimeSeries = wave(100, 2)
        n.data[0].time = np.arange(100) / 10.0
        for k in (1, 2):
            n.data[0].measurementList.appendGroup()
            m = n.data[0].measurementList[k - 1]
            m.sourceIndex, m.detectorIndex, m.wavelengthIndex = 1, 1, k
            m.dataType, m.dataTypeIndex, m.dataUnit = 1, 1, "V"
        n.stim.appendGroup()
        n.stim[0].name = "tap"
        n.stim[0].data = [[1.0, 0.5, 1.0], [4.0, 0.5, 1.0]]
        s.save()


def mat():
    import hdf5storage

    cells = np.empty((1, 3), object)
    for k in range(3):
        cells[0, k] = wave(50 + k, 4 + k)
    places = np.empty((1, 3), object)
    for k in range(3):
        places[0, k] = np.arange(50.0 + k)[:, None]
    times = np.empty((1, 3), object)
    times[0, 0] = np.array([[1.0, 1.0005, 1.25, 2.0]])
    times[0, 1] = np.array([[1.1, 1.9]])
    times[0, 2] = np.array([[1.5]])
    path = os.path.join(out, "small73.mat")
    if os.path.exists(path):
        os.remove(path)
    hdf5storage.savemat(path, {"data": wave(400, 5, "f4"), "fs": 200.0, "sessions": cells,
                               "places": places, "spikes": times},
                        format="7.3", store_python_metadata=False, oned_as="column")


nwb()
snirf()
mat()
