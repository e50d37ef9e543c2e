/* libFuzzer: any bytes as the body of an audit entry or (odd first byte) of a checkpoint. */
#include <stdlib.h>

#include "crypto/audit_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct nx_audit_entry entry;
  struct nx_audit_checkpoint checkpoint;
  if (size == 0)
    return 0;
  struct nx_bytes body = nx_bytes(data + 1, size - 1);
  if (data[0] & 1)
    return nx_audit_checkpoint_parse(body, &checkpoint, NULL), 0;
  if (nx_audit_entry_parse(body, &entry, NULL) == 0)
    for (size_t i = 0; i < entry.n_fields; i++) /* every view must lie within the body */
      if (entry.fields[i].bytes.size &&
          (entry.fields[i].bytes.data < body.data ||
           entry.fields[i].bytes.data + entry.fields[i].bytes.size > body.data + body.size))
        abort();
  return 0;
}
