/* libFuzzer: any bytes as a certificate and as a request, as a stranger may send them. */
#include "crypto/certificate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct nx_bytes bytes = nx_bytes(data, size);
  struct nx_hash spki;
  char name[NX_CERTIFICATE_NAME_SIZE];
  int64_t days;
  nx_certificate_spki(bytes, &spki, NULL);
  nx_certificate_common_name(bytes, name, NULL);
  nx_certificate_days_left(bytes, 1800000000, &days, NULL);
  nx_certificate_verify(bytes, bytes, 1800000000, NULL);
  nx_certificate_check_request(bytes, &spki, NULL);
  nx_certificate_key_spki(bytes, &spki, NULL);
  return 0;
}
