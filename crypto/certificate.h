/* Certificate: the federation's own X.509 (RFC 5280), keys on P-256, through OpenSSL.
 *
 *   nx_certificate_make_ca()       the root: made once, its key kept offline
 *   nx_certificate_issue_ca()      with the root at hand: the issuing certificate, online
 *   nx_certificate_make_key()      where the key will be used
 *   nx_certificate_make_request()  there; the CSR travels, the key never does
 *   nx_certificate_issue()         at the coordinator, with the issuing key
 *
 * PEM text in nx_buffers, not zero-terminated; buffers that receive a private key must be
 * released with nx_buffer_wipe(). Errors never quote input. Any thread. */
#pragma once

#include <stdbool.h>

#include "common/bytes.h"
#include "crypto/hash.h"

#define NX_CERTIFICATE_CAP ((size_t)64 << 10) /* largest PEM read or parsed */
#define NX_CERTIFICATE_SLACK 3600             /* seconds a peer's clock may be behind */
#define NX_CERTIFICATE_NAME_SIZE 65           /* common name: 64 characters and the final 0 */

struct nx_certificate_profile {
  const char *common_name;         /* 1..64 characters; the CSR's own subject is not used */
  bool server, client;             /* extended key usage */
  const char *const *alternatives; /* DNS names and IP addresses, told apart by form */
  size_t n_alternatives;
  int64_t not_before; /* Unix seconds; NX_CERTIFICATE_SLACK is taken off */
  uint32_t days;      /* validity, cut at the CA's own end */
  uint32_t seconds;   /* instead of days, when it is not 0: for drills */
};

/* Appends a new private key (PKCS #8 PEM). */
int nx_certificate_make_key(struct nx_buffer *key_pem, struct nx_error *err);
/* Appends a new root's key and self-signed certificate (path length 1). */
int nx_certificate_make_ca(const char *common_name, int64_t not_before, uint32_t days,
                           struct nx_buffer *key_pem, struct nx_buffer *certificate_pem,
                           struct nx_error *err);
/* Appends a CA's certificate for the public half of key_pem, signed by another CA:
 * path_length 0 for an issuing key, 1 for a new root that the old one vouches for. */
int nx_certificate_issue_ca(struct nx_bytes ca_key_pem, struct nx_bytes ca_certificate_pem,
                            struct nx_bytes key_pem, const char *common_name, int path_length,
                            int64_t not_before, uint32_t days, struct nx_buffer *certificate_pem,
                            struct nx_error *err);
int nx_certificate_make_request(struct nx_bytes key_pem, const char *common_name,
                                struct nx_buffer *request_pem, struct nx_error *err);
/* Checks the CSR's own signature and that its key is on P-256; gives the key's SPKI hash. */
int nx_certificate_check_request(struct nx_bytes request_pem, struct nx_hash *spki_out,
                                 struct nx_error *err);
int nx_certificate_issue(struct nx_bytes ca_key_pem, struct nx_bytes ca_certificate_pem,
                         struct nx_bytes request_pem, const struct nx_certificate_profile *profile,
                         struct nx_buffer *certificate_pem, struct nx_error *err);

/* SHA-256 of the certificate's DER SubjectPublicKeyInfo: a member's TLS identity.
 * Takes PEM or DER; NX_E_FORMAT when it is neither. */
int nx_certificate_spki(struct nx_bytes certificate, struct nx_hash *spki_out,
                        struct nx_error *err);
/* The same of a private key in PEM, to see that it fits its certificate. */
int nx_certificate_key_spki(struct nx_bytes key_pem, struct nx_hash *spki_out,
                            struct nx_error *err);
int nx_certificate_common_name(struct nx_bytes certificate, char out[NX_CERTIFICATE_NAME_SIZE],
                               struct nx_error *err);
/* Whole days until the certificate ends, negative once it has. */
int nx_certificate_days_left(struct nx_bytes certificate, int64_t now, int64_t *days_out,
                             struct nx_error *err);
/* When it was issued (the hour of slack added again) and when it ends; Unix seconds. */
int nx_certificate_validity(struct nx_bytes certificate, int64_t *issued_out, int64_t *ends_out,
                            struct nx_error *err);
/* When to renew it: once a third of its time is left. Unix seconds. */
int nx_certificate_renew_at(struct nx_bytes certificate, int64_t *at_out, struct nx_error *err);
/* That one of the CAs stands behind it, through the certificates that follow it in its PEM if
 * need be, and all are valid at `now` (Unix seconds); else NX_E_CRYPTO. */
int nx_certificate_verify(struct nx_bytes ca_certificates, struct nx_bytes certificate, int64_t now,
                          struct nx_error *err);
/* Whether every CA of `announced` is in `trusted`, or is vouched for by one that is: a
 * certificate in `crosses` for the very same key and name, signed by it. NX_E_CRYPTO when one
 * is not, NX_E_FORMAT when there is none or more than eight. */
int nx_certificate_check_roots(struct nx_bytes trusted, struct nx_bytes announced,
                               struct nx_bytes crosses, int64_t now, struct nx_error *err);

/* Writes a private key, mode 0600, whole or not at all; NX_E_EXISTS rather than overwrite. */
int nx_certificate_save_key(const char *path, struct nx_bytes key_pem, struct nx_error *err);
