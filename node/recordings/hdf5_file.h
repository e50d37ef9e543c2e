/* HDF5 file: an open descriptor as an HDF5 file, and small things of it. The library reads through
 * the descriptor it is given and through nothing else: links to other files and data in other
 * files cannot be followed, since nothing here can open one. Filters beyond the library's own
 * (deflate, shuffle, Fletcher32 …) are never loaded. Linked into neurox-reader alone. */
#pragma once

#include <hdf5.h>

#include "node/recordings/format.h"

#define NX_HDF5_TEXT 128

/* NX_E_FORMAT: no whole HDF5 file. Close with H5Fclose(). */
int nx_hdf5_open(const struct nx_recording *recording, hid_t *file_out, struct nx_error *err);

/* All numbers of a small dataset; returns how many, 0 when it is not there or larger than cap. */
size_t nx_hdf5_numbers(hid_t at, const char *name, double *out, size_t cap);
double nx_hdf5_number(hid_t at, const char *name, double otherwise);
double nx_hdf5_number_attribute(hid_t at, const char *name, double otherwise);
/* One string, of variable or fixed length; "" when there is none. */
void nx_hdf5_string(hid_t at, const char *name, char out[NX_HDF5_TEXT]);
void nx_hdf5_string_attribute(hid_t at, const char *name, char out[NX_HDF5_TEXT]);
/* Whether every part of a path is there, by hard links alone: soft and external ones are none. */
bool nx_hdf5_has(hid_t at, const char *path);
/* Sides of a dataset, at most 8; returns the rank, 0 when it is none. */
int nx_hdf5_sides(hid_t data, hsize_t sides[8]);
/* Samples a second from the first and last of n time stamps, 0 when there are none. */
double nx_hdf5_rate_of_times(hid_t at, const char *name, uint64_t n, double *first_out);
