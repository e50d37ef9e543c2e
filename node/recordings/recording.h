/* Recording: one small interface over every file format a lab may have. Opening reads
 * the header only; samples are read window by window, never a whole file at once.
 *
 *     probe ─► open ─► info (channels, events, duration) ─► read … read ─► close
 *
 * What a reader hands on is what this header names and nothing more: names, birth dates,
 * hospital numbers, comments and start times of a file's header never leave the reader.
 *
 * A recording belongs to one thread. Errors name the file and what to do about it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"

#define NX_RECORDING_CHANNELS 4096 /* most channels of one recording */
#define NX_RECORDING_EVENTS 100000 /* later events are dropped, events_dropped says so */
#define NX_CHANNEL_NAME_SIZE 64    /* UTF-8, with the terminator */
#define NX_CHANNEL_UNIT_SIZE 16
#define NX_EVENT_TEXT_SIZE 96

enum nx_channel_type {
  NX_CHANNEL_MISC,
  NX_CHANNEL_EEG,  /* scalp */
  NX_CHANNEL_IEEG, /* ECoG, sEEG, LFP */
  NX_CHANNEL_MEG_MAG,
  NX_CHANNEL_MEG_GRAD,
  NX_CHANNEL_EOG,
  NX_CHANNEL_ECG,
  NX_CHANNEL_EMG,
  NX_CHANNEL_STIM, /* triggers, status words */
  NX_CHANNEL_NIRS,
  NX_CHANNEL_SPIKES,
  NX_CHANNEL_CALCIUM,
  NX_CHANNEL_BOLD,
  NX_CHANNEL_BEHAVIOUR
};

enum nx_frame {
  NX_FRAME_NONE, /* no position is known */
  NX_FRAME_UNKNOWN,
  NX_FRAME_HEAD, /* RAS+, origin between the ears */
  NX_FRAME_DEVICE,
  NX_FRAME_MRI, /* the subject's own scan */
  NX_FRAME_MNI
};

struct nx_channel {
  char name[NX_CHANNEL_NAME_SIZE]; /* as the file says; made unique ("F1", "F1-1") */
  enum nx_channel_type type;
  char unit[NX_CHANNEL_UNIT_SIZE]; /* of what read returns; "uV" for every micro-volt spelling */
  double rate_hz;
  uint64_t n_samples;
  float position_m[3]; /* metres in frame; zeros when NX_FRAME_NONE */
  enum nx_frame frame;
};

struct nx_event {
  double onset_s, duration_s; /* from the first sample; duration 0 when not given */
  char text[NX_EVENT_TEXT_SIZE];
};

struct nx_recording_info {
  const char *format; /* "EDF", "EDF+C", "BDF", … */
  double duration_s;
  size_t n_channels; /* annotation channels are events, not channels; may be 0 */
  const struct nx_channel *channels;
  size_t n_events;
  const struct nx_event *events; /* in order of onset */
  bool events_dropped;
  bool truncated;     /* fewer samples on disk than the header promises; the rest is readable */
  bool discontinuous; /* there are gaps between stored samples */
  bool synthetic;     /* the file says of itself that it was generated */
  char identity[96];  /* header fields that may say who it is ("birth date"): which, never what */
  uint32_t n_parts;   /* recordings in this file, at least 1: see nx_recording_open() */
  double origin_s;    /* what the file's own clock (never a date) shows at the first sample: files
                       * of one session that share a clock are aligned by it; 0 without one */
};

struct nx_recording;

/* Which reader would take this file, by its first bytes and, where these are silent, its
 * name: a static word such as "EDF", or NULL with NX_E_UNSUPPORTED, NX_E_NOT_FOUND,
 * NX_E_IO … in err. */
const char *nx_recording_probe(const char *path, struct nx_error *err);

/* A file with several recordings (a MAT file of sessions, an NWB file of series) opens as its
 * first; path "sessions.mat#3" is the fourth, unless a file has that very name.
 * NX_E_FORMAT: broken, with the place and the mend; NX_E_UNSUPPORTED: valid but not read
 * here; NX_E_LIMIT: a cap above. */
int nx_recording_open(const char *path, struct nx_recording **recording_out, struct nx_error *err);

/* Valid until close. */
const struct nx_recording_info *nx_recording_info(const struct nx_recording *recording);

/* Reads samples first .. first + n - 1 of the listed channels, which must all have one
 * rate, into out[n_channels][n], in each channel's unit. Gaps of a discontinuous file are
 * not filled: samples are counted as stored. NX_E_INVALID outside of the recording. */
int nx_recording_read(struct nx_recording *recording, const uint32_t *channels, size_t n_channels,
                      uint64_t first, size_t n, float *out, struct nx_error *err);

/* The plain names of files in the same folder that its reader opened or looked for so far (samples,
 * markers, a mask, a sidecar), each once; NULL behind the last. More than NX_RECORDING_BESIDE are
 * not opened. */
#define NX_RECORDING_BESIDE 16
const char *nx_recording_beside(const struct nx_recording *recording, size_t index);

void nx_recording_close(struct nx_recording *recording); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_recording *, nx_recording_close)

/* Micro-volts in one of `unit`, 0 when it is no voltage ("mV" 1000, "uV" 1, "V" 1e6 …). */
double nx_unit_microvolts(const char *unit);
/* "eeg", "meg-mag", …; never NULL. */
const char *nx_channel_type_name(enum nx_channel_type type);
