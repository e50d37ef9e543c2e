/* Run store: what the coordinator must not forget, in one SQLite file (WAL,
 * synchronous=FULL): every call that changes something is on disk when it returns.
 * Holds no update, no key and no token: masked uploads are files of their own, keys are
 * files of the home folder, and of a token only the SHA-256 is kept.
 *
 *   federation ─ members ─ invitations       who takes part
 *   grants                                   people: operators, researchers, auditors
 *   manifest                                 who takes part, as signed
 *   plans ─ runs ─ records (the round core's) ─ sealed rounds ─ their signatures
 *
 * Thread-safe: calls are serialised; another process (the invite verb) may write beside
 * a running coordinator. All times are Unix nanoseconds. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/error.h"
#include "crypto/hash.h"
#include "crypto/sign.h"

#define NX_STORE_NAME_SIZE 65 /* member and plan names: at most 64 bytes and a zero */
#define NX_STORE_MEMBERS 255

struct nx_run_store;

/* Makes a new store (NX_E_EXISTS when the file is there) or opens one, migrating an older
 * schema forward; NX_E_UNSUPPORTED when a newer program wrote it. */
int nx_run_store_create(const char *path, struct nx_run_store **store_out, struct nx_error *err);
int nx_run_store_open(const char *path, struct nx_run_store **store_out, struct nx_error *err);
void nx_run_store_destroy(struct nx_run_store *store); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_run_store *, nx_run_store_destroy)

/* Writes a copy of the store as it is now to `path`, which must not be there (0600, on disk when
 * it returns). Others may write meanwhile. */
int nx_run_store_back_up(struct nx_run_store *store, const char *path, struct nx_error *err);

/* Another number than before when this process or another one has changed the store since. Reads
 * no table; NX_E_IO and the like when the store cannot be asked. */
int nx_run_store_mark(struct nx_run_store *store, uint64_t *mark_out, struct nx_error *err);

/* A drill for tests of what a crash may not lose: the process kills itself (SIGKILL) right
 * before, or right after, the n-th record or sealed round from now on is durable. kind: only
 * records of this kind count, or sealed rounds; 0: all of them. */
#define NX_STORE_DRILL_SEALED UINT32_MAX
void nx_run_store_drill(struct nx_run_store *store, uint32_t kind, uint32_t n, bool before);

/* --- the federation and its members ------------------------------------------------ */

struct nx_store_federation {
  uint8_t id[16];
  char name[NX_STORE_NAME_SIZE];
  struct nx_public_key identity; /* the coordinator's Ed25519 key */
  struct nx_hash spki;           /* SHA-256 of the coordinator's TLS public key */
  struct nx_hash operator_spki;  /* of the certificate that may call Admin RPCs */
  int64_t created;
};

int nx_run_store_put_federation(struct nx_run_store *store,
                                const struct nx_store_federation *federation, struct nx_error *err);
int nx_run_store_federation(struct nx_run_store *store, struct nx_store_federation *federation_out,
                            struct nx_error *err);

struct nx_store_member {
  uint32_t id; /* 1..255 */
  char name[NX_STORE_NAME_SIZE];
  struct nx_public_key identity;
  struct nx_hash spki;
  int64_t enrolled;
  int64_t revoked; /* 0: its certificate is valid */
  int64_t ends;    /* of its newest certificate; 0: not known (an older store) */
  bool readmitted; /* by enrol: it was in, and has a new certificate */
};

/* Members in order of id; out holds NX_STORE_MEMBERS. */
int nx_run_store_members(struct nx_run_store *store, struct nx_store_member *out, size_t *n_out,
                         struct nx_error *err);
/* NX_E_NOT_FOUND when no member has this key. */
int nx_run_store_member_by_spki(struct nx_run_store *store, const struct nx_hash *spki,
                                struct nx_store_member *member_out, struct nx_error *err);

