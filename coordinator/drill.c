#include "coordinator/drill.h"

#include <string.h>

#include "common/options.h"
#include "common/size.h"
#include "coordinator/round/round_internal.h"
#include "coordinator/store/run_store.h"
#include "coordinator/training_run_internal.h"

static const struct {
  const char *name;
  uint32_t kind;
} transitions[] = {
    {"record", 0},
    {"attempt", NX_RECORD_ATTEMPT_BEGUN},
    {"invite", RECORD_INVITE},
    {"roster", RECORD_ROSTER},
    {"shares", RECORD_SHARES},
    {"bundle", RECORD_BUNDLE},
    {"upload", RECORD_UPLOAD},
    {"commit", RECORD_COMMIT},
    {"certificate", RECORD_CERTIFICATE},
    {"opened", NX_RECORD_ATTEMPT_OPENED},
    {"result", RECORD_RESULT},
    {"aborting", RECORD_ABORTING},
    {"ended", NX_RECORD_ATTEMPT_ENDED},
    {"sealed", NX_STORE_DRILL_SEALED},
};

static const char *after(const char *text, const char *prefix) {
  size_t n = strlen(prefix);
  return strncmp(text, prefix, n) ? NULL : text + n;
}

int nx_drill_parse(const char *text, struct nx_serve_options *options, struct nx_error *err) {
  const char *name = after(text, "kill-before-"), *at = strchr(text, '@');
  uint64_t n = 0;
  options->drill_before = name != NULL;
  if (!name)
    name = after(text, "kill-after-");
  for (size_t i = 0; name && at && i < NX_ARRAY_LENGTH(transitions); i++) {
    if (strlen(transitions[i].name) != (size_t)(at - name) ||
        strncmp(transitions[i].name, name, (size_t)(at - name)))
      continue;
    int r = nx_option_number("drill", at + 1, 1, 1000000, &n, err);
    options->drill_kind = transitions[i].kind;
    options->drill_record = (uint32_t)n;
    return r;
  }
  return nx_fail(err, NX_E_INVALID,
                 "--drill: '%s' is not kill-before-WHAT@N or kill-after-WHAT@N, WHAT being "
                 "record, attempt, invite, roster, shares, bundle, upload, commit, certificate, "
                 "opened, result, aborting, ended or sealed",
                 text);
}
