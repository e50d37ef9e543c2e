#include "crypto/certificate.h"

#include <arpa/inet.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/file.h"
#include "crypto/openssl_types.h"

#define SECONDS_A_DAY 86400

static int append_bio(BIO *bio, struct nx_buffer *out, struct nx_error *err) {
  char *data = NULL;
  long n = BIO_get_mem_data(bio, &data);
  return nx_buffer_append(out, data, (size_t)n, err);
}

static int append_certificate(X509 *certificate, struct nx_buffer *out, struct nx_error *err) {
  _cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());
  if (!bio || PEM_write_bio_X509(bio, certificate) != 1)
    return nx_openssl_fail(err, "write a certificate");
  return append_bio(bio, out, err);
}

int nx_certificate_make_key(struct nx_buffer *key_pem, struct nx_error *err) {
  _cleanup_(EVP_PKEY_freep) EVP_PKEY *key = EVP_EC_gen("P-256");
  _cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_secmem()); /* wipes what it held */
  if (!key || !bio || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
    return nx_openssl_fail(err, "make a private key");
  return append_bio(bio, key_pem, err);
}

static int set_name(X509_NAME *name, const char *common_name, struct nx_error *err) {
  size_t n = strlen(common_name);
  for (size_t i = 0; i < n; i++)
    if ((unsigned char)common_name[i] < 0x20 || common_name[i] == 0x7f)
      return nx_fail(err, NX_E_INVALID, "a certificate's name must not hold control characters");
  if (n < 1 || n >= NX_CERTIFICATE_NAME_SIZE)
    return nx_fail(err, NX_E_INVALID, "a certificate's name needs 1 to %d bytes, this has %zu",
                   NX_CERTIFICATE_NAME_SIZE - 1, n);
  const unsigned char *text = (const unsigned char *)common_name;
  if (X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, text, (int)n, -1, 0) != 1)
    return nx_openssl_fail(err, "a certificate's name");
  return 0;
}

static int sign_request(X509_REQ *request, EVP_PKEY *key, const char *common_name,
                        struct nx_error *err) {
  int r = set_name(X509_REQ_get_subject_name(request), common_name, err);
  if (r < 0)
    return r;
  if (X509_REQ_set_pubkey(request, key) != 1 || !X509_REQ_sign(request, key, EVP_sha256()))
    return nx_openssl_fail(err, "sign a certificate request");
  return 0;
}

int nx_certificate_make_request(struct nx_bytes key_pem, const char *common_name,
                                struct nx_buffer *request_pem, struct nx_error *err) {
  _cleanup_(EVP_PKEY_freep) EVP_PKEY *key = nx_openssl_key(key_pem, err);
  _cleanup_(X509_REQ_freep) X509_REQ *request = X509_REQ_new();
  _cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());
  if (!key)
    return NX_E_FORMAT;
  if (!request || !bio)
    return nx_openssl_fail(err, "make a certificate request");
  int r = sign_request(request, key, common_name, err);
  if (r < 0)
    return r;
  if (PEM_write_bio_X509_REQ(bio, request) != 1)
    return nx_openssl_fail(err, "write a certificate request");
  return append_bio(bio, request_pem, err);
}

static bool set_serial(X509 *certificate) {
  BIGNUM *serial = BN_new();
  bool ok = serial && BN_rand(serial, 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
            BN_set_bit(serial, 126) == 1 &&
            BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(certificate));
  BN_free(serial);
  return ok;
}

static int set_validity(X509 *certificate, int64_t not_before, int64_t seconds, X509 *ca,
                        struct nx_error *err) {
  ASN1_TIME *end = X509_getm_notAfter(certificate);
  time_t start = (time_t)(not_before - NX_CERTIFICATE_SLACK);
  time_t stop = (time_t)(not_before + seconds);
  if (seconds < 1 || !ASN1_TIME_set(X509_getm_notBefore(certificate), start) ||
      !ASN1_TIME_set(end, stop))
    return nx_fail(err, NX_E_INVALID, "a certificate cannot be valid for %lld seconds",
                   (long long)seconds);
  if (ca && ASN1_TIME_compare(end, X509_get0_notAfter(ca)) > 0 &&
      X509_set1_notAfter(certificate, X509_get0_notAfter(ca)) != 1)
    return nx_openssl_fail(err, "a certificate's end");
  return 0;
}

static int add_extension(X509 *certificate, X509 *issuer, int nid, const char *value,
                         struct nx_error *err) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
  int ok = extension && X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return ok ? 0 : nx_openssl_fail(err, "a certificate's extension");
}

static int begin(X509 *certificate, X509 *ca, EVP_PKEY *public_key, const char *common_name,
                 struct nx_error *err) {
  int r = set_name(X509_get_subject_name(certificate), common_name, err);
  if (r < 0)
    return r;
  X509_NAME *issuer = X509_get_subject_name(ca ? ca : certificate);
  if (X509_set_version(certificate, X509_VERSION_3) != 1 || !set_serial(certificate) ||
      X509_set_issuer_name(certificate, issuer) != 1 ||
      X509_set_pubkey(certificate, public_key) != 1)
    return nx_openssl_fail(err, "make a certificate");
  return 0;
}

