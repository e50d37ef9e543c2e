/* libFuzzer: any bytes as a protected key file. What is parsed lies within it, and asks for no more
 * than the caps; opening costs Argon2id only up to a little memory here. */
#include <stdlib.h>

#include "crypto/key_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(nx_key_finish) struct nx_key key = {0};
  static const struct nx_passphrase passphrase = {.size = 4, .text = "open"};
  struct nx_bytes file = nx_bytes(data, size);
  struct nx_key_header header;
  if (nx_key_file_parse(file, &header, NULL) < 0)
    return 0;
  if (!nx_key_file_is_protected(file) || header.cost.passes > NX_KEY_PASSES_MOST ||
      header.cost.memory > NX_KEY_MEMORY_MOST || header.associated.data != data ||
      header.sealed.data < data || header.sealed.data + header.sealed.size > data + size)
    abort();
  if (header.cost.passes == 1 && header.cost.memory <= 65536)
    nx_key_file_open(file, &passphrase, &key, NULL);
  return 0;
}
