#include "crypto/hkdf.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

static OSSL_PARAM octets(const char *name, struct nx_bytes bytes) {
  static uint8_t nothing;
  void *data = bytes.size ? (void *)(uintptr_t)bytes.data : &nothing;
  return OSSL_PARAM_construct_octet_string(name, data, bytes.size);
}

int nx_hkdf(struct nx_bytes key, struct nx_bytes salt, struct nx_bytes info, uint8_t *out,
            size_t size, struct nx_error *err) {
  char digest[] = "SHA256";
  OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      octets(OSSL_KDF_PARAM_KEY, key),
      octets(OSSL_KDF_PARAM_SALT, salt),
      octets(OSSL_KDF_PARAM_INFO, info),
      OSSL_PARAM_construct_end(),
  };
  EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
  EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
  int ok = context && EVP_KDF_derive(context, out, size, parameters) == 1;
  EVP_KDF_CTX_free(context);
  EVP_KDF_free(kdf);
  if (ok)
    return 0;
  OPENSSL_cleanse(out, size);
  return nx_fail(err, NX_E_CRYPTO, "OpenSSL could not derive a key (HKDF-SHA256, %zu bytes)", size);
}
