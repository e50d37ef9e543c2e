/* HDF5: SNIRF and NWB, for neurox-reader, which is the only program that links the library. */
#pragma once

/* Makes nx_recording_open() know both. Call it once, before anything else. */
void nx_recording_add_hdf5(void);