static int finish(X509 *certificate, EVP_PKEY *ca_key, struct nx_buffer *out,
                  struct nx_error *err) {
  if (!X509_sign(certificate, ca_key, EVP_sha256()))
    return nx_openssl_fail(err, "sign a certificate");
  return append_certificate(certificate, out, err);
}

struct extension {
  int nid;
  const char *value;
};

static int add_extensions(X509 *certificate, X509 *issuer, const struct extension *extensions,
                          size_t n, struct nx_error *err) {
  int r = 0;
  for (size_t i = 0; i < n && r == 0; i++)
    r = add_extension(certificate, issuer, extensions[i].nid, extensions[i].value, err);
  return r;
}

static int self_sign(struct nx_bytes key_pem, const char *common_name, int64_t not_before,
                     uint32_t days, struct nx_buffer *out, struct nx_error *err) {
  static const struct extension extensions[] = {
      {NID_basic_constraints, "critical,CA:TRUE,pathlen:1"},
      {NID_key_usage, "critical,keyCertSign,cRLSign"},
      {NID_subject_key_identifier, "hash"},
  };
  _cleanup_(EVP_PKEY_freep) EVP_PKEY *key = nx_openssl_key(key_pem, err);
  _cleanup_(X509_freep) X509 *ca = key ? X509_new() : NULL;
  if (!ca)
    return nx_openssl_fail(err, "make a certificate");
  int r = begin(ca, NULL, key, common_name, err);
  if (r == 0)
    r = set_validity(ca, not_before, (int64_t)days * SECONDS_A_DAY, NULL, err);
  if (r == 0)
    r = add_extensions(ca, ca, extensions, 3, err);
  return r < 0 ? r : finish(ca, key, out, err);
}

int nx_certificate_make_ca(const char *common_name, int64_t not_before, uint32_t days,
                           struct nx_buffer *key_pem, struct nx_buffer *certificate_pem,
                           struct nx_error *err) {
  _cleanup_(nx_buffer_wipe) struct nx_buffer key = {.cap = NX_CERTIFICATE_CAP};
  int r = nx_certificate_make_key(&key, err);
  if (r == 0)
    r = self_sign(nx_buffer_view(&key), common_name, not_before, days, certificate_pem, err);
  if (r == 0)
    r = nx_buffer_append(key_pem, key.data, key.size, err);
  return r < 0 ? nx_error_prefix(err, r, "make the federation's CA") : 0;
}

static int sign_ca(X509 *ca, EVP_PKEY *ca_key, EVP_PKEY *key, const char *common_name,
                   int path_length, int64_t not_before, uint32_t days, struct nx_buffer *out,
                   struct nx_error *err) {
  const struct extension extensions[] = {
      {NID_basic_constraints,
       path_length ? "critical,CA:TRUE,pathlen:1" : "critical,CA:TRUE,pathlen:0"},
      {NID_key_usage, "critical,keyCertSign,cRLSign"},
      {NID_subject_key_identifier, "hash"},
      {NID_authority_key_identifier, "keyid:always"},
  };
  _cleanup_(X509_freep) X509 *certificate = X509_new();
  if (!certificate)
    return nx_openssl_fail(err, "make a certificate");
  int r = begin(certificate, ca, key, common_name, err);
  if (r == 0)
    r = set_validity(certificate, not_before, (int64_t)days * SECONDS_A_DAY, ca, err);
  if (r == 0)
    r = add_extensions(certificate, ca, extensions, 4, err);
  return r < 0 ? r : finish(certificate, ca_key, out, err);
}

/* The CA's two halves, which must belong together. */
static int read_ca(struct nx_bytes key_pem, struct nx_bytes certificate_pem, X509 **ca_out,
                   EVP_PKEY **key_out, struct nx_error *err) {
  _cleanup_(X509_freep) X509 *ca = nx_openssl_certificate(certificate_pem, err);
  _cleanup_(EVP_PKEY_freep) EVP_PKEY *key = ca ? nx_openssl_key(key_pem, err) : NULL;
  if (!key)
    return NX_E_FORMAT;
  if (X509_check_private_key(ca, key) != 1) {
    ERR_clear_error();
    return nx_fail(err, NX_E_CRYPTO, "the CA's key does not belong to the CA's certificate");
  }
  *ca_out = nx_steal(&ca);
  *key_out = nx_steal(&key);
  return 0;
}

int nx_certificate_issue_ca(struct nx_bytes ca_key_pem, struct nx_bytes ca_certificate_pem,
                            struct nx_bytes key_pem, const char *common_name, int path_length,
                            int64_t not_before, uint32_t days, struct nx_buffer *certificate_pem,
                            struct nx_error *err) {
  _cleanup_(X509_freep) X509 *ca = NULL;
  _cleanup_(EVP_PKEY_freep) EVP_PKEY *ca_key = NULL, *key = NULL;
  int r = read_ca(ca_key_pem, ca_certificate_pem, &ca, &ca_key, err);
  if (r < 0)
    return r;
  if (!(key = nx_openssl_key(key_pem, err)))
    return NX_E_FORMAT;
  return sign_ca(ca, ca_key, key, common_name, path_length, not_before, days, certificate_pem, err);
}

