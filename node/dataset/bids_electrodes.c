#include "node/dataset/bids_electrodes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/size.h"
#include "node/dataset/tsv.h"

/* The farthest electrode from the origin of any head-bound system: a human head gives 20 mm (a
 * small strip near the commissure) to 200 mm, a mouse's probe 1 mm. */
#define FAR_MIN 0.001
#define FAR_MAX 0.4
#define HEAD_MIN 0.015
#define HEAD_MAX 0.25

static double unit_metres(const char *unit) {
  return !strcmp(unit, "m") ? 1 : !strcmp(unit, "cm") ? 1e-2 : !strcmp(unit, "mm") ? 1e-3 : 0;
}

/* *pixels_out: the coordinates are pixels of a photo; unit 0 then. */
static int read_unit(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                     double *metres_out, char unit_out[16], char *system_out, size_t system_size,
                     struct nx_error *err) {
  const struct nx_bids_file *coordsystem = nx_bids_inherited(tree, file, "coordsystem", ".json");
  static const char *const prefixes[] = {"iEEG", "EEG", "MEG"};
  char key[48];
  cJSON *json = NULL;
  if (!coordsystem)
    return nx_fail(err, NX_E_NOT_FOUND, "%s: no coordsystem.json says its unit", file->path);
  int r = nx_bids_json(tree, coordsystem->path, &json, err);
  *metres_out = 0;
  unit_out[0] = 0;
  for (size_t i = 0; !r && i < NX_ARRAY_LENGTH(prefixes) && !unit_out[0]; i++) {
    snprintf(key, sizeof key, "%sCoordinateUnits", prefixes[i]);
    const cJSON *unit = cJSON_GetObjectItemCaseSensitive(json, key);
    snprintf(key, sizeof key, "%sCoordinateSystem", prefixes[i]);
    const cJSON *system = cJSON_GetObjectItemCaseSensitive(json, key);
    if (cJSON_IsString(unit))
      snprintf(unit_out, 16, "%.15s", unit->valuestring);
    if (cJSON_IsString(system))
      snprintf(system_out, system_size, "%s", system->valuestring);
  }
  if (!r)
    *metres_out = unit_metres(unit_out);
  if (!r && *metres_out == 0)
    r = nx_fail(err, NX_E_FORMAT, "%s: coordinates are in no unit of length (m, cm, mm)",
                coordsystem->path);
  cJSON_Delete(json);
  return r;
}

static int fill(const struct nx_tsv *table, double metres, struct nx_electrodes *electrodes,
                struct nx_error *err) {
  size_t name = nx_tsv_column(table, "name"), group = nx_tsv_column(table, "group");
  size_t axes[3] = {nx_tsv_column(table, "x"), nx_tsv_column(table, "y"),
                    nx_tsv_column(table, "z")};
  electrodes->list = calloc(table->n_rows + 1, sizeof *electrodes->list);
  if (!electrodes->list)
    return nx_fail(err, NX_E_NOMEM, "electrodes: out of memory");
  for (size_t row = 0; row < table->n_rows; row++) {
    struct nx_electrode *electrode = &electrodes->list[electrodes->n];
    const char *text = nx_tsv_cell(table, row, name), *of = nx_tsv_cell(table, row, group);
    bool placed = text != NULL;
    for (int a = 0; a < 3 && placed; a++) {
      placed = nx_tsv_number(table, row, axes[a], &electrode->metres[a]);
      electrode->metres[a] *= metres;
    }
    if (!placed)
      continue;
    snprintf(electrode->name, sizeof electrode->name, "%s", text);
    snprintf(electrode->group, sizeof electrode->group, "%s", of ? of : "");
    electrodes->n++;
  }
  return 0;
}

static double farthest(const struct nx_electrodes *electrodes) {
  double far = 0;
  for (size_t i = 0; i < electrodes->n; i++) {
    const double *p = electrodes->list[i].metres;
    far = fmax(far, sqrt(p[0] * p[0] + p[1] * p[1] + p[2] * p[2]));
  }
  return far;
}

static int judge(const struct nx_bids_file *file, const struct nx_electrodes *electrodes,
                 double metres, const char *unit, struct nx_error *err) {
  static const char *const units[] = {"m", "cm", "mm"};
  double far = farthest(electrodes);
  if (electrodes->n < 2 || (far >= FAR_MIN && far <= FAR_MAX))
    return 0;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(units); i++) {
    double as = far / metres * unit_metres(units[i]);
    if (as >= HEAD_MIN && as <= HEAD_MAX)
      return nx_fail(err, NX_E_INVALID,
                     "%s: coordsystem.json says %s, which puts the farthest of %zu electrodes %.3g "
                     "mm from the origin; in %s it would be %.3g mm: correct the unit (or the "
                     "table)",
                     file->path, unit, electrodes->n, 1e3 * far, units[i], 1e3 * as);
  }
  return nx_fail(err, NX_E_INVALID,
                 "%s: the farthest electrode would be %.3g mm from the origin: no unit makes this "
                 "a head; correct the table",
                 file->path, 1e3 * far);
}

int nx_bids_electrodes(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                       struct nx_electrodes *electrodes_out, struct nx_error *err) {
  _cleanup_(nx_tsv_finish) struct nx_tsv table = {0};
  struct nx_electrodes electrodes = {0};
  char path[NX_PATH_SIZE], unit[16];
  double metres;
  int r = read_unit(tree, file, &metres, unit, electrodes.system, sizeof electrodes.system, err);
  if (!r)
    r = nx_path_join(path, tree->root, file->path, err);
  if (!r)
    r = nx_tsv_read(path, &table, err);
  if (!r)
    r = fill(&table, metres, &electrodes, err);
  if (!r)
    r = judge(file, &electrodes, metres, unit, err);
  if (r < 0)
    nx_electrodes_finish(&electrodes);
  else
    *electrodes_out = electrodes;
  return r;
}

void nx_electrodes_finish(struct nx_electrodes *electrodes) {
  free(electrodes->list);
  memset(electrodes, 0, sizeof *electrodes);
}

void nx_bids_check_electrodes(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                              struct nx_findings *findings) {
  struct nx_electrodes electrodes = {0};
  struct nx_error why = {0};
  if (nx_bids_electrodes(tree, file, &electrodes, &why) == NX_E_INVALID) {
    const char *words = strstr(why.text, ": ");
    nx_findings_add(findings, NX_FINDING_ERROR, "neurox.electrode-units", file->path, "%s",
                    words ? words + 2 : why.text);
  }
  nx_electrodes_finish(&electrodes);
}
