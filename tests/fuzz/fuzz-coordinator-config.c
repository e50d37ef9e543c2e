/* libFuzzer: any bytes as a coordinator config file. */
#include "coordinator/coordinator_config.h"
#include "tests/fuzz/fuzz-file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(nx_coordinator_config_destroyp) struct nx_coordinator_config *config = NULL;
  char path[64];
  int fd = fuzz_file(data, size, path);
  nx_coordinator_config_load(path, &config, NULL);
  close(fd);
  return 0;
}
