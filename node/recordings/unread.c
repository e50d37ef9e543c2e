#include "node/recordings/unread.h"

#include <string.h>
#include <strings.h>

#include "common/size.h"

/* By how the name ends; the first that fits. */
static const struct {
  const char *ending, *words;
} kinds[] = {
    {".eeg", "holds samples of a BrainVision recording: name its .vhdr"},
    {".vmrk", "holds markers of a BrainVision recording: name its .vhdr"},
    {".fdt", "holds samples of an EEGLAB recording: name its .set"},
    {".sqd", "is a KIT recording, which is not read here: convert it to FIF"},
    {".con", "is a KIT recording, which is not read here: convert it to FIF"},
    {"_pdf_linux", "is a 4D (BTi) recording, which is not read here: convert it to FIF"},
    {".mff", "is an EGI recording, which is not read here: convert it to EDF"},
    {".raw", "is an EGI recording, which is not read here: convert it to EDF"},
    {".lay", "is a Persyst recording, which is not read here: convert it to EDF"},
    {".dat", "is no recording by itself, and Persyst's are not read here: convert it to EDF"},
    {".xdf", "is an XDF recording, which is not read here: convert it to EDF"},
    {".cnt", "is a Neuroscan or ANT recording, which is not read here: convert it to EDF"},
    {".nev", "is a Blackrock recording, which is not read here: convert it to NWB"},
    {".ns5", "is a Blackrock recording, which is not read here: convert it to NWB"},
    {".plx", "is a Plexon recording, which is not read here: convert it to NWB"},
    {".gii", "is a surface, not a recording"},
    {".pos", "is a list of places, not a recording"},
    {".hpts", "is a list of places, not a recording"},
    {".tsv", "is a table, not a recording"},
    {".csv", "is a table, not a recording"},
    {".json", "is a text beside recordings, not a recording"},
    {".txt", "is a text, not a recording"},
    {".md", "is a text, not a recording"},
    {"README", "is a text, not a recording"},
    {"LICENSE", "is a text, not a recording"},
    {"CHANGES", "is a text, not a recording"},
    {"SHA256SUMS", "is a text, not a recording"},
};

int nx_recording_refuse_unread(const char *path, struct nx_error *err) {
  size_t n = strlen(path);
  if (strstr(path, ".ds/"))
    return nx_fail(err, NX_E_UNSUPPORTED,
                   "%s is part of a CTF recording, which is not read here: convert it to FIF",
                   path);
  for (size_t i = 0; i < NX_ARRAY_LENGTH(kinds); i++) {
    size_t length = strlen(kinds[i].ending);
    if (n >= length && !strcasecmp(path + n - length, kinds[i].ending))
      return nx_fail(err, NX_E_UNSUPPORTED, "%s %s", path, kinds[i].words);
  }
  return nx_fail(err, NX_E_UNSUPPORTED,
                 "%s is in no format read here: convert it to EDF, or take it out of the folder",
                 path);
}
