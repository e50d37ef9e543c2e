/* Findings: what a check says about a data set: the rule, the file, what to do about it. Local to
 * the site: file names and subjects may be in here, values of header fields never. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

enum nx_severity { NX_FINDING_ERROR, NX_FINDING_WARNING };

struct nx_finding {
  enum nx_severity severity;
  bool standard; /* a rule of BIDS's own validator; else ours */
  char rule[64]; /* "SIDECAR_KEY_REQUIRED", or ours: "neurox.electrode-units" */
  char *path;    /* from the data set's root */
  char *mend;    /* one sentence */
};

struct nx_findings {
  size_t n;
  struct nx_finding *list;
  bool exhausted; /* out of memory: the list is not whole */
};

/* Adds one; never fails, see exhausted. Rules in lower case are ours. */
void nx_findings_add(struct nx_findings *findings, enum nx_severity severity, const char *rule,
                     const char *path, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
size_t nx_findings_count(const struct nx_findings *findings, enum nx_severity severity,
                         bool standard);
void nx_findings_finish(struct nx_findings *findings);
