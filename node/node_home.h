/* Node home: the folder in which one node lives. Made whole by init, or not at all.
 *
 *   HOME/ node.yaml                      what the institution decides about its node
 *         policy.yaml                    what may run here (node.yaml names it)
 *         tls/node.key  node.pem         made here; certificate of the federation
 *         tls/ca.pem                     the federation's CA, pinned at enrolment
 *         identity.key                   Ed25519: signs everything this node says
 *         federation/federation.yaml     which federation, which member
 *         identity.next.key              the key that shall replace it (members new-key)
 *         federation/manifest            members, pinned at first sight; .chain: its revisions
 *         federation/proposal  answer    a revision that waits, and what the steward says of it
 *         approvals/<sha256>             signed decisions about plans (decision.h)
 *         egress/                        what left: receipts, and rows of what is open
 *         policy/                        what the policy counts: rounds of the last day
 *         ledger.db  ledger.db.head      what was spent in privacy (node/policy/privacy_ledger.h)
 *         cache/                         preprocessed recordings (node/dataset/cache.h)
 *         residual                       what rounding took from the last update (residual.h)
 *         journal/  spool/  models/<sha256>  plans/<sha256>  audit/
 *
 * Folders 0700, files 0600. */
#pragma once

#include <stdint.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/file.h"

#define NX_HOME_CONFIG "node.yaml"
#define NX_HOME_POLICY "policy.yaml" /* unless node.yaml says otherwise */
#define NX_HOME_TLS_KEY "tls/node.key"
#define NX_HOME_TLS_CERTIFICATE "tls/node.pem"
#define NX_HOME_CA "tls/ca.pem"
#define NX_HOME_IDENTITY "identity.key"
#define NX_HOME_FEDERATION "federation/federation.yaml"
#define NX_HOME_NEXT_IDENTITY "identity.next.key"
#define NX_HOME_MANIFEST "federation/manifest"
#define NX_HOME_PROPOSAL "federation/proposal"
#define NX_HOME_ANSWER "federation/answer"
#define NX_HOME_APPROVALS "approvals"
#define NX_HOME_EGRESS "egress"
#define NX_HOME_COUNTS "policy"
#define NX_HOME_ROUND_COUNT "policy/rounds"
#define NX_HOME_JOURNAL "journal/rounds"
#define NX_HOME_SPOOL "spool"
#define NX_HOME_MODELS "models"
#define NX_HOME_PLANS "plans"
#define NX_HOME_ANSWERS "answers" /* to "do your data fit this plan?", a file each */
#define NX_HOME_AUDIT "audit"
#define NX_HOME_RESIDUAL "residual"
#define NX_HOME_CACHE "cache"

/* What enrolment taught, in federation/federation.yaml. */
struct nx_home_federation {
  uint32_t neurox_federation; /* 1 */
  char *id;                   /* 32 hex digits */
  char *name;
  char *coordinator; /* its Ed25519 key, 64 hex digits */
  uint32_t member;   /* this node's id, 1..255 */
};

/* Makes folders HOME.new-PID/… for init to fill; its path in `building`. NX_E_EXISTS when
 * HOME is there and not an empty folder. */
int nx_home_begin(const char *home, char building[NX_PATH_SIZE], struct nx_error *err);
/* Puts the built folder in HOME's place, durably. */
int nx_home_finish(const char *building, const char *home, struct nx_error *err);
/* Removes a built folder and all that is in it; for failures. */
void nx_home_discard(const char *building);

int nx_home_write_federation(const char *home, const struct nx_home_federation *federation,
                             struct nx_error *err);
/* NX_E_NOT_FOUND says to run init first. */
int nx_home_read_federation(const char *home, struct nx_home_federation **federation_out,
                            struct nx_error *err);
void nx_home_federation_destroy(struct nx_home_federation *federation);
NX_DEFINE_CLEANUP(struct nx_home_federation *, nx_home_federation_destroy)

/* Where the site's policy is: `name` as node.yaml has it, from HOME unless it is absolute. */
int nx_home_policy_path(const char *home, const char *name, char out[NX_PATH_SIZE],
                        struct nx_error *err);

/* Private keys, protected or not. The passphrase is found as node.yaml says (passphrase_file, from
 * HOME unless it is absolute), as a systemd credential, or at the terminal; unlock keeps it. */
struct nx_unlock;
struct nx_identity;
int nx_home_identity(const char *home, const char *name, struct nx_unlock *unlock,
                     struct nx_identity **identity_out, struct nx_error *err);
int nx_home_key(const char *home, const char *name, struct nx_unlock *unlock,
                struct nx_buffer *key_out, struct nx_error *err);
/* Only says where the passphrase is: what nx_home_identity() does first. */
int nx_home_unlock(const char *home, struct nx_unlock *unlock, struct nx_error *err);

/* Reads HOME/name whole; the same hint when HOME is no node's. */
int nx_home_read(const char *home, const char *name, size_t cap, struct nx_buffer *out,
                 struct nx_error *err);
