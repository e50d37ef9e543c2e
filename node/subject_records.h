/* Subject records: who withdrew, and which rounds used whom. Local: nothing of this is sent, logged
 * or named in an error; the audit log gets counts.
 *
 *   HOME/withdrawn            one person a line, # for remarks; read again before every round, so
 *                             that a withdrawal counts from the next round on, without a restart
 *   HOME/subjects/rounds.tsv  round, attempt, plan, model it started from, set of people
 *   HOME/subjects/models.tsv  round, model that came out of it
 *   HOME/subjects/set-<hash>  person and use (train, held-out), a line each
 *   HOME/subjects/tell        model versions that the steward wants marked at the hub, until it has
 *                             said that it wrote them down
 *   HOME/subjects/noted       hash and size of the list that the audit log knows of
 *
 * A round's set cannot change within the round: a second x of other people under one round's masks
 * would tell the difference. */
#pragma once

#include "node/dataset/dataset.h"
#include "node/node_config.h"
#include "node/policy/site_audit.h"

#define NX_HOME_WITHDRAWN "withdrawn"
#define NX_HOME_SUBJECTS "subjects"

struct nx_withdrawals {
  size_t n;
  char **names;        /* of HOME/withdrawn and node.yaml, each once, sorted */
  struct nx_hash hash; /* of all of them */
};

int nx_withdrawals_read(const char *home, const struct nx_node_config_data *data,
                        struct nx_withdrawals *out, struct nx_error *err);
void nx_withdrawals_finish(struct nx_withdrawals *withdrawals);
/* Adds a person to HOME/withdrawn, durably; NX_E_EXISTS when it is listed, NX_E_INVALID when it is
 * no id (letters, digits, - _ .). */
int nx_withdrawals_add(const char *home, const char *name, struct nx_error *err);

/* 1: the list is not the one that was noted last, on which *before_out people were; 0: it is. */
int nx_withdrawals_changed(const char *home, const struct nx_withdrawals *withdrawals,
                           size_t *before_out, struct nx_error *err);
/* Notes the list's hash and size, durably, once the audit log has the change. */
int nx_withdrawals_noted(const char *home, const struct nx_withdrawals *withdrawals,
                         struct nx_error *err);

/* Before x of the round exists. NX_E_STATE: this round and attempt began with other people. */
int nx_subject_records_used(const char *home, const struct nx_site_round *round,
                            const struct nx_dataset *dataset, struct nx_error *err);
/* The model that came out of the round. */
int nx_subject_records_sealed(const char *home, uint64_t round, const struct nx_hash *model,
                              struct nx_error *err);

/* Why the recordings cannot be used, for the steward alone, in HOME/subjects/unusable: the words
 * name a file, and with it maybe a person, so they are not for the log. */
void nx_subject_records_problem(const char *home, const char *why);

struct nx_subject_use {
  char subject[NX_SUBJECT_SIZE];
  bool trained;   /* false: only ever held out */
  bool withdrawn; /* by now */
  uint64_t first_round, last_round;
};

struct nx_subject_uses {
  size_t n, n_withdrawn;
  struct nx_subject_use *list; /* sorted by subject */
};

/* Whom one round used; NX_E_NOT_FOUND: this node has no record of the round. */
int nx_subject_records_of_round(const char *home, const struct nx_withdrawals *withdrawals,
                                uint64_t round, struct nx_subject_uses *out, struct nx_error *err);
/* Whose recordings of this site are in a model version: the rounds of its plan up to the one that
 * made it (of any plan, if this node sat that one out). n_withdrawn > 0 marks a version that used
 * somebody who withdrew later. */
int nx_subject_records_of_model(const char *home, const struct nx_withdrawals *withdrawals,
                                const struct nx_hash *model, struct nx_subject_uses *out,
                                struct nx_error *err);
struct nx_marked_model {
  struct nx_hash model;
  uint64_t round; /* that made it */
};
/* Model versions that stand on somebody who withdrew since, in order of rounds; the caller frees.
 * only: this person alone; NULL: anybody. */
int nx_subject_records_marked(const char *home, const struct nx_withdrawals *withdrawals,
                              const char *only, struct nx_marked_model **models_out, size_t *n_out,
                              struct nx_error *err);
/* HOME/subjects/tell: what the running node tells the hub; read: 0 models when there is none. */
int nx_subject_records_tell(const char *home, const struct nx_marked_model *models, size_t n,
                            struct nx_error *err);
int nx_subject_records_untold(const char *home, struct nx_hash **models_out, size_t *n_out,
                              int64_t *at_out, struct nx_error *err);
void nx_subject_records_told(const char *home);
/* Does the folder hold a recording of this person, by its names and tables? */
bool nx_subject_has_recordings(const char *folder, const char *person);
void nx_subject_uses_finish(struct nx_subject_uses *uses);
