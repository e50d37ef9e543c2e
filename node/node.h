/* Node: the shell around the participant. One owner thread with a mailbox turns what the
 * coordinator says, what the worker has finished, and time into events, and carries out
 * the actions that come back, in order. Whatever is slow runs on the worker.
 *
 *   session's threads ──┐                                     ┌─► journal, audit log (durable)
 *   worker's thread   ──┼─► mailbox ─► owner ─► participant ──┼─► session (send)
 *   signals           ──┘                (pure)               └─► worker: fetch, train, mask,
 *                                                                 upload, check */
#pragma once

#include <stdint.h>

#include "common/error.h"

/* A fire drill: the node kills itself (SIGKILL) at a place where it hurts, so that people and
 * tests can see a federation survive it. */
enum nx_drill {
  NX_DRILL_NONE,
  NX_DRILL_KILL_AFTER_SHARES, /* once every member has this node's shares */
  NX_DRILL_KILL_AFTER_CHARGE, /* the privacy charge is on disk, nothing is uploaded */
  NX_DRILL_KILL_MID_UPLOAD,   /* half of the masked update is sent */
  NX_DRILL_KILL_BEFORE,       /* a record of the journal of the type drill_record */
  NX_DRILL_KILL_AFTER         /* it is on disk */
};

struct nx_node_options {
  const char *home;
  enum nx_drill drill;
  uint64_t drill_round;
  char drill_record; /* its type in the journal, participant_journal.c */
};

/* Runs until SIGTERM or SIGINT (0) or until it cannot go on (NX_E_*). */
int nx_node_run(const struct nx_node_options *options, struct nx_error *err);