static bool is_dns_name(const char *name) {
  size_t n = strlen(name);
  return n >= 1 && n <= 253 &&
         strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == n;
}

/* Built as objects: a text for OpenSSL's parser could smuggle further names in. */
static GENERAL_NAME *general_name(const char *text) {
  struct in6_addr address;
  int family = strchr(text, ':') ? AF_INET6 : AF_INET;
  bool is_ip = inet_pton(family, text, &address) == 1;
  if (!is_ip && !is_dns_name(text))
    return NULL;
  GENERAL_NAME *name = GENERAL_NAME_new();
  ASN1_STRING *value = ASN1_STRING_type_new(is_ip ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
  const void *data = is_ip ? (const void *)&address : text;
  int size = is_ip ? (family == AF_INET ? 4 : 16) : (int)strlen(text);
  if (!name || !value || ASN1_STRING_set(value, data, size) != 1) {
    GENERAL_NAME_free(name);
    ASN1_STRING_free(value);
    return NULL;
  }
  GENERAL_NAME_set0_value(name, is_ip ? GEN_IPADD : GEN_DNS, value);
  return name;
}

static int add_alternatives(X509 *certificate, const char *const *alternatives, size_t n,
                            struct nx_error *err) {
  GENERAL_NAMES *names = n ? sk_GENERAL_NAME_new_null() : NULL;
  int r = 0;
  for (size_t i = 0; i < n && r == 0; i++) {
    GENERAL_NAME *name = general_name(alternatives[i]);
    if (!name || !names || !sk_GENERAL_NAME_push(names, name)) {
      GENERAL_NAME_free(name);
      r = nx_fail(err, NX_E_INVALID, "\"%.80s\" is neither a host name nor an IP address",
                  alternatives[i]);
    }
  }
  if (r == 0 && n && X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0) != 1)
    r = nx_openssl_fail(err, "a certificate's alternative names");
  sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
  return r;
}

static int64_t lifetime_of(const struct nx_certificate_profile *profile) {
  return profile->seconds ? profile->seconds : (int64_t)profile->days * SECONDS_A_DAY;
}

static int issue(X509 *ca, EVP_PKEY *ca_key, X509_REQ *request,
                 const struct nx_certificate_profile *profile, struct nx_buffer *out,
                 struct nx_error *err) {
  const char *usage = profile->server && profile->client ? "serverAuth,clientAuth"
                      : profile->server                  ? "serverAuth"
                                                         : "clientAuth";
  const struct extension extensions[] = {
      {NID_basic_constraints, "critical,CA:FALSE"},
      {NID_key_usage, "critical,digitalSignature"},
      {NID_ext_key_usage, usage},
      {NID_subject_key_identifier, "hash"},
      {NID_authority_key_identifier, "keyid:always"},
  };
  _cleanup_(X509_freep) X509 *certificate = X509_new();
  if (!certificate)
    return nx_openssl_fail(err, "make a certificate");
  int r = begin(certificate, ca, X509_REQ_get0_pubkey(request), profile->common_name, err);
  if (r == 0)
    r = set_validity(certificate, profile->not_before, lifetime_of(profile), ca, err);
  if (r == 0)
    r = add_extensions(certificate, ca, extensions, 5, err);
  if (r == 0)
    r = add_alternatives(certificate, profile->alternatives, profile->n_alternatives, err);
  return r < 0 ? r : finish(certificate, ca_key, out, err);
}

int nx_certificate_issue(struct nx_bytes ca_key_pem, struct nx_bytes ca_certificate_pem,
                         struct nx_bytes request_pem, const struct nx_certificate_profile *profile,
                         struct nx_buffer *certificate_pem, struct nx_error *err) {
  struct nx_hash spki;
  int r = nx_certificate_check_request(request_pem, &spki, err);
  if (r < 0)
    return r;
  if (!profile->server && !profile->client)
    return nx_fail(err, NX_E_INVALID, "a certificate must be for a server, a client or both");
  _cleanup_(X509_freep) X509 *ca = NULL;
  _cleanup_(EVP_PKEY_freep) EVP_PKEY *ca_key = NULL;
  if ((r = read_ca(ca_key_pem, ca_certificate_pem, &ca, &ca_key, err)) < 0)
    return r;
  if (X509_cmp_time(X509_get0_notAfter(ca), &(time_t){(time_t)profile->not_before}) <= 0)
    return nx_fail(err, NX_E_CRYPTO,
                   "the issuing certificate has ended: renew it with the root at hand "
                   "(neurox-coordinator ca renew-issuer)");
  _cleanup_(X509_REQ_freep) X509_REQ *request = nx_openssl_request(request_pem, err);
  if (!request)
    return NX_E_FORMAT;
  return issue(ca, ca_key, request, profile, certificate_pem, err);
}

int nx_certificate_save_key(const char *path, struct nx_bytes key_pem, struct nx_error *err) {
  int r = nx_file_create(path, key_pem, 0600, err);
  return r < 0 ? nx_error_prefix(err, r, "save a private key") : 0;
}
