/* HKDF-SHA256 (RFC 5869), extract and expand, through OpenSSL's EVP_KDF. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"

/* Fills out with `size` bytes (at most 255 * 32) from key material. NX_E_CRYPTO when
 * OpenSSL refuses, out is then zeroed. Any thread. */
int nx_hkdf(struct nx_bytes key, struct nx_bytes salt, struct nx_bytes info, uint8_t *out,
            size_t size, struct nx_error *err);
