/* Invitation: the file with which a coordinator's operator asks one institution to join.
 * YAML, so that its steward can read it; carried by any means (mail, stick). Its fingerprint
 * (nx_fingerprint() of the file's exact bytes, crypto/sign.h) is read out over the phone, so
 * an edited or swapped file is noticed before anything is sent. The token is a secret that
 * works once; the coordinator keeps only its SHA-256. */
#pragma once

#include <stdint.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/error.h"

#define NX_INVITATION_VERSION 1
#define NX_INVITATION_CAP ((size_t)16 << 10)
#define NX_INVITATION_TOKEN_SIZE 32
#define NX_INVITATION_FEDERATION_SIZE 16

struct nx_invitation {
  uint32_t neurox_invitation; /* NX_INVITATION_VERSION */
  char *federation_name;
  char *federation; /* 32 hex digits */
  char *member;     /* the name under which the institution was invited */
  char *address;    /* HOST:PORT of the main service */
  char *enrol_address;
  char *token;       /* 64 hex digits */
  uint64_t expires;  /* Unix seconds */
  char *certificate; /* of the federation's CA, PEM */
};

/* Appends the file's bytes; wipe the buffer after use, it holds the token. Strings are
 * checked as by parse: NX_E_INVALID. */
int nx_invitation_format(const struct nx_invitation *invitation, struct nx_buffer *out,
                         struct nx_error *err);
/* name: the file's, for errors. NX_E_FORMAT unless every field is there, well-formed and
 * nothing else is. Free with nx_invitation_destroy(), which wipes the token. */
int nx_invitation_parse(const char *name, struct nx_bytes text,
                        struct nx_invitation **invitation_out, struct nx_error *err);
void nx_invitation_destroy(struct nx_invitation *invitation); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_invitation *, nx_invitation_destroy)
