/* PhysioNet: makes the 100 Hz cut of EEGMAT 1.0.0 (Zyma et al. 2019, ODC-By 1.0) from the
 * 500 Hz originals: SubjectNN_1.edf → SubjectNN_rest.edf, the 60 s that end 1 s before the
 * file's end; SubjectNN_2.edf → SubjectNN_arith.edf, the first 60 s; 19 EEG channels;
 * resample_poly(x, 1, 5); int16 over +-ceil(max). */
#pragma once

#include <stddef.h>

#include "common/error.h"
#include "common/pool.h"

/* Cuts every SubjectNN_[12].edf of in_folder into out_folder (made when missing); existing
 * cuts are kept. n_files_out: files there now that come from in_folder. NX_E_NOT_FOUND when
 * in_folder has none. */
int nx_physionet_cut(const char *in_folder, const char *out_folder, struct nx_pool *pool,
                     size_t *n_files_out, struct nx_error *err);
/* One file. */
int nx_physionet_cut_file(const char *in_path, int task, const char *out_path,
                          struct nx_error *err);
