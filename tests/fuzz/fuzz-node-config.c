/* libFuzzer: any bytes as a node config file. */
#include "node/node_config.h"
#include "tests/fuzz/fuzz-file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(nx_node_config_destroyp) struct nx_node_config *config = NULL;
  char path[64];
  int fd = fuzz_file(data, size, path);
  nx_node_config_load(path, &config, NULL);
  close(fd);
  return 0;
}
