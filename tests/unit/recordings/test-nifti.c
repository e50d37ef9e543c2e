/* NIfTI beside nibabel (Debian python3-nibabel): integers bit for bit, physical values to 1e-6. */
#include <math.h>
#include <sys/wait.h>

#include "node/recordings/recording.h"
#include "tests/support/shared_data.h"

#define NO_NIBABEL 77

static double *load_want(const char *folder, const char *name, size_t n) {
  char path[256];
  double *want = calloc(n + 1, sizeof *want);
  snprintf(path, sizeof path, "%s/%s.want", folder, name);
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  assert_non_null(want);
  assert_int_equal(fread(want, sizeof *want, n + 1, file), n);
  fclose(file);
  return want;
}

static void compare(const char *folder, const char *name) {
  struct nx_recording *recording = NULL;
  struct nx_error err = {0};
  char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  if (nx_recording_open(path, &recording, &err) < 0)
    fail_msg("%s: %s", name, err.text);
  const struct nx_recording_info *info = nx_recording_info(recording);
  size_t voxels = info->n_channels, volumes = (size_t)info->channels[0].n_samples;
  double *want = load_want(folder, name, voxels * volumes);
  float *got = calloc(voxels * volumes, sizeof *got);
  uint32_t *picks = calloc(voxels, sizeof *picks);
  assert_non_null(got);
  assert_non_null(picks);
  for (uint32_t v = 0; v < voxels; v++)
    picks[v] = v;
  if (nx_recording_read(recording, picks, voxels, 0, volumes, got, &err) < 0)
    fail_msg("%s: %s", name, err.text);
  bool scaled = strstr(name, "scaled");
  for (size_t v = 0; v < voxels; v++)
    for (size_t t = 0; t < volumes; t++) {
      double is = (double)got[v * volumes + t], should = want[t * voxels + v];
      if (scaled ? fabs(is - should) > 1e-6 * fmax(1, fabs(should)) : is != (double)(float)should)
        fail_msg("%s: voxel %zu, volume %zu is %.9g, nibabel says %.9g", name, v, t, is, should);
    }
  free(want);
  free(got);
  free(picks);
  nx_recording_close(recording);
}

static void remove_both(const char *folder, const char *name) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  unlink(path);
  snprintf(path, sizeof path, "%s/%s.want", folder, name);
  unlink(path);
}

static void images_are_as_nibabel_reads_them(void **state) {
  (void)state;
  char folder[] = "/tmp/neurox-nifti-XXXXXX", command[700], shared[512], name[64];
  const char *image = "fmri_haxby_pymvpa/haxby2001/sub001/BOLD/task001_run001/bold_25mm.nii.gz";
  size_t n = 0;
  shared_data(shared, sizeof shared, image);
  assert_non_null(mkdtemp(folder));
  snprintf(command, sizeof command, "/usr/bin/python3 tests/oracle/nifti_nibabel.py %s '%s'",
           folder, shared);
  FILE *names = popen(command, "r");
  assert_non_null(names);
  for (; fscanf(names, "%63s", name) == 1; n++) {
    compare(folder, name);
    remove_both(folder, name);
  }
  int code = pclose(names);
  rmdir(folder);
  if (WIFEXITED(code) && WEXITSTATUS(code) == NO_NIBABEL) {
    print_message("SKIPPED 1 test: no nibabel for /usr/bin/python3 (python3-nibabel)\n");
    skip();
  }
  assert_int_equal(code, 0);
  assert_int_equal(n, 12);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(images_are_as_nibabel_reads_them)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
