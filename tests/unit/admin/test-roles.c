/* Roles: the code's table is the one of the docs, and no method is without a rule. */
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "common/size.h"
#include "coordinator/admin/roles.h"
#include "proto/codec/methods.h"
#include "tests/unit/cmocka_shim.h"

static const enum nx_role roles[] = {NX_ROLE_NODE, NX_ROLE_OPERATOR, NX_ROLE_RESEARCHER,
                                     NX_ROLE_AUDITOR};

static char *text_of(const char *path, struct nx_buffer *buffer) {
  struct nx_error err = {0};
  if (nx_file_read(path, (size_t)1 << 20, buffer, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(nx_buffer_append(buffer, "", 1, NULL), 0);
  return (char *)buffer->data;
}

/* "| `Admin/Status` | operator, researcher, auditor | see where the run is |" */
static void row_of(const struct nx_role_rule *rule, char *out, size_t size) {
  int n = snprintf(out, size, "| `%s` |", rule->method + strlen("/neurox.v1."));
  const char *comma = " ";
  for (size_t i = 0; i < NX_ARRAY_LENGTH(roles); i++)
    if (rule->roles & roles[i]) {
      n += snprintf(out + n, size - (size_t)n, "%s%s", comma, nx_role_name(roles[i]));
      comma = ", ";
    }
  snprintf(out + n, size - (size_t)n, " | %s |\n", rule->words);
}

static void docs_table_is_the_codes(void **state) {
  (void)state;
  _cleanup_(nx_buffer_finish) struct nx_buffer docs = {0};
  char row[256];
  char *at = strstr(text_of("docs/operations.md", &docs), "| method | role | what for |\n|");
  assert_non_null(at);
  at = strchr(strchr(at, '\n') + 1, '\n') + 1;
  for (size_t i = 0; i < nx_role_n_rules; i++, at += strlen(row)) {
    row_of(&nx_role_rules[i], row, sizeof row);
    if (strncmp(at, row, strlen(row)))
      fail_msg("docs/operations.md should have here: %sand has: %.100s", row, at);
  }
  assert_int_equal(*at, '\n'); /* and nothing more */
}

static void every_method_has_a_rule(void **state) {
  (void)state;
  _cleanup_(nx_buffer_finish) struct nx_buffer header = {0};
  size_t n = 0;
  for (char *at = text_of("proto/codec/methods.h", &header);
       (at = strstr(at, "\"/neurox.v1.")) != NULL;) {
    char *end = strchr(++at, '"');
    *end = 0;
    if (strcmp(at, NX_METHOD_ENROL)) {
      bool found = false;
      for (size_t i = 0; i < nx_role_n_rules; i++)
        found = found || !strcmp(nx_role_rules[i].method, at);
      if (!found)
        fail_msg("%s has no rule in coordinator/admin/roles.c", at);
      n++;
    }
    at = end + 1;
  }
  assert_int_equal(n, nx_role_n_rules);
}

static void what_is_not_granted_is_refused(void **state) {
  (void)state;
  for (size_t i = 0; i < nx_role_n_rules; i++) {
    assert_false(nx_role_may(NX_ROLE_NONE, nx_role_rules[i].method));
    for (size_t k = 0; k < NX_ARRAY_LENGTH(roles); k++)
      assert_int_equal(nx_role_may(roles[k], nx_role_rules[i].method),
                       (nx_role_rules[i].roles & roles[k]) != 0);
  }
  assert_false(nx_role_may(NX_ROLE_OPERATOR, "/neurox.v1.Admin/Nonsense"));
  assert_false(nx_role_may(NX_ROLE_RESEARCHER, NX_METHOD_ADMIN_START));
  assert_false(nx_role_may(NX_ROLE_AUDITOR, NX_METHOD_BLOB_FETCH));
  assert_false(nx_role_may(NX_ROLE_OPERATOR, NX_METHOD_ROUND_UPLOAD));
  assert_int_equal(nx_role_to_grant("node"), NX_ROLE_NONE);
  assert_int_equal(nx_role_to_grant("root"), NX_ROLE_NONE);
  assert_int_equal(nx_role_to_grant("auditor"), NX_ROLE_AUDITOR);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(docs_table_is_the_codes),
      cmocka_unit_test(every_method_has_a_rule),
      cmocka_unit_test(what_is_not_granted_is_refused),
  };
  return cmocka_run_group_tests_name("roles", tests, NULL, NULL);
}
