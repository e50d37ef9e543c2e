/* Key change: the private keys of one folder put under a passphrase, taken out, or put under
 * another, each file replaced whole. Killed at any point, every file opens with the old
 * passphrase or the new one, and the same command finishes the work. */
#pragma once

#include "crypto/key_file.h"

enum nx_key_change { NX_KEY_PROTECT, NX_KEY_UNPROTECT, NX_KEY_RENEW };

/* NX_E_INVALID for words other than protect, unprotect and change. */
int nx_key_change_from(const char *word, enum nx_key_change *out, struct nx_error *err);

/* Those of the files that are there; nothing is written unless all of them open. `present` opens
 * protected files, `next` is what they are put under (not looked at to unprotect). Returns how many were
 * changed. NX_E_NOT_FOUND: none is there. */
int nx_key_change_files(const char *const *paths, size_t n, enum nx_key_change change,
                        struct nx_unlock *present, struct nx_unlock *next,
                        const struct nx_key_cost *cost, struct nx_error *err);
/* Prints, for each that is there, how it is kept. */
void nx_key_change_show(const char *const *paths, size_t n);
