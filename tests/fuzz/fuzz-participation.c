/* libFuzzer: any bytes as what a model says of its making, alone and inside of a model, and told to
 * people. The corpus holds true ones (tests/unit/crypto/test-participation_check.c makes them):
 * bytes that no signature covers, names and numbers and the model's header, change from there. */
#include <stdlib.h>

#include "crypto/participation_check.h"
#include "tests/fuzz/fuzz-file.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
  return freopen("/dev/null", "w", stdout) ? 0 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(nx_participation_closep) struct nx_participation *participation = NULL;
  struct nx_participation_told told = {0};
  char path[64];
  int fd = fuzz_file(data, size, path);
  if (nx_participation_open(path, &participation, NULL) == 0) {
    nx_participation_count(participation, &told);
    nx_participation_print(participation);
  }
  close(fd);
  return 0;
}
