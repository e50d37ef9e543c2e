/* Unread: what a file is that no reader here takes, for the words of a refusal. */
#pragma once

#include "common/error.h"

/* NX_E_UNSUPPORTED, and in err what the file seems to be by its name, and what to do. */
int nx_recording_refuse_unread(const char *path, struct nx_error *err);
