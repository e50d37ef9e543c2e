/* The half of certificate.h that only looks: identity, name, validity. */
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "crypto/certificate.h"
#include "crypto/openssl_types.h"

NX_DEFINE_CLEANUP(X509_STORE *, X509_STORE_free)
NX_DEFINE_CLEANUP(X509_STORE_CTX *, X509_STORE_CTX_free)

static int spki_of(X509_PUBKEY *key, struct nx_hash *spki_out, struct nx_error *err) {
  uint8_t *der = NULL;
  int n = key ? i2d_X509_PUBKEY(key, &der) : -1;
  if (n <= 0)
    return nx_openssl_fail(err, "read a public key");
  *spki_out = nx_sha256(der, (size_t)n);
  OPENSSL_free(der);
  return 0;
}

int nx_certificate_spki(struct nx_bytes certificate, struct nx_hash *spki_out,
                        struct nx_error *err) {
  _cleanup_(X509_freep) X509 *x509 = nx_openssl_certificate(certificate, err);
  return x509 ? spki_of(X509_get_X509_PUBKEY(x509), spki_out, err) : NX_E_FORMAT;
}

int nx_certificate_key_spki(struct nx_bytes key_pem, struct nx_hash *spki_out,
                            struct nx_error *err) {
  _cleanup_(EVP_PKEY_freep) EVP_PKEY *key = nx_openssl_key(key_pem, err);
  X509_PUBKEY *public_key = NULL;
  if (!key)
    return NX_E_FORMAT;
  if (X509_PUBKEY_set(&public_key, key) != 1)
    return nx_openssl_fail(err, "read a public key");
  int r = spki_of(public_key, spki_out, err);
  X509_PUBKEY_free(public_key);
  return r;
}

int nx_certificate_check_request(struct nx_bytes request_pem, struct nx_hash *spki_out,
                                 struct nx_error *err) {
  _cleanup_(X509_REQ_freep) X509_REQ *request = nx_openssl_request(request_pem, err);
  char group[32] = "";
  if (!request)
    return NX_E_FORMAT;
  EVP_PKEY *key = X509_REQ_get0_pubkey(request);
  if (!key || EVP_PKEY_get_group_name(key, group, sizeof group, NULL) != 1 ||
      strcmp(group, "prime256v1")) {
    ERR_clear_error();
    return nx_fail(err, NX_E_CRYPTO, "certificate request: its key is not on P-256");
  }
  if (X509_REQ_verify(request, key) != 1)
    return nx_openssl_fail(err, "certificate request: its signature does not verify");
  return spki_of(X509_REQ_get_X509_PUBKEY(request), spki_out, err);
}

int nx_certificate_common_name(struct nx_bytes certificate, char out[NX_CERTIFICATE_NAME_SIZE],
                               struct nx_error *err) {
  _cleanup_(X509_freep) X509 *x509 = nx_openssl_certificate(certificate, err);
  if (!x509)
    return NX_E_FORMAT;
  X509_NAME *subject = X509_get_subject_name(x509);
  int n = X509_NAME_get_text_by_NID(subject, NID_commonName, out, NX_CERTIFICATE_NAME_SIZE);
  ERR_clear_error();
  if (n <= 0 || strlen(out) != (size_t)n)
    return nx_fail(err, NX_E_FORMAT, "the certificate has no common name");
  return 0;
}

int nx_certificate_days_left(struct nx_bytes certificate, int64_t now, int64_t *days_out,
                             struct nx_error *err) {
  _cleanup_(X509_freep) X509 *x509 = nx_openssl_certificate(certificate, err);
  int days = 0, seconds = 0;
  if (!x509)
    return NX_E_FORMAT;
  ASN1_TIME *time = ASN1_TIME_set(NULL, (time_t)now);
  int ok = time && ASN1_TIME_diff(&days, &seconds, time, X509_get0_notAfter(x509)) == 1;
  ASN1_TIME_free(time);
  if (!ok)
    return nx_openssl_fail(err, "read a certificate's end");
  *days_out = days - (days <= 0 && seconds < 0);
  return 0;
}

int nx_certificate_ends(struct nx_bytes certificate, int64_t *ends_out, struct nx_error *err) {
  _cleanup_(X509_freep) X509 *x509 = nx_openssl_certificate(certificate, err);
  struct tm time = {0};
  if (!x509)
    return NX_E_FORMAT;
  if (ASN1_TIME_to_tm(X509_get0_notAfter(x509), &time) != 1)
    return nx_openssl_fail(err, "read a certificate's end");
  *ends_out = timegm(&time);
  return 0;
}

static int verify_chain(X509 *ca, X509 *certificate, int64_t now, struct nx_error *err) {
  _cleanup_(X509_STORE_freep) X509_STORE *store = X509_STORE_new();
  _cleanup_(X509_STORE_CTX_freep) X509_STORE_CTX *context = X509_STORE_CTX_new();
  if (!store || !context || X509_STORE_add_cert(store, ca) != 1 ||
      X509_STORE_CTX_init(context, store, certificate, NULL) != 1)
    return nx_openssl_fail(err, "verify a certificate");
  X509_STORE_CTX_set_time(context, 0, (time_t)now);
  int ok = X509_verify_cert(context) == 1;
  ERR_clear_error();
  if (ok)
    return 0;
  return nx_fail(err, NX_E_CRYPTO, "the certificate is not valid here: %s",
                 X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
}

int nx_certificate_verify(struct nx_bytes ca_certificate, struct nx_bytes certificate, int64_t now,
                          struct nx_error *err) {
  _cleanup_(X509_freep) X509 *ca = nx_openssl_certificate(ca_certificate, err);
  _cleanup_(X509_freep) X509 *x509 = ca ? nx_openssl_certificate(certificate, err) : NULL;
  return x509 ? verify_chain(ca, x509, now, err) : NX_E_FORMAT;
}
