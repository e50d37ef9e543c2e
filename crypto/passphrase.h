/* Passphrase: what a protected key file (key_file.h) is opened with, and where it comes from.
 *
 *   1. the file that a config names (passphrase_file), one line, mode 0600
 *   2. $CREDENTIALS_DIRECTORY/neurox-passphrase, which systemd fills for a service
 *      (LoadCredentialEncrypted=; systemd.exec(5)) and nobody else reads
 *   3. the terminal, without echo
 *
 * It is kept in guarded memory and never in an error text. Not from the environment or the command
 * line: others on the machine can read those. */
#pragma once

#include "common/bytes.h"
#include "common/file.h"

#define NX_PASSPHRASE_LEAST 12 /* characters of one that is chosen; opening takes any */
#define NX_PASSPHRASE_CAP 1024
#define NX_PASSPHRASE_CREDENTIAL "neurox-passphrase"

struct nx_passphrase {
  size_t size;
  char text[NX_PASSPHRASE_CAP + 2]; /* not zero-terminated for size */
};

/* How one process opens its keys; zero-initialised: the credential, then the terminal. */
struct nx_unlock {
  char file[NX_PATH_SIZE];          /* the config's passphrase_file, or "" */
  struct nx_passphrase *passphrase; /* once it was needed; guarded memory */
};

void nx_unlock_finish(struct nx_unlock *unlock); /* wipes */

/* Fills unlock->passphrase unless it is there. NX_E_DENIED says which ways there are when none
 * leads anywhere, or that others can read the file; NX_E_CANCELLED: Ctrl-C at the terminal.
 * what: the file that is to be opened, for the question. */
int nx_unlock_find(struct nx_unlock *unlock, const char *what, struct nx_error *err);
/* The same for a new passphrase: asked for twice at a terminal; NX_E_INVALID when it is shorter
 * than NX_PASSPHRASE_LEAST. */
int nx_unlock_choose(struct nx_unlock *unlock, const char *what, struct nx_error *err);
