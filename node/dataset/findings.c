#include "node/dataset/findings.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void nx_findings_add(struct nx_findings *findings, enum nx_severity severity, const char *rule,
                     const char *path, const char *format, ...) {
  if ((findings->n & (findings->n - 1)) == 0) {
    struct nx_finding *grown =
        reallocarray(findings->list, findings->n ? 2 * findings->n : 1, sizeof *grown);
    findings->exhausted |= !grown;
    if (!grown)
      return;
    findings->list = grown;
  }
  struct nx_finding finding = {
      .severity = severity, .standard = isupper((unsigned char)rule[0]) != 0, .path = strdup(path)};
  snprintf(finding.rule, sizeof finding.rule, "%s", rule);
  va_list arguments;
  va_start(arguments, format);
  if (vasprintf(&finding.mend, format, arguments) < 0)
    finding.mend = NULL;
  va_end(arguments);
  if (!finding.path || !finding.mend) {
    free(finding.path);
    free(finding.mend);
    findings->exhausted = true;
    return;
  }
  findings->list[findings->n++] = finding;
}

size_t nx_findings_count(const struct nx_findings *findings, enum nx_severity severity,
                         bool standard) {
  size_t n = 0;
  for (size_t i = 0; i < findings->n; i++)
    n += findings->list[i].severity == severity && findings->list[i].standard == standard;
  return n;
}

void nx_findings_finish(struct nx_findings *findings) {
  for (size_t i = 0; i < findings->n; i++) {
    free(findings->list[i].path);
    free(findings->list[i].mend);
  }
  free(findings->list);
  memset(findings, 0, sizeof *findings);
}
