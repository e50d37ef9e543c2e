#include "crypto/openssl_types.h"

#include <openssl/pem.h>

#include "crypto/certificate.h"

int nx_openssl_fail(struct nx_error *err, const char *what) {
  const char *reason = ERR_reason_error_string(ERR_peek_last_error());
  int r = nx_fail(err, NX_E_CRYPTO, "%s: %s", what, reason ? reason : "OpenSSL gives no reason");
  ERR_clear_error();
  return r;
}

/* Without this an encrypted key would make OpenSSL ask on the terminal. */
static int no_password(char *buffer, int size, int writing, void *context) {
  (void)buffer, (void)size, (void)writing, (void)context;
  return -1;
}

static BIO *reader_of(struct nx_bytes bytes, const char *what, struct nx_error *err) {
  if (bytes.size == 0 || bytes.size > NX_CERTIFICATE_CAP) {
    nx_fail(err, NX_E_FORMAT, "%s of %zu bytes: it must have 1 to %zu", what, bytes.size,
            NX_CERTIFICATE_CAP);
    return NULL;
  }
  BIO *bio = BIO_new_mem_buf(bytes.data, (int)bytes.size);
  if (!bio)
    nx_fail(err, NX_E_NOMEM, "out of memory for a %s", what);
  return bio;
}

static void *checked(void *parsed, const char *what, struct nx_error *err) {
  ERR_clear_error();
  if (!parsed)
    nx_fail(err, NX_E_FORMAT, "these bytes are not a %s", what);
  return parsed;
}

EVP_PKEY *nx_openssl_key(struct nx_bytes pem, struct nx_error *err) {
  _cleanup_(BIO_free_allp) BIO *bio = reader_of(pem, "private key", err);
  return bio ? checked(PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL), "private key", err)
             : NULL;
}

X509 *nx_openssl_certificate(struct nx_bytes bytes, struct nx_error *err) {
  _cleanup_(BIO_free_allp) BIO *bio = reader_of(bytes, "certificate", err);
  if (!bio)
    return NULL;
  X509 *certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL);
  if (!certificate) {
    const uint8_t *at = bytes.data;
    certificate = d2i_X509(NULL, &at, (long)bytes.size);
  }
  return checked(certificate, "certificate", err);
}

X509_REQ *nx_openssl_request(struct nx_bytes pem, struct nx_error *err) {
  _cleanup_(BIO_free_allp) BIO *bio = reader_of(pem, "certificate request", err);
  return bio ? checked(PEM_read_bio_X509_REQ(bio, NULL, no_password, NULL), "certificate request",
                       err)
             : NULL;
}
