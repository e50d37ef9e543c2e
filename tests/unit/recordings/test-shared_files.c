/* Every file of the shared recordings, published BIDS examples and what lies beside them included,
 * opens as the format it is, or is refused for the right reason; in the sandbox, as a node does. */
#include "common/file.h"
#include "common/size.h"
#include "node/recordings/recording.h"
#include "node/recordings/sandbox.h"
#include "tests/support/shared_data.h"

#define VECTORS "tests/vectors/recordings/"

/* verdicts.tsv: path, format and channels; or path, "refused" and words of the reason. */
static void every_shared_file_opens_or_is_refused_for_the_right_reason(void **state) {
  (void)state;
  const char *has = getenv("NEUROX_HAS_HDF5");
  char line[1024], path[NX_PATH_SIZE];
  size_t n = 0;
  if (!has || strcmp(has, "1")) {
    print_message("SKIPPED 1 test: built without libhdf5\n");
    skip();
  }
  shared_data(path, sizeof path, "README.md");
  FILE *table = fopen(VECTORS "verdicts.tsv", "r");
  assert_non_null(table);
  while (fgets(line, sizeof line, table)) {
    char *fields[3], *rest = line;
    struct nx_recording *recording = NULL;
    struct nx_error err = {0};
    line[strcspn(line, "\n")] = 0;
    for (int i = 0; i < 3; i++)
      assert_non_null(fields[i] = strsep(&rest, "\t"));
    int r = nx_recording_open_sandboxed(
        getenv("NEUROX_READER"), shared_data(path, sizeof path, fields[0]), &recording, &err);
    if (!strcmp(fields[1], "refused")) {
      if (r == 0 || !strstr(err.text, fields[2]))
        fail_msg("%s: \"%s\" where \"%s\" was expected", fields[0], r ? err.text : "opened",
                 fields[2]);
    } else if (r < 0) {
      fail_msg("%s", err.text);
    } else {
      assert_string_equal(nx_recording_info(recording)->format, fields[1]);
      assert_int_equal(nx_recording_info(recording)->n_channels, atoi(fields[2]));
    }
    nx_recording_close(recording);
    n++;
  }
  fclose(table);
  assert_true(n > 700);
}

/* The table knows every file: what is added to the shared data must get a verdict. */
static void the_table_of_verdicts_is_whole(void **state) {
  (void)state;
  char root[NX_PATH_SIZE], command[2 * NX_PATH_SIZE];
  shared_data(root, sizeof root, "README.md");
  *strrchr(root, '/') = 0;
  char *whole = realpath(VECTORS "verdicts.tsv", NULL), missing[512] = "";
  assert_non_null(whole);
  snprintf(command, sizeof command,
           "cd '%s' && find . -type f ! -name '*.md' | sed 's,^./,,' | LC_ALL=C sort > "
           "/tmp/nx-verdicts.$$ && cut -f 1 '%s' | LC_ALL=C sort | LC_ALL=C comm -23 "
           "/tmp/nx-verdicts.$$ - ; rm -f /tmp/nx-verdicts.$$",
           root, whole);
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  if (fgets(missing, sizeof missing, pipe))
    fail_msg("no verdict on %s", missing);
  pclose(pipe);
  free(whole);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_shared_file_opens_or_is_refused_for_the_right_reason),
      cmocka_unit_test(the_table_of_verdicts_is_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
