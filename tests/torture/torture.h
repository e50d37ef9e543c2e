/* Torture, after curl's: a piece of work is run again and again, and each time the next of its
 * allocations, or of its calls that write, fails. torture.c stands before malloc(), write(),
 * fsync(), rename() … of the whole process, the libraries (SQLite, OpenSSL, libyaml) included. */
#pragma once

#include <stdbool.h>

#include "common/error.h"

enum torture_kind { TORTURE_MEMORY, TORTURE_WRITES };

/* From now on the n-th call (from 1) of this kind fails, with ENOMEM or ENOSPC; 0: none. All
 * calls are counted. */
void torture_arm(enum torture_kind kind, unsigned n);
/* Stops failing; true when the call that was to fail came. */
bool torture_disarm(void);
/* Blocks that are allocated now. */
long torture_live(void);
