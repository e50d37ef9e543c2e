/* OpenSSL's objects under _cleanup_, and its error queue in our words. Internal. */
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/error.h"

NX_DEFINE_CLEANUP(BIO *, BIO_free_all)
NX_DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
NX_DEFINE_CLEANUP(X509 *, X509_free)
NX_DEFINE_CLEANUP(X509_REQ *, X509_REQ_free)

/* Sets NX_E_CRYPTO "what: OpenSSL's reason" and empties the queue. */
int nx_openssl_fail(struct nx_error *err, const char *what);

/* Parsers of PEM (certificates: or DER); NULL and NX_E_FORMAT when it is not that. */
EVP_PKEY *nx_openssl_key(struct nx_bytes pem, struct nx_error *err);
X509 *nx_openssl_certificate(struct nx_bytes bytes, struct nx_error *err);
X509_REQ *nx_openssl_request(struct nx_bytes pem, struct nx_error *err);
