/* Places of a survey: where the electrodes were. */
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "node/dataset/bids_electrodes.h"
#include "node/dataset/montage.h"
#include "node/dataset/survey_parts.h"

#define PLACES 8192

static bool is_often_bad(const struct nx_survey *survey, const char *name) {
  for (size_t i = 0; i < survey->n_channels; i++)
    if (!strcmp(survey->channels[i].name, name))
      return survey->channels[i].n_judged &&
             2 * survey->channels[i].n_bad >= survey->channels[i].n_judged;
  return false;
}

static void add(struct nx_survey *survey, const char *name, const float xyz[3]) {
  if (survey->n_places == PLACES)
    return;
  struct nx_survey_place *place = &survey->places[survey->n_places++];
  memset(place, 0, sizeof *place);
  snprintf(place->name, sizeof place->name, "%s", name);
  memcpy(place->xyz, xyz, sizeof place->xyz);
  place->bad = is_often_bad(survey, name);
}

static void from_tables(struct nx_survey *survey, const struct nx_bids_tree *tree) {
  for (size_t i = 0; i < tree->n; i++) {
    const struct nx_bids_file *file = &tree->files[i];
    struct nx_electrodes electrodes = {0};
    if (!file->named || strcmp(file->name.suffix, "electrodes") != 0 ||
        strcmp(file->name.extension, ".tsv") != 0 ||
        nx_bids_electrodes(tree, file, &electrodes, NULL) < 0)
      continue;
    bool same = !survey->system[0] || !strcmp(survey->system, electrodes.system);
    if (same)
      snprintf(survey->system, sizeof survey->system, "%s", electrodes.system);
    for (size_t k = 0; same && k < electrodes.n; k++) {
      const double *p = electrodes.list[k].metres;
      add(survey, electrodes.list[k].name, (float[3]){(float)p[0], (float)p[1], (float)p[2]});
    }
    nx_electrodes_finish(&electrodes);
  }
}

static void from_names(struct nx_survey *survey) {
  for (size_t i = 0; i < survey->n_channels; i++) {
    char name[16];
    float xyz[3];
    if (strcmp(survey->channels[i].type, "eeg") != 0 ||
        !nx_montage_clean(survey->channels[i].name, name) || !nx_montage_position(name, xyz))
      continue;
    size_t before = survey->n_places;
    add(survey, name, xyz);
    if (survey->n_places > before)
      survey->places[before].bad = is_often_bad(survey, survey->channels[i].name);
  }
}

int nx_survey_places(struct nx_survey *survey, const struct nx_bids_tree *tree,
                     struct nx_error *err) {
  survey->places = calloc(PLACES, sizeof *survey->places);
  if (!survey->places)
    return nx_fail(err, NX_E_NOMEM, "survey: out of memory");
  from_tables(survey, tree);
  survey->on_sphere = !survey->n_places;
  if (survey->on_sphere) {
    from_names(survey);
    snprintf(survey->system, sizeof survey->system, "10-20/10-10 by name");
  }
  return 0;
}