/* Appends its newest certificate (PEM); NX_E_NOT_FOUND. */
int nx_run_store_member_certificate(struct nx_run_store *store, uint32_t member,
                                    struct nx_buffer *certificate_out, struct nx_error *err);
/* The member's new certificate takes the place of the one before. NX_E_NOT_FOUND: no such
 * member, or it was revoked meanwhile. */
int nx_run_store_renew(struct nx_run_store *store, uint32_t member, int64_t ends,
                       struct nx_bytes certificate, struct nx_error *err);

#define NX_STORE_REASON_SIZE 257

/* From now on the member's certificate is worth nothing here. It stays in the manifest, which
 * all have signed for. NX_E_NOT_FOUND: no such member, or revoked already. */
int nx_run_store_revoke(struct nx_run_store *store, const char *name, const char *reason,
                        int64_t now, struct nx_error *err);
/* As for invitations: what the coordinator has not put into its audit log yet. */
int nx_run_store_unlogged_revocation(struct nx_run_store *store, struct nx_store_member *member_out,
                                     char reason_out[NX_STORE_REASON_SIZE], struct nx_error *err);
int nx_run_store_mark_revocation_logged(struct nx_run_store *store, uint32_t member,
                                        struct nx_error *err);

/* A person's certificate: an operator's, a researcher's or an auditor's. */
struct nx_store_grant {
  int64_t id;
  char name[NX_STORE_NAME_SIZE]; /* one valid grant a name */
  uint32_t role;                 /* enum nx_role */
  struct nx_hash spki;
  int64_t granted, ends; /* ends: of the certificate */
  int64_t revoked;       /* 0: valid */
};

#define NX_STORE_GRANTS 255

/* Fills grant->id. NX_E_EXISTS: that name holds a valid grant, or the key has one. */
int nx_run_store_grant(struct nx_run_store *store, struct nx_store_grant *grant,
                       struct nx_bytes certificate, struct nx_error *err);
/* All, in order of id; out holds NX_STORE_GRANTS. */
int nx_run_store_grants(struct nx_run_store *store, struct nx_store_grant *out, size_t *n_out,
                        struct nx_error *err);
/* NX_E_NOT_FOUND: no valid grant has this name. */
int nx_run_store_revoke_grant(struct nx_run_store *store, const char *name, const char *reason,
                              int64_t now, struct nx_error *err);
/* Grants and their revocations that the coordinator has not put into its audit log yet. */
int nx_run_store_unlogged_grant(struct nx_run_store *store, struct nx_store_grant *grant_out,
                                char reason_out[NX_STORE_REASON_SIZE], struct nx_error *err);
int nx_run_store_mark_grant_logged(struct nx_run_store *store, const struct nx_store_grant *grant,
                                   struct nx_error *err);

struct nx_store_invitation {
  struct nx_hash token_hash;
  uint32_t member; /* the id that the invited site will have */
  char name[NX_STORE_NAME_SIZE];
  int64_t created, expires;
  int64_t used; /* 0: not yet */
};

/* Gives the invitation the next free member id. NX_E_EXISTS when a member or a pending
 * invitation has the name, NX_E_STATE once the manifest is sealed, NX_E_LIMIT above 255. */
int nx_run_store_invite(struct nx_run_store *store, struct nx_store_invitation *invitation,
                        struct nx_error *err);
/* The same for a member that is in already and whose certificate has ended: it comes back with
 * its own keys, sealed manifest or not. NX_E_NOT_FOUND: no member of that name, or revoked. */
int nx_run_store_invite_again(struct nx_run_store *store, struct nx_store_invitation *invitation,
                              struct nx_error *err);
/* NX_E_NOT_FOUND when no invitation has this token. */
int nx_run_store_invitation(struct nx_run_store *store, const struct nx_hash *token_hash,
                            struct nx_store_invitation *invitation_out, struct nx_error *err);
/* Invitations that are unused and not expired at `now`. */
int nx_run_store_pending_invitations(struct nx_run_store *store, int64_t now, uint32_t *n_out,
                                     struct nx_error *err);
