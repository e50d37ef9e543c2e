/* libFuzzer: any bytes as a site policy file. */
#include "node/policy/site_policy.h"
#include "tests/fuzz/fuzz-file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(nx_site_policy_destroyp) struct nx_site_policy *config = NULL;
  char path[64];
  int fd = fuzz_file(data, size, path);
  nx_site_policy_load(path, &config, NULL);
  close(fd);
  return 0;
}
