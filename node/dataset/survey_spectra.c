/* Spectra of a survey: Welch over one-second segments, one-Hz bins, means by region. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "node/dataset/montage.h"
#include "node/dataset/preprocess.h"
#include "node/dataset/survey_parts.h"
#include "node/dataset/welch.h"

#define SECONDS 60
#define CHANNELS 128

/* By the electrode's letters (10-10 system: Nuwer et al. 1998); else by the letters a name begins
 * with, which is how contacts of a grid or a shaft are named. */
static void region_of(const struct nx_channel *channel, char out[24]) {
  static const struct {
    const char *letters, *region;
  } regions[] = {{"FP", "frontal"}, {"AF", "frontal"}, {"FT", "temporal"},  {"TP", "temporal"},
                 {"FC", "central"}, {"CP", "central"}, {"PO", "occipital"}, {"F", "frontal"},
                 {"C", "central"},  {"T", "temporal"}, {"P", "parietal"},   {"O", "occipital"},
                 {"I", "occipital"}};
  char name[16], letters[8] = "";
  size_t n = 0;
  if (channel->type != NX_CHANNEL_EEG || !nx_montage_clean(channel->name, name)) {
    while (n < 7 && isalpha((unsigned char)channel->name[n]))
      n++;
    if (channel->type == NX_CHANNEL_IEEG && n)
      snprintf(out, 24, "%.*s", (int)n, channel->name);
    else
      snprintf(out, 24, "%s", nx_channel_type_name(channel->type));
    return;
  }
  for (; n < 7 && isalpha((unsigned char)name[n]) && tolower((unsigned char)name[n]) != 'z'; n++)
    letters[n] = (char)toupper((unsigned char)name[n]);
  snprintf(out, 24, "other");
  for (size_t i = 0; i < NX_ARRAY_LENGTH(regions); i++)
    if (!strncmp(letters, regions[i].letters, strlen(regions[i].letters))) {
      snprintf(out, 24, "%s", regions[i].region);
      return;
    }
}

static struct nx_survey_region *take_region(struct nx_survey *survey, const char *name) {
  for (size_t i = 0; i < survey->n_regions; i++)
    if (!strcmp(survey->regions[i].name, name))
      return &survey->regions[i];
  if (survey->n_regions == NX_SURVEY_REGIONS)
    return &survey->regions[NX_SURVEY_REGIONS - 1];
  bool last = survey->n_regions == NX_SURVEY_REGIONS - 1;
  struct nx_survey_region *region = &survey->regions[survey->n_regions++];
  snprintf(region->name, sizeof region->name, "%s", last ? "others" : name);
  return region;
}

/* dB of the mean power at line +-1 Hz over that 4 to 8 Hz away. */
static double line_db(const double *density, size_t n_bins, size_t line) {
  double at = 0, beside = 0;
  if (line + 8 >= n_bins)
    return NAN;
  for (size_t k = line - 1; k <= line + 1; k++)
    at += density[k] / 3;
  for (size_t k = 4; k <= 8; k++)
    beside += (density[line - k] + density[line + k]) / 10;
  return at > 0 && beside > 0 ? 10 * log10(at / beside) : NAN;
}

static double median_of(double *values, size_t n) {
  double scratch[CHANNELS];
  return n ? nx_median(values, n, scratch) : NAN;
}

int nx_survey_spectra(struct nx_survey *survey, struct nx_recording *recording,
                      const struct nx_survey_judged *judged, struct nx_survey_recording *out,
                      struct nx_error *err) {
  const struct nx_recording_info *info = nx_recording_info(recording);
  _cleanup_(nx_welch_destroyp) struct nx_welch *welch = NULL;
  double density[NX_SURVEY_BINS], lines50[CHANNELS], lines60[CHANNELS];
  size_t n_channels = NX_MIN(judged->n, (size_t)CHANNELS), n50 = 0, n60 = 0;
  if (!n_channels)
    return 0;
  double rate = info->channels[judged->picks[0]].rate_hz;
  size_t segment = (size_t)lround(rate), n_bins = NX_MIN((size_t)NX_SURVEY_BINS, segment / 2 + 1);
  size_t n = (size_t)NX_MIN((double)info->channels[judged->picks[0]].n_samples, SECONDS * rate);
  if (segment < 8 || n < segment || segment > 40000)
    return 0;
  _cleanup_free_ float *raw = reallocarray(NULL, n, sizeof *raw);
  _cleanup_free_ double *x = reallocarray(NULL, n, sizeof *x);
  if (!raw || !x)
    return nx_fail(err, NX_E_NOMEM, "spectra: out of memory");
  int r = nx_welch_create(segment, n_bins, rate, &welch, err);
  for (size_t c = 0; !r && c < n_channels; c++) {
    const struct nx_channel *channel = &info->channels[judged->picks[c]];
    double unit = nx_unit_microvolts(channel->unit);
    char name[24];
    r = nx_recording_read(recording, &judged->picks[c], 1, 0, n, raw, err);
    for (size_t i = 0; !r && i < n; i++)
      x[i] = (unit > 0 ? unit : 1) * (double)raw[i];
    if (!r)
      r = nx_welch_density(welch, x, n, density, err);
    if (r < 0)
      return r;
    double l50 = line_db(density, n_bins, 50), l60 = line_db(density, n_bins, 60);
    if (isfinite(l50))
      lines50[n50++] = l50;
    if (isfinite(l60))
      lines60[n60++] = l60;
    if (judged->quality[c].reasons & (NX_BAD_FLAT | NX_BAD_NOT_A_NUMBER))
      continue;
    region_of(channel, name);
    struct nx_survey_region *region = take_region(survey, name);
    for (size_t k = 0; k < n_bins; k++) {
      region->density[k] += density[k];
      region->n[k]++;
    }
    if (!survey->power_unit[0])
      snprintf(survey->power_unit, sizeof survey->power_unit, "%s\xc2\xb2/Hz",
               unit > 0 ? "\xc2\xb5V" : channel->unit);
  }
  out->line50_db = median_of(lines50, n50);
  out->line60_db = median_of(lines60, n60);
  return r;
}