/* Takes an unused invitation back; NX_E_NOT_FOUND when it is used or was never made. */
int nx_run_store_withdraw_invitation(struct nx_run_store *store, const struct nx_hash *token_hash,
                                     struct nx_error *err);
/* Another process may invite while the coordinator holds its audit log: the coordinator
 * takes what is not logged yet, oldest first (NX_E_NOT_FOUND: nothing), and marks it. */
int nx_run_store_unlogged_invitation(struct nx_run_store *store,
                                     struct nx_store_invitation *invitation_out,
                                     struct nx_error *err);
int nx_run_store_mark_logged(struct nx_run_store *store, const struct nx_hash *token_hash,
                             struct nx_error *err);
/* Spends the invitation and adds the member with its certificate (PEM), both or neither.
 * `ends` is the certificate's.
 * certificate_out receives `certificate`.
 * An invitation of a member that is in renews its certificate, if these are its keys.
 * NX_E_NOT_FOUND (no such token), NX_E_TIMEOUT (expired), NX_E_EXISTS (used already, by the very same
 * request, too: it was replayed; or the
 * keys belong to another member), NX_E_STATE (manifest sealed). */
int nx_run_store_enrol(struct nx_run_store *store, const struct nx_hash *token_hash, int64_t now,
                       const struct nx_public_key *identity, const struct nx_hash *spki,
                       struct nx_bytes certificate, int64_t ends,
                       struct nx_store_member *member_out, struct nx_buffer *certificate_out,
                       struct nx_error *err);

/* The sealed manifest: exact body and the coordinator's signature over it.
 * NX_E_NOT_FOUND before it is sealed; put: NX_E_EXISTS when it is. */
int nx_run_store_put_manifest(struct nx_run_store *store, struct nx_bytes body,
                              const struct nx_signature *signature, struct nx_error *err);
int nx_run_store_manifest(struct nx_run_store *store, struct nx_buffer *body_out,
                          struct nx_signature *signature_out, struct nx_error *err);

/* --- plans and runs ---------------------------------------------------------------- */

/* Keeps a plan's exact text under its SHA-256; the same plan twice is fine. */
int nx_run_store_put_plan(struct nx_run_store *store, const struct nx_hash *hash, const char *name,
                          struct nx_bytes text, int64_t now, struct nx_error *err);
int nx_run_store_plan(struct nx_run_store *store, const struct nx_hash *hash,
                      struct nx_buffer *text_out, struct nx_error *err);

/* The last `most` plans that were put, newest first. */
int nx_run_store_visit_plans(struct nx_run_store *store, size_t most,
                             int (*visit)(void *context, const struct nx_hash *hash,
                                          const char *name, struct nx_error *err),
                             void *context, struct nx_error *err);

enum nx_run_state {
  NX_RUN_RUNNING = 1,
  NX_RUN_PAUSED = 2,
  NX_RUN_STOPPED = 3,  /* by an operator */
  NX_RUN_FINISHED = 4, /* every round sealed */
  NX_RUN_FAILED = 5,
};

/* "running", "paused", …; "unknown" otherwise. */
const char *nx_run_state_name(enum nx_run_state state);

struct nx_store_run {
  int64_t id;
  struct nx_hash plan_hash;
  enum nx_run_state state;
  uint64_t first_round;      /* the statistics round */
  uint64_t n_rounds;         /* statistics + training + evaluate */
  struct nx_hash model_hash; /* of the newest sealed model, at first the initial one */
  int64_t started, ended;    /* ended 0 while it goes on */
};

/* Fills run->id. NX_E_STATE when a run is running or paused. */
int nx_run_store_start_run(struct nx_run_store *store, struct nx_store_run *run,
                           struct nx_error *err);
int nx_run_store_set_run_state(struct nx_run_store *store, int64_t run, enum nx_run_state state,
                               int64_t now, struct nx_error *err);
