/* Federation: a coordinator's home folder, made by init and opened by every other verb.
 *
 *   HOME/ coordinator.yaml          config
 *         identity.key              Ed25519: signs M0, M2, … and the manifest
 *         ca/                       issues certificates (authority.h)
 *         root/                     the root's key, until it is taken offline
 *         tls/coordinator.key .pem  the server's certificate
 *         operator/operator.key .pem  what the operator's verbs show to the server
 *         store.sqlite  blobs/  uploads/  audit/
 *
 * Every private key is made here, mode 0600, and stays here, but for the root's, which must
 * be taken away. A home of the first version has ca/ca.key instead: a root that issues. */
#pragma once

/* HUB/withdrawn/<sha256>: signed messages of members, which model versions stand on recordings of
 * somebody who withdrew later. */
#define NX_HUB_WITHDRAWN "withdrawn"

#include <pthread.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "coordinator/coordinator_config.h"
#include "coordinator/store/model_registry.h"
#include "coordinator/store/run_store.h"
#include "crypto/certificate.h"
#include "crypto/sign.h"

#define NX_FEDERATION_IDENTITY "identity.key"

struct nx_federation_request {
  const char *home;                  /* must not exist, or be an empty folder */
  const char *name;                  /* 1..64 characters */
  const char *address;               /* HOST:PORT for members; port 0: choose one that is free */
  const char *enrol_address;         /* the same for enrolment; NULL: the next free port */
  const char *listen, *enrol_listen; /* what to bind; NULL: the address, or every interface
                                        when its host is a name */
  const char *root;                  /* the new folder for the root's key; NULL: HOME/root */
};

/* Makes the home folder: whole, or not at all. NX_E_EXISTS, NX_E_INVALID (address), … */
int nx_federation_create(const struct nx_federation_request *request, struct nx_error *err);

struct nx_federation {
  char home[NX_PATH_SIZE];
  struct nx_coordinator_config *config;
  struct nx_run_store *store;
  struct nx_store_federation row; /* id, name, keys */
  struct nx_identity *identity; /* NULL before nx_federation_unlock() */
  bool is_protected;            /* it was under a passphrase */
  pthread_mutex_t authority_lock;            /* guards the next three */
  struct nx_buffer ca_certificate;           /* PEM: the roots */
  struct nx_buffer issuer_key, issuer;       /* PEM: the issuing key, its certificate and crosses */
  struct nx_buffer tls_key, tls_certificate; /* PEM */
};

/* Opens a home for serving or inviting; NX_E_NOT_FOUND says to run init. Several processes
 * may; the one that serves takes the folder's lock besides. */
int nx_federation_open(const char *home, struct nx_federation **federation_out,
                       struct nx_error *err);
/* Opens the identity key besides, which only who serves needs: with the passphrase that
 * coordinator.yaml's passphrase_file has, systemd's credential, or the terminal. */
int nx_federation_unlock(struct nx_federation *federation, struct nx_error *err);
/* Where its passphrase is, if coordinator.yaml says so. */
int nx_federation_find_passphrase(const struct nx_federation *federation, struct nx_unlock *unlock,
                                  struct nx_error *err);
void nx_federation_close(struct nx_federation *federation); /* wipes keys; NULL is fine */
NX_DEFINE_CLEANUP(struct nx_federation *, nx_federation_close)

/* The validity that coordinator.yaml asks for, from now on. */
struct nx_certificate_profile nx_federation_profile(const struct nx_federation *federation,
                                                    const char *name);
/* Reads the authority's files again, after `neurox-coordinator ca …` changed them. NX_E_CRYPTO
 * when they do not fit together (only one was written so far): nothing has changed then. */
int nx_federation_reload_authority(struct nx_federation *federation, struct nx_error *err);
/* Issues a new certificate for the coordinator's own key, and for the operator's when it is
 * here, when a third of its time is left or `always`. 1: there is a new tls_certificate. */
int nx_federation_renew_own(struct nx_federation *federation, bool always, struct nx_error *err);
/* Issues with the federation's issuing key; appends the certificate and what stands behind it
 * (PEM). Any thread. */
int nx_federation_issue(struct nx_federation *federation, struct nx_bytes request_pem,
                        const struct nx_certificate_profile *profile,
                        struct nx_buffer *certificate_pem, struct nx_error *err);

/* "ID in hex, for people and files"; out holds 33 bytes. */
void nx_federation_id_hex(const struct nx_federation *federation, char out[33]);
