/* The half of certificate.h that only looks: identity, name, validity. */
#include <openssl/pem.h>
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

static int read_time(const ASN1_TIME *from, int64_t *out, struct nx_error *err) {
  struct tm time = {0};
  if (ASN1_TIME_to_tm(from, &time) != 1)
    return nx_openssl_fail(err, "read a certificate's time");
  *out = timegm(&time);
  return 0;
}

int nx_certificate_validity(struct nx_bytes certificate, int64_t *issued_out, int64_t *ends_out,
                            struct nx_error *err) {
  _cleanup_(X509_freep) X509 *x509 = nx_openssl_certificate(certificate, err);
  if (!x509)
    return NX_E_FORMAT;
  int r = read_time(X509_get0_notBefore(x509), issued_out, err);
  *issued_out += NX_CERTIFICATE_SLACK;
  return r < 0 ? r : read_time(X509_get0_notAfter(x509), ends_out, err);
}

int nx_certificate_renew_at(struct nx_bytes certificate, int64_t *at_out, struct nx_error *err) {
  int64_t issued, ends;
  int r = nx_certificate_validity(certificate, &issued, &ends, err);
  if (r == 0)
    *at_out = ends - (ends - issued) / 3;
  return r;
}

/* --- chains ---------------------------------------------------------------------------------- */

#define CHAIN_MOST 8

static void free_stack(STACK_OF(X509) * *stack) {
  sk_X509_pop_free(*stack, X509_free);
}

/* Every certificate of the PEM text, in order; at least one. */
static STACK_OF(X509) * read_all(struct nx_bytes pem, struct nx_error *err) {
  __attribute__((cleanup(free_stack))) STACK_OF(X509) *all = sk_X509_new_null();
  _cleanup_(BIO_free_allp) BIO *bio = NULL;
  if (!pem.size || pem.size > NX_CERTIFICATE_CAP || !all ||
      !(bio = BIO_new_mem_buf(pem.data, (int)pem.size))) {
    nx_fail(err, NX_E_FORMAT, "certificates of %zu bytes", pem.size);
    return NULL;
  }
  for (X509 *one; (one = PEM_read_bio_X509(bio, NULL, NULL, NULL));)
    if (sk_X509_num(all) >= CHAIN_MOST || !sk_X509_push(all, one)) {
      X509_free(one);
      nx_fail(err, NX_E_FORMAT, "more than %d certificates", CHAIN_MOST);
      return NULL;
    }
  ERR_clear_error();
  if (!sk_X509_num(all)) {
    nx_fail(err, NX_E_FORMAT, "these bytes are not a certificate");
    return NULL;
  }
  STACK_OF(X509) *made = all;
  all = NULL;
  return made;
}

static int verify_chain(STACK_OF(X509) * trusted, X509 *certificate, STACK_OF(X509) * between,
                        int64_t now, struct nx_error *err) {
  _cleanup_(X509_STORE_freep) X509_STORE *store = X509_STORE_new();
  _cleanup_(X509_STORE_CTX_freep) X509_STORE_CTX *context = X509_STORE_CTX_new();
  if (!store || !context)
    return nx_openssl_fail(err, "verify a certificate");
  for (int i = 0; i < sk_X509_num(trusted); i++)
    if (X509_STORE_add_cert(store, sk_X509_value(trusted, i)) != 1)
      return nx_openssl_fail(err, "verify a certificate");
  if (X509_STORE_CTX_init(context, store, certificate, between) != 1)
    return nx_openssl_fail(err, "verify a certificate");
  X509_STORE_CTX_set_time(context, 0, (time_t)now);
  int ok = X509_verify_cert(context) == 1;
  ERR_clear_error();
  if (ok)
    return 0;
  return nx_fail(err, NX_E_CRYPTO, "the certificate is not valid here: %s",
                 X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
}

int nx_certificate_verify(struct nx_bytes ca_certificates, struct nx_bytes certificate, int64_t now,
                          struct nx_error *err) {
  __attribute__((cleanup(free_stack))) STACK_OF(X509) *trusted = read_all(ca_certificates, err);
  __attribute__((cleanup(free_stack))) STACK_OF(X509) *chain =
      trusted ? read_all(certificate, err) : NULL;
  return chain ? verify_chain(trusted, sk_X509_value(chain, 0), chain, now, err) : NX_E_FORMAT;
}

static bool holds(STACK_OF(X509) * all, const X509 *one) {
  for (int i = 0; i < sk_X509_num(all); i++)
    if (X509_cmp(sk_X509_value(all, i), one) == 0)
      return true;
  return false;
}

/* A cross-certificate for the root's own name and key that a trusted root signed. */
static bool is_vouched_for(STACK_OF(X509) * trusted, X509 *root, STACK_OF(X509) * crosses,
                           int64_t now) {
  for (int i = 0; crosses && i < sk_X509_num(crosses); i++) {
    X509 *cross = sk_X509_value(crosses, i);
    if (X509_NAME_cmp(X509_get_subject_name(cross), X509_get_subject_name(root)) == 0 &&
        EVP_PKEY_eq(X509_get0_pubkey(cross), X509_get0_pubkey(root)) == 1 &&
        X509_check_ca(cross) == 1 && verify_chain(trusted, cross, NULL, now, NULL) == 0)
      return true;
  }
  return false;
}

int nx_certificate_check_roots(struct nx_bytes trusted_pem, struct nx_bytes announced_pem,
                               struct nx_bytes crosses_pem, int64_t now, struct nx_error *err) {
  __attribute__((cleanup(free_stack))) STACK_OF(X509) *trusted = read_all(trusted_pem, err);
  __attribute__((cleanup(free_stack))) STACK_OF(X509) *announced =
      trusted ? read_all(announced_pem, err) : NULL;
  __attribute__((cleanup(free_stack))) STACK_OF(X509) *crosses =
      crosses_pem.size ? read_all(crosses_pem, NULL) : NULL;
  if (!announced)
    return NX_E_FORMAT;
  for (int i = 0; i < sk_X509_num(announced); i++) {
    X509 *root = sk_X509_value(announced, i);
    if (!holds(trusted, root) && !is_vouched_for(trusted, root, crosses, now))
      return nx_fail(err, NX_E_CRYPTO,
                     "a root certificate was announced that no trusted root vouches for");
  }
  return 0;
}