/* The run of that number; NX_E_NOT_FOUND. */
int nx_run_store_run(struct nx_run_store *store, int64_t id, struct nx_store_run *run_out,
                     struct nx_error *err);
/* The newest run; NX_E_NOT_FOUND when there is none. */
int nx_run_store_last_run(struct nx_run_store *store, struct nx_store_run *run_out,
                          struct nx_error *err);

/* Whether the hash is a plan's, or the model that a run ended with or goes on from. */
int nx_run_store_needs_blob(struct nx_run_store *store, const struct nx_hash *hash,
                            bool *needed_out, struct nx_error *err);

/* --- rounds ------------------------------------------------------------------------ */

/* A record of the round core, kept before its effect is visible and replayed in order
 * after a restart. Opaque here. */
struct nx_store_record {
  uint64_t round;
  uint32_t attempt;
  uint32_t kind; /* the core's own type of record */
  struct nx_bytes body;
};

int nx_run_store_append_record(struct nx_run_store *store, const struct nx_store_record *record,
                               struct nx_error *err);
/* Calls visit for each record of rounds >= from_round, oldest first; a negative answer
 * stops and is returned. The body lives only during the call. */
int nx_run_store_visit_records(struct nx_run_store *store, uint64_t from_round,
                               int (*visit)(void *context, const struct nx_store_record *record,
                                            struct nx_error *err),
                               void *context, struct nx_error *err);

#define NX_STORE_AUX_BYTES ((size_t)512 << 10) /* most bytes of a sealed round's aux sums */

struct nx_store_sealed {
  uint64_t round;
  uint32_t attempt;
  uint32_t kind; /* enum nx_round_kind */
  int64_t run;
  struct nx_hash model_hash; /* after the round */
  struct nx_hash sum_hash;   /* SHA-256 of the opened sum's bytes */
  struct nx_hash t3;
  uint32_t n_cohort, n_survivors, n_recovered;
  uint64_t bytes_up; /* accepted upload bytes of the round */
  int64_t opened, sealed;
};

/* Writes the sealed round, its aux sums (u64 little-endian), its survivors' ids and the
 * run's new model hash, and drops the round's records: one transaction. */
int nx_run_store_seal_round(struct nx_run_store *store, const struct nx_store_sealed *sealed,
                            struct nx_bytes aux, const uint8_t *survivors, struct nx_error *err);
/* What the sealed rounds of a run add up to. */
struct nx_store_totals {
  uint64_t n_sealed, n_trained, bytes_up;
  uint32_t n_recovered;
};
int nx_run_store_totals(struct nx_run_store *store, int64_t run, struct nx_store_totals *totals_out,
                        struct nx_error *err);
/* NX_E_NOT_FOUND when no round is sealed. */
int nx_run_store_last_sealed(struct nx_run_store *store, struct nx_store_sealed *sealed_out,
                             struct nx_error *err);
int nx_run_store_sealed(struct nx_run_store *store, uint64_t round,
                        struct nx_store_sealed *sealed_out, struct nx_error *err);
/* Appends the round's aux sums (u64 little-endian) and survivors' ids (one byte each). */
int nx_run_store_sealed_aux(struct nx_run_store *store, uint64_t round, struct nx_buffer *aux_out,
                            struct nx_buffer *survivors_out, struct nx_error *err);

/* M11: what a member signed about a sealed round, as the encoded SignedMessage. The same
 * twice is fine; a different one is NX_E_EXISTS (evidence for the caller's audit log). */
int nx_run_store_put_signature(struct nx_run_store *store, uint64_t round, uint32_t member,
                               struct nx_bytes message, struct nx_error *err);
/* Calls visit for each message of the round in order of member. */
int nx_run_store_visit_signatures(struct nx_run_store *store, uint64_t round,
                                  int (*visit)(void *context, uint32_t member,
                                               struct nx_bytes message, struct nx_error *err),
                                  void *context, struct nx_error *err);
