/* What NWB and SNIRF say about a subject. */
#include <stdio.h>
#include <string.h>

#include "node/recordings/hdf5_series.h"
#include "node/recordings/identity.h"

static void look_at(struct nx_recording *recording, hid_t at, const char *path, const char *key) {
  char text[NX_HDF5_TEXT] = "", line[NX_HDF5_TEXT + 32];
  if (!nx_hdf5_has(at, path))
    return;
  nx_hdf5_string(at, path, text);
  int n = snprintf(line, sizeof line, "%s=%s", key, text);
  nx_identity_line(recording, line, (size_t)n);
}

void nx_identify_hdf5(struct nx_recording *recording) {
  static const struct {
    const char *path, *key;
  } fields[] = {
      {"general/subject/subject_id", "subject"},
      {"general/subject/description", "subject"},
      {"general/subject/date_of_birth", "birth date"},
      {"nirs/metaDataTags/SubjectID", "subject"},
      {"nirs/metaDataTags/SubjectName", "subject"},
      {"nirs/metaDataTags/PatientName", "patient"},
      {"nirs/metaDataTags/DateOfBirth", "birth date"},
      {"nirs1/metaDataTags/SubjectID", "subject"},
      {"nirs1/metaDataTags/PatientName", "patient"},
      {"nirs1/metaDataTags/DateOfBirth", "birth date"},
  };
  const struct nx_hdf5 *h = recording->state;
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
    look_at(recording, h->file, fields[i].path, fields[i].key);
}
