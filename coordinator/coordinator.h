/* Coordinator: the process around a federation. It owns the threads, the ports and the run:
 *
 *   transport threads ──► round mailbox ──► round thread: sessions, run, operators, watchers
 *        │  ▲             files mailbox ──► files thread: uploads, tiles, blobs, enrolment
 *        │  └── responses                   worker pool: sums and masks
 *        └ main thread: signals, the enrolment port, invitations into the audit log
 *
 * Handlers on transport threads copy and post; all state has one owner. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct nx_serve_options {
  uint32_t drill_record; /* nx_run_store_drill(); 0: none */
  uint32_t drill_kind;
  bool drill_before;
};

/* Serves until SIGINT or SIGTERM (0) or until it cannot go on (its error). Says on stdout
 * where it listens once it does. */
int nx_coordinator_serve(const char *home, const struct nx_serve_options *options,
                         struct nx_error *err);
