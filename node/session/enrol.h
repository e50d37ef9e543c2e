/* Enrol: how a node becomes a member. It makes its own keys, proves that it holds them, and
 * asks on the enrolment port for a certificate; the server there must show one of the CA
 * inside the invitation. The token of the invitation is spent by it. */
#pragma once

#include "common/invitation.h"
#include "crypto/hash.h"
#include "crypto/sign.h"

struct nx_enrolled {
  uint32_t member; /* this node's id, 1..255 */
  char name[65];   /* under which the others will see it */
  struct nx_public_key coordinator;
  struct nx_buffer certificate; /* PEM, signed by the invitation's CA for our own key */
};

/* Everything that can be said about the file without the network: its fingerprint is the one
 * a person was told (NX_E_CRYPTO), it is well-formed (NX_E_FORMAT), it has not expired at
 * `now` (Unix seconds, NX_E_TIMEOUT). Free with nx_invitation_destroy(). */
int nx_enrol_read_invitation(const char *path, const char *fingerprint, int64_t now,
                             struct nx_invitation **invitation_out, struct nx_error *err);

/* Asks. key_pem: our TLS key, which stays here. NX_E_PEER: unreachable, or the server there
 * is not of this federation; NX_E_DENIED, NX_E_EXISTS (used already), NX_E_TIMEOUT (expired)
 * as the coordinator says; NX_E_CRYPTO: the certificate that came is not for us. */
int nx_enrol(const struct nx_invitation *invitation, struct nx_bytes key_pem,
             const struct nx_identity *identity, struct nx_enrolled *enrolled_out,
             struct nx_error *err);
void nx_enrolled_finish(struct nx_enrolled *enrolled); /* zeroed is fine */
