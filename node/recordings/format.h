/* Format: what one file format's reader gives to recording.c, its only caller. */
#pragma once

#include <sys/types.h>

#include "common/bytes.h"
#include "common/file.h"
#include "node/recordings/recording.h"

#define NX_PROBE_SIZE 512 /* first bytes of a file, zero-padded */

struct nx_format {
  const char *name;
  /* head: NX_PROBE_SIZE bytes; size: how many of them the file has. */
  bool (*probe)(const char *path, const uint8_t *head, size_t size);
  /* Fills info, channels, events, state; on failure close() is still called. */
  int (*open)(struct nx_recording *recording, struct nx_error *err);
  /* Arguments are already checked against the channels' rates and lengths. */
  int (*read)(struct nx_recording *recording, const uint32_t *channels, size_t n_channels,
              uint64_t first, size_t n, float *out, struct nx_error *err);
  void (*close)(struct nx_recording *recording); /* frees state only */
  /* Notes header fields that may say who somebody is (identity.h), once open; or NULL. */
  void (*identify)(struct nx_recording *recording);
};

struct nx_recording {
  const struct nx_format *format;
  char *path;    /* of the file, without a part */
  uint32_t part; /* from 0; a reader that knows parts checks it against info.n_parts, for the
                  * others only 0 is possible */
  int fd;
  uint64_t file_size;
  struct nx_recording_info info;
  struct nx_channel *channels; /* info.n_channels of them; freed by recording.c */
  struct nx_event *events;     /* info.n_events of them; freed by recording.c */
  size_t events_allocated;
  void *state; /* the reader's own */
  /* Opens a file beside this one; NULL: from this process. A sandboxed reader asks outside. */
  int (*sibling)(void *context, const char *name, int *fd_out, struct nx_error *err);
  void *sibling_context;
  size_t n_beside;
  char *beside[NX_RECORDING_BESIDE]; /* nx_recording_beside(); freed by recording.c */
};

extern const struct nx_format nx_format_edf;
extern const struct nx_format nx_format_brainvision;
extern const struct nx_format nx_format_npy;
extern const struct nx_format nx_format_nifti;
extern const struct nx_format nx_format_matlab;
extern const struct nx_format nx_format_fif;
extern const struct nx_format nx_format_trodes;

/* "a.mat#3" → "a.mat" in file_out and 3; a path without part, or one that is a file's name as it
 * stands: 0. */
uint32_t nx_recording_split_part(const char *path, char file_out[NX_PATH_SIZE]);

/* Takes an open regular file (its descriptor passes to the recording); path is for words
 * and for finding siblings. nx_recording_open() is this behind an open(2). */
int nx_recording_open_fd(const char *path, uint32_t part, int fd,
                         int (*sibling)(void *context, const char *name, int *fd_out,
                                        struct nx_error *err),
                         void *sibling_context, struct nx_recording **recording_out,
                         struct nx_error *err);
/* A further format, for programs that link one which the rest does not (HDF5). Not thread-safe:
 * call it first of all. */
void nx_recording_add_format(const struct nx_format *format);

/* A regular file of the same folder by its plain name: names with a slash are NX_E_FORMAT,
 * symbolic links are not followed. The caller closes. */
int nx_recording_sibling(struct nx_recording *recording, const char *name, int *fd_out,
                         struct nx_error *err);
int nx_recording_open_beside(const char *path, const char *name, int *fd_out, struct nx_error *err);
/* Notes a name for nx_recording_beside(). NX_E_NOMEM. */
int nx_recording_note_beside(struct nx_recording *recording, const char *name,
                             struct nx_error *err);
/* Appends all of an open file; NX_E_LIMIT beyond cap. */
int nx_recording_slurp(int fd, size_t cap, struct nx_buffer *out, struct nx_error *err);

/* NX_E_DENIED for anything below a folder anat or anatomy: scans of heads show faces. */
int nx_recording_allowed(const char *path, struct nx_error *err);

/* pread of exactly size bytes; NX_E_FORMAT when the file ends before. */
int nx_recording_pread(const struct nx_recording *recording, uint64_t offset, void *out,
                       size_t size, struct nx_error *err);
/* Grows events; drops the event and notes it beyond NX_RECORDING_EVENTS. text is any bytes:
 * UTF-8 is kept, else read as Latin-1; controls become spaces. */
int nx_recording_add_event(struct nx_recording *recording, double onset_s, double duration_s,
                           const char *text, size_t text_size, struct nx_error *err);
void nx_recording_sort_events(struct nx_recording *recording);
/* Cleans text as above, trims blanks; out always ends in a terminator. */
void nx_text_clean(const char *text, size_t text_size, char *out, size_t out_size);
/* Gives later channels of one name a number: "F1", "F1-1", "F1-2". */
int nx_recording_unique_names(struct nx_recording *recording, struct nx_error *err);
/* "µV" in any spelling → "uV". */
void nx_unit_normalise(char unit[NX_CHANNEL_UNIT_SIZE]);
/* By the first word of the name ("ECG", "EOG left"), else EEG when the unit is a voltage. */
enum nx_channel_type nx_channel_guess_type(const char *name, const char *unit);
