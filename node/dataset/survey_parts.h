/* Survey, inside: spectra and places, in files of their own. */
#pragma once

#include "node/dataset/survey.h"

struct nx_survey_judged {
  size_t n;
  uint32_t picks[NX_RECORDING_CHANNELS];
  struct nx_channel_quality quality[NX_RECORDING_CHANNELS];
};

bool nx_survey_takes(const struct nx_survey *survey, const struct nx_bids_file *file);
/* Welch spectra of the judged channels' first minute into the regions' means; line noise. */
int nx_survey_spectra(struct nx_survey *survey, struct nx_recording *recording,
                      const struct nx_survey_judged *judged, struct nx_survey_recording *out,
                      struct nx_error *err);
/* From electrodes.tsv where there are any, else from names of the 10-20 and 10-10 systems. */
int nx_survey_places(struct nx_survey *survey, const struct nx_bids_tree *tree,
                     struct nx_error *err);
