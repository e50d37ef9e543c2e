/* Survey: what a data set is like, for its steward: every recording is opened once (in the
 * sandbox), judged by PREP's criteria over its first minutes, and summed up by region. Local:
 * paths name people; nx_survey_page() and nothing else is made to be shown around, and it numbers
 * them instead. */
#pragma once

#include <stdio.h>

#include "node/dataset/bids_check.h"
#include "node/dataset/quality.h"

#define NX_SURVEY_REGIONS 8
#define NX_SURVEY_BINS 128 /* of the spectra: 0 to 127 Hz, or to half the rate */
#define NX_SURVEY_LABELS 24

struct nx_survey_channel {
  char name[NX_CHANNEL_NAME_SIZE];
  char type[12], unit[NX_CHANNEL_UNIT_SIZE];
  size_t n_recordings, n_bad; /* it is in so many, and bad in so many of them */
  size_t n_reasons[6];        /* by bit of enum nx_bad_reason */
  double amplitude_sum;       /* of n_judged, in its unit */
  size_t n_judged;
};

struct nx_survey_recording {
  char *path;
  size_t person; /* number of the person, from 1; 0: not known */
  char label[40];
  char format[16];
  char refused[NX_ERROR_TEXT_SIZE]; /* why it cannot be used, "": it can */
  double duration_s, rate_hz;
  size_t n_channels, n_bad;
  double line50_db, line60_db; /* power at the line's frequency over that beside it, median */
  bool synthetic;
};

struct nx_survey_count {
  char word[40];
  size_t n;
};

struct nx_survey_region {
  char name[24];
  size_t n[NX_SURVEY_BINS]; /* spectra in a bin's sum: rates differ */
  double density[NX_SURVEY_BINS];
};

struct nx_survey_place {
  char name[32];
  float xyz[3]; /* metres from the table, or on the unit sphere from the name */
  bool bad;     /* in at least half of the recordings */
};

struct nx_survey {
  char folder_name[64];
  bool is_bids, on_sphere, synthetic;
  bool named_labels; /* some are ends of file names, which may be anything */
  size_t n_people, n_recordings, n_channels, n_places, n_labels, n_sexes, n_regions;
  char **people; /* [n_people], local */
  struct nx_survey_recording *recordings;
  struct nx_survey_channel *channels;
  struct nx_survey_place *places;
  struct nx_survey_count labels[NX_SURVEY_LABELS], sexes[6];
  struct nx_survey_region regions[NX_SURVEY_REGIONS];
  char system[48];     /* of the places */
  char power_unit[24]; /* of the spectra */
  struct nx_findings findings;
};

struct nx_survey_options {
  struct nx_bids_check_options check;
  bool no_samples; /* rules and headers only: no quality, no spectra */
  void (*progress)(void *context, size_t done, size_t total); /* may be NULL */
  void *context;
};

/* A BIDS tree, or a folder of recordings (of which BIDS names and sidecars are honoured too).
 * What breaks is listed with its reason and skipped. NX_E_NOT_FOUND, NX_E_DENIED: no folder. */
int nx_survey(const char *folder, const struct nx_survey_options *options,
              struct nx_survey *survey_out, struct nx_error *err);
void nx_survey_finish(struct nx_survey *survey);

/* Valid: no error by BIDS's own rules. Ready: besides, nothing refused and none of our errors. */
bool nx_survey_valid(const struct nx_survey *survey);
bool nx_survey_ready(const struct nx_survey *survey);

/* One self-contained page: no names, no paths, no scripts, nothing fetched. */
int nx_survey_page(const struct nx_survey *survey, const char *path, struct nx_error *err);
/* The same and the findings' real paths, as JSON on out. */
int nx_survey_json(const struct nx_survey *survey, FILE *out, struct nx_error *err);
