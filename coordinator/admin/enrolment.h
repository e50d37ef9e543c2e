/* Enrolment: how an institution becomes a member before the manifest is sealed.
 *
 *   operator                    coordinator                       institution
 *   invite NAME ──► token made, its SHA-256 kept ──► file, by mail ──► neurox-node init
 *   reads the fingerprint out over the phone ───────────────────────► compares it
 *                   Enrol(token, CSR, identity key) ◄──────────────── makes its own keys
 *                   spends the token, issues the certificate ───────► pins the CA
 *
 * Any thread. */
#pragma once

#include "coordinator/admin/federation.h"
#include "crypto/sign.h"

struct nx_enrolment_invited {
  uint32_t member; /* the id that the site will have */
  int64_t expires; /* Unix nanoseconds */
  char fingerprint[NX_FINGERPRINT_SIZE];
};

/* Invites `name` and writes its file to path (0600, not overwritten). When the file cannot
 * be written there is no invitation either. hours 0: the config's. again: a member
 * that is in, whose certificate has ended, comes back with the keys it has. */
int nx_enrolment_invite(struct nx_federation *federation, const char *name, uint32_t hours,
                        bool again, const char *path, struct nx_enrolment_invited *invited_out,
                        struct nx_error *err);

/* What a site sends on the enrolment port; nothing in it is trusted. */
struct nx_enrolment_request {
  struct nx_bytes federation; /* 16 bytes */
  struct nx_bytes token;      /* 32 bytes */
  struct nx_bytes csr;        /* PEM */
  struct nx_bytes identity;   /* its Ed25519 public key, 32 bytes */
  struct nx_bytes signature;  /* by that key over the CSR under "enrol", 64 bytes */
};

/* Checks the request and issues the member's certificate, appended as PEM. NX_E_DENIED
 * (another federation, wrong token, or proof), NX_E_TIMEOUT (expired), NX_E_EXISTS (used),
 * NX_E_STATE (sealed), NX_E_FORMAT, NX_E_CRYPTO (the request itself). */
int nx_enrolment_admit(struct nx_federation *federation, const struct nx_enrolment_request *request,
                       struct nx_store_member *member_out, struct nx_buffer *certificate_pem,
                       struct nx_error *err);
