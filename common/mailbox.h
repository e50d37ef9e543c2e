/* Mailbox: how other threads talk to the thread that owns some state. Bounded,
 * many senders, one receiver, first in first out. Messages are pointers whose
 * ownership passes with them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"

struct nx_mailbox;

/* free_message destroys what is still inside when the mailbox is destroyed. */
int nx_mailbox_create(size_t capacity, void (*free_message)(void *message),
                      struct nx_mailbox **mailbox_out, struct nx_error *err);
/* 0 and the mailbox owns the message; NX_E_LIMIT (full) or NX_E_STATE (closed), and the
 * caller still owns it. Never blocks. */
int nx_mailbox_post(struct nx_mailbox *mailbox, void *message);
/* The oldest message, or NULL when the monotonic deadline passed (NX_NEVER: none) or
 * the mailbox is closed and empty. */
void *nx_mailbox_wait(struct nx_mailbox *mailbox, int64_t deadline);
bool nx_mailbox_is_closed(struct nx_mailbox *mailbox);
void nx_mailbox_close(struct nx_mailbox *mailbox); /* wakes the receiver; idempotent */
void nx_mailbox_destroy(struct nx_mailbox *mailbox);
NX_DEFINE_CLEANUP(struct nx_mailbox *, nx_mailbox_destroy)
