/* Every file of the shared recordings, published BIDS examples and texts beside them included,
 * opens or is refused with the right words: by a table in which every line has to be needed. HDF5
 * files through the sandbox, the only way they are opened; the others in this process. */
#include <fnmatch.h>
#include <fts.h>
#include <sys/stat.h>

#include "common/size.h"
#include "node/recordings/sandbox.h"
#include "tests/support/shared_data.h"

#define OPENS ""
#define FEWEST 700 /* files there were when this was written: 762 */

static struct row {
  const char *pattern; /* of the path below the folder; a star passes slashes, too */
  const char *words;   /* of the refusal, or OPENS */
  size_t n;
} rows[] = {
    {"*/anat/*", "is anatomical: such images are never opened", 0},
    {"*/anatomy/*", "is anatomical: such images are never opened", 0},
    {"*.ds/*", "is part of a CTF recording, which is not read here: convert it to FIF", 0},
    {"*.vhdr", OPENS, 0},
    {"*.eeg", "holds samples of a BrainVision recording: name its .vhdr", 0},
    {"*.vmrk", "holds markers of a BrainVision recording: name its .vhdr", 0},
    {"*.edf", OPENS, 0},
    {"*.bdf", OPENS, 0},
    {"*.fif", OPENS, 0},
    {"*.set", OPENS, 0},
    {"*.snirf", OPENS, 0},
    {"*.npy", OPENS, 0},
    {"*.mat", OPENS, 0},
    {"*.videoPositionTracking", OPENS, 0},
    {"*.nii.gz", OPENS, 0},
    {"*.sqd", "is a KIT recording, which is not read here: convert it to FIF", 0},
    {"*/bti/test_pdf_linux", "is a 4D (BTi) recording, which is not read here: convert it to FIF",
     0},
    {"*/bti/*", "is in no format read here", 0},
    {"*.raw", "is an EGI recording, which is not read here: convert it to EDF", 0},
    {"*.lay", "is a Persyst recording, which is not read here: convert it to EDF", 0},
    {"*.dat", "Persyst's are not read here: convert it to EDF", 0},
    {"*.dat.gz", "is in no format read here", 0},
    {"*.xyz", "is in no format read here", 0},
    {"*.par", "is in no format read here", 0},
    {"*.xdf", "is an XDF recording, which is not read here: convert it to EDF", 0},
    {"*.pos", "is a list of places, not a recording", 0},
    {"*.hpts", "is a list of places, not a recording", 0},
    {"*.[tc]sv", "is a table, not a recording", 0},
    {"*.json", "is a text beside recordings, not a recording", 0},
    {"*.txt", "is a text, not a recording", 0},
    {"*.md", "is a text, not a recording", 0},
    {"*README", "is a text, not a recording", 0},
    {"*LICENSE", "is a text, not a recording", 0},
    {"*CHANGES", "is a text, not a recording", 0},
    {"*SHA256SUMS", "is a text, not a recording", 0},
};

static bool is_hdf5(const char *path) {
  static const char magic[8] = "\x89HDF\r\n\x1a\n";
  char head[8] = "";
  FILE *file = fopen(path, "rb");
  bool same =
      file && fread(head, 1, sizeof head, file) == sizeof head && !memcmp(head, magic, sizeof head);
  if (file)
    fclose(file);
  return same;
}

/* False: not as the table says. */
static bool as_expected(const char *path, const struct row *row) {
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  int r = is_hdf5(path)
              ? nx_recording_open_sandboxed(getenv("NEUROX_READER"), path, &recording, &err)
              : nx_recording_open(path, &recording, &err);
  bool opens = row->words[0] == 0;
  bool good = opens ? r == 0 && nx_recording_info(recording)->format[0]
                    : r < 0 && strstr(err.text, row->words) && strstr(err.text, path);
  if (!good)
    print_message("%s\n  is:     %s\n  should: %s\n", path, r < 0 ? err.text : "opens",
                  opens ? "opens" : row->words);
  nx_recording_close(recording);
  return good;
}

/* What is empty is called so whatever its name, but what must not be opened is not even looked at.
 */
static const struct row empty = {"", "is empty: copy the file again", 0};

static struct row *row_of(const char *below) {
  for (size_t i = 0; i < NX_ARRAY_LENGTH(rows); i++)
    if (fnmatch(rows[i].pattern, below, 0) == 0)
      return &rows[i];
  return NULL;
}

static void every_shared_file_opens_or_is_refused_with_the_right_words(void **state) {
  (void)state;
  char root[512];
  size_t n = 0, n_empty = 0, wrong = 0, skipped = 0;
  bool has_hdf5 = !strcmp(getenv("NEUROX_HAS_HDF5"), "1");
  shared_data(root, sizeof root, "SHA256SUMS");
  *strrchr(root, '/') = 0;
  FTS *walk = fts_open((char *[]){root, NULL}, FTS_LOGICAL | FTS_NOCHDIR, NULL);
  assert_non_null(walk);
  for (FTSENT *entry; (entry = fts_read(walk));) {
    if (entry->fts_info != FTS_F)
      continue;
    const char *below = entry->fts_path + strlen(root) + 1;
    struct row *row = row_of(below);
    n++;
    if (!row) {
      print_message("%s: no line of the table is for it\n", below);
      wrong++;
      continue;
    }
    bool is_empty = entry->fts_statp->st_size == 0 && !strstr(row->words, "anatomical");
    n_empty += is_empty;
    row->n++;
    if (!has_hdf5 && is_hdf5(entry->fts_path))
      skipped++;
    else
      wrong += !as_expected(entry->fts_path, is_empty ? &empty : row);
  }
  fts_close(walk);
  for (size_t i = 0; i < NX_ARRAY_LENGTH(rows); i++)
    if (!rows[i].n) {
      print_message("%s: no file is such\n", rows[i].pattern);
      wrong++;
    }
  print_message("%zu files, %zu not tried for want of libhdf5\n", n, skipped);
  assert_int_equal(wrong, 0);
  assert_true(n_empty > 0);
  assert_true(n >= FEWEST);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_shared_file_opens_or_is_refused_with_the_right_words)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
