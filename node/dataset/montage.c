#include "node/dataset/montage.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/size.h"

/* A place is either given (theta from the vertex, azimuth from the right ear counter-
 * clockwise, degrees) or lies midway between two others. */
struct place {
  const char *name;
  double theta, azimuth;
  const char *a, *b; /* NULL: given */
};

#define AT(name, theta, azimuth)                                                                   \
  { name, theta, azimuth, NULL, NULL }
#define MID(name, a, b)                                                                            \
  { name, 0, 0, a, b }

static const struct place places[] = {
    /* 10-20 */
    AT("Cz", 0, 0),
    AT("Fz", 45, 90),
    AT("Pz", 45, -90),
    AT("C3", 45, 180),
    AT("C4", 45, 0),
    AT("T3", 90, 180),
    AT("T4", 90, 0),
    AT("Fp1", 90, 108),
    AT("Fp2", 90, 72),
    AT("F7", 90, 144),
    AT("F8", 90, 36),
    AT("T5", 90, -144),
    AT("T6", 90, -36),
    AT("O1", 90, -108),
    AT("O2", 90, -72),
    MID("F3", "F7", "Fz"),
    MID("F4", "F8", "Fz"),
    MID("P3", "T5", "Pz"),
    MID("P4", "T6", "Pz"),
    /* the newer names of four of them */
    AT("T7", 90, 180),
    AT("T8", 90, 0),
    AT("P7", 90, -144),
    AT("P8", 90, -36),
    /* 10-10: midline and the ring */
    AT("Fpz", 90, 90),
    AT("Oz", 90, -90),
    MID("AFz", "Fpz", "Fz"),
    MID("FCz", "Fz", "Cz"),
    MID("CPz", "Cz", "Pz"),
    MID("POz", "Pz", "Oz"),
    MID("AF7", "Fp1", "F7"),
    MID("AF8", "Fp2", "F8"),
    MID("FT7", "F7", "T7"),
    MID("FT8", "F8", "T8"),
    MID("TP7", "T7", "P7"),
    MID("TP8", "T8", "P8"),
    MID("PO7", "P7", "O1"),
    MID("PO8", "P8", "O2"),
    /* 10-10: rows */
    MID("AF3", "AF7", "AFz"),
    MID("AF4", "AF8", "AFz"),
    MID("AF1", "AF3", "AFz"),
    MID("AF2", "AF4", "AFz"),
    MID("AF5", "AF7", "AF3"),
    MID("AF6", "AF8", "AF4"),
    MID("F1", "F3", "Fz"),
    MID("F2", "F4", "Fz"),
    MID("F5", "F7", "F3"),
    MID("F6", "F8", "F4"),
    MID("FC3", "FT7", "FCz"),
    MID("FC4", "FT8", "FCz"),
    MID("FC1", "FC3", "FCz"),
    MID("FC2", "FC4", "FCz"),
    MID("FC5", "FT7", "FC3"),
    MID("FC6", "FT8", "FC4"),
    MID("C1", "C3", "Cz"),
    MID("C2", "C4", "Cz"),
    MID("C5", "T7", "C3"),
    MID("C6", "T8", "C4"),
    MID("CP3", "TP7", "CPz"),
    MID("CP4", "TP8", "CPz"),
    MID("CP1", "CP3", "CPz"),
    MID("CP2", "CP4", "CPz"),
    MID("CP5", "TP7", "CP3"),
    MID("CP6", "TP8", "CP4"),
    MID("P1", "P3", "Pz"),
    MID("P2", "P4", "Pz"),
    MID("P5", "P7", "P3"),
    MID("P6", "P8", "P4"),
    MID("PO3", "PO7", "POz"),
    MID("PO4", "PO8", "POz"),
    MID("PO1", "PO3", "POz"),
    MID("PO2", "PO4", "POz"),
    MID("PO5", "PO7", "PO3"),
    MID("PO6", "PO8", "PO4"),
    /* below the ring */
    AT("Nz", 112.5, 90),
    AT("Iz", 112.5, -90),
    AT("F9", 112.5, 144),
    AT("F10", 112.5, 36),
    AT("FT9", 112.5, 162),
    AT("FT10", 112.5, 18),
    AT("T9", 112.5, 180),
    AT("T10", 112.5, 0),
    AT("TP9", 112.5, -162),
    AT("TP10", 112.5, -18),
    AT("P9", 112.5, -144),
    AT("P10", 112.5, -36),
};

static const struct place *find(const char *name) {
  for (size_t i = 0; i < NX_ARRAY_LENGTH(places); i++)
    if (!strcasecmp(places[i].name, name))
      return &places[i];
  return NULL;
}

/* Prefixes and references that recorders put around an electrode's name. */
static void strip(char *name) {
  static const char *const before[] = {"EEG ", "EEG-", "POL ", "EEG"};
  static const char *const after[] = {"-Ref", "-LE", "-AVG", "-AR",  "-AA",    "-A1",
                                      "-A2",  "-M1", "-M2",  "-CAR", "-linked"};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(before); i++)
    if (!strncasecmp(name, before[i], strlen(before[i]))) {
      memmove(name, name + strlen(before[i]), strlen(name + strlen(before[i])) + 1);
      break;
    }
  size_t n = strlen(name);
  for (size_t i = 0; i < NX_ARRAY_LENGTH(after); i++) {
    size_t m = strlen(after[i]);
    if (n > m && !strcasecmp(name + n - m, after[i])) {
      name[n - m] = 0;
      break;
    }
  }
  for (n = strlen(name); n && (name[n - 1] == '.' || name[n - 1] == ' '); n--)
    name[n - 1] = 0;
}

bool nx_montage_clean(const char *label, char name_out[16]) {
  char name[64];
  snprintf(name, sizeof name, "%s", label + strspn(label, " "));
  strip(name);
  const struct place *place = find(name);
  if (!place)
    return false;
  snprintf(name_out, 16, "%s", place->name);
  return true;
}

static bool locate(const char *name, double xyz[3]) {
  const struct place *place = find(name);
  if (!place)
    return false;
  if (!place->a) {
    double theta = place->theta * (M_PI / 180), azimuth = place->azimuth * (M_PI / 180);
    xyz[0] = sin(theta) * cos(azimuth);
    xyz[1] = sin(theta) * sin(azimuth);
    xyz[2] = cos(theta);
    return true;
  }
  double a[3], b[3], norm = 0;
  if (!locate(place->a, a) || !locate(place->b, b))
    return false;
  for (int i = 0; i < 3; i++) {
    xyz[i] = a[i] + b[i];
    norm += xyz[i] * xyz[i];
  }
  for (int i = 0; i < 3; i++)
    xyz[i] /= sqrt(norm);
  return true;
}

bool nx_montage_position(const char *name, float xyz_out[3]) {
  double xyz[3];
  if (!locate(name, xyz))
    return false;
  for (int i = 0; i < 3; i++)
    xyz_out[i] = (float)xyz[i];
  return true;
}

bool nx_montage_same(const char *a, const char *b) {
  static const char *const pairs[][2] = {{"T3", "T7"}, {"T4", "T8"}, {"T5", "P7"}, {"T6", "P8"}};
  if (!strcasecmp(a, b))
    return true;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(pairs); i++)
    if ((!strcasecmp(a, pairs[i][0]) && !strcasecmp(b, pairs[i][1])) ||
        (!strcasecmp(a, pairs[i][1]) && !strcasecmp(b, pairs[i][0])))
      return true;
  return false;
}
