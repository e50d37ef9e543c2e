/* Authority: the federation's CA in two steps.
 *
 *   root ──signs──► issuing certificate ──signs──► members, people, the coordinator
 *   offline         ca/issuer.key, online,         days
 *   ten years       half a year
 *
 *   HOME/ca/ca.pem      the roots that everybody believes; the present one first
 *        ca/issuer.key  what the coordinator signs with
 *        ca/issuer.pem  its certificate, and while two roots overlap the new root's as the old
 *                       one signed it: what stands behind every certificate that is issued
 *   ROOT/root.key  root.pem   needed for the three functions below and for nothing else; the key
 *                             may be under a passphrase (neurox-coordinator key protect --root)
 *
 * Each leaves the files as they were, or as they should be; a coordinator that serves takes
 * them up within a second. */
#pragma once

#include <stdint.h>

#include "common/bytes.h"
#include "common/file.h"
#include "crypto/passphrase.h"

#define NX_ROOT_DAYS 3650
#define NX_ISSUER_DAYS 180
#define NX_AUTHORITY_CAP ((size_t)32 << 10) /* bytes of any of these files */

/* Makes a root in the new folder `root`, and the issuing key and certificate in HOME/ca. */
int nx_authority_create(const char *home, const char *root, const char *name, uint32_t issuer_days,
                        struct nx_error *err);
/* A new issuing key and certificate, from the root of the folder. */
int nx_authority_renew_issuer(const char *home, const char *root, uint32_t days,
                              struct nx_unlock *unlock, struct nx_error *err);
/* A new root in the new folder `next`, vouched for by the root of the folder `root`. From now
 * on both are believed, and the issuing certificate is the new one's. When the old root is under
 * a passphrase, the new one is under the same. */
int nx_authority_rotate_root(const char *home, const char *root, const char *next, const char *name,
                             uint32_t issuer_days, struct nx_unlock *unlock, struct nx_error *err);
/* Appends the first of the roots that are believed. */
int nx_authority_newest_root(const char *home, struct nx_buffer *root_out, struct nx_error *err);
/* Ends the overlap: only the newest root is believed. NX_E_STATE: there is only one. */
int nx_authority_retire_root(const char *home, struct nx_error *err);
