/* Sidecar: NAME.json beside an array file (npy, MAT, MAT 7.3) says what the array itself cannot:
 *
 *     {"rate_hz": 20, "unit": "events", "type": "calcium", "data": "spike_train",
 *      "behaviour": {"file": "C5M1_stimulus_trace.mat", "data": "stimulus_trace",
 *                    "names": ["position"], "unit": "bin"}}
 *
 * data: the variable, or variables, that hold samples; each matrix is one part of the recording
 * (nx_recording_open()). behaviour: variables of equal length and order that become channels of
 * type behaviour, in this file or in one beside it. Every key may be left out. */
#pragma once

#include "node/recordings/format.h"

#define NX_SIDECAR_NAMES 64

struct nx_sidecar {
  bool found;
  double rate_hz; /* 0: not said */
  char unit[NX_CHANNEL_UNIT_SIZE];
  bool has_type;
  enum nx_channel_type type;
  size_t n_data; /* variables, in order */
  char data[NX_SIDECAR_NAMES][64];
  char behaviour_file[256]; /* "": this one */
  size_t n_behaviour;
  char behaviour[NX_SIDECAR_NAMES][64];
  size_t n_names;
  char names[NX_SIDECAR_NAMES][NX_CHANNEL_NAME_SIZE]; /* of the behaviour's channels */
  char behaviour_unit[NX_CHANNEL_UNIT_SIZE];
};

/* NX_E_FORMAT names the sidecar and the key; no sidecar is no error. */
int nx_sidecar_read(struct nx_recording *recording, struct nx_sidecar *out, struct nx_error *err);
