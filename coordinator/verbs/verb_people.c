/* Verbs grant, people and revoke: who may do what, beside the sites that enrol. */
#include <stdio.h>

#include "common/clock.h"
#include "coordinator/verbs/coordinator_verb.h"
#include "coordinator/verbs/credential.h"

static int run_grant(int argc, char *const *argv, struct nx_error *err) {
  const char *given = NX_COORDINATOR_HOME, *out = NULL, *days_text = NULL, *words[2];
  const struct nx_option options[] = {{.name = "home", .value = &given},
                                      {.name = "out", .value = &out},
                                      {.name = "days", .value = &days_text}};
  _cleanup_(nx_federation_closep) struct nx_federation *federation = NULL;
  struct nx_store_grant grant;
  char home[NX_PATH_SIZE], until[21];
  uint64_t days = 90;
  size_t n_words;
  if (nx_options_parse(argc, argv, options, 3, words, 2, &n_words, err) < 0 ||
      nx_verb_home(given, home, err) < 0 ||
      (days_text && nx_option_number("days", days_text, 1, 3650, &days, err) < 0))
    return NX_VERB_USAGE;
  enum nx_role role = n_words ? nx_role_to_grant(words[0]) : NX_ROLE_NONE;
  if (n_words != 2 || !role) {
    nx_fail(err, NX_E_INVALID, "say the role (operator, researcher or auditor) and a name");
    return NX_VERB_USAGE;
  }
  int r = nx_federation_open(home, &federation, err);
  if (r < 0 || (r = nx_credential_grant(federation, role, words[1], (uint32_t)days,
                                        out ? out : words[1], &grant, err)) < 0)
    return nx_error_prefix(err, r, "grant %s %.64s", words[0], words[1]);
  nx_clock_format(grant.ends, until);
  printf("credential: %s\nrole: %s\nends: %s\n\n"
         "Hand the folder over on something that is wiped afterwards; it holds a private key.\n"
         "Its owner gives it as --home:  neurox-coordinator status --home %s\n",
         out ? out : words[1], words[0], until, out ? out : words[1]);
  return 0;
}

const struct nx_coordinator_verb nx_coordinator_grant = {
    .name = "grant",
    .summary = "make a certificate for a researcher, an auditor or an operator",
    .help = "usage: neurox-coordinator grant ROLE NAME [--out DIR] [--days N]\n\n"
            "ROLE is researcher, auditor or operator; what each may call is a table in\n"
            "docs/operations.md. Writes a folder with a key, a certificate and the coordinator's\n"
            "address; its owner gives that folder as --home to status, watch and the other verbs,\n"
            "on any machine. The running coordinator knows it within a second and puts it into\n"
            "its audit log. revoke NAME takes it back.\n\n" NX_HELP_COORDINATOR_HOME
            "  --out DIR       the folder to make (default ./NAME)\n"
            "  --days N        how long it is valid (default 90)\n",
    .run = run_grant,
};

static void print_grant(const struct nx_store_grant *grant) {
  char until[21];
  nx_clock_format(grant->ends, until);
  printf("%-12s %-24s %s %s\n", nx_role_name((enum nx_role)grant->role), grant->name,
         grant->revoked                  ? "revoked; would have ended"
         : grant->ends < nx_clock_unix() ? "ended"
                                         : "until",
         until);
}

static int run_people(int argc, char *const *argv, struct nx_error *err) {
  const char *given = NX_COORDINATOR_HOME, *words;
  const struct nx_option options[] = {{.name = "home", .value = &given}};
  _cleanup_(nx_federation_closep) struct nx_federation *federation = NULL;
  static struct nx_store_grant grants[NX_STORE_GRANTS];
  char home[NX_PATH_SIZE];
  size_t n_words, n = 0;
  if (nx_options_parse(argc, argv, options, 1, &words, 0, &n_words, err) < 0 ||
      nx_verb_home(given, home, err) < 0)
    return NX_VERB_USAGE;
  int r = nx_federation_open(home, &federation, err);
  if (r < 0 || (r = nx_run_store_grants(federation->store, grants, &n, err)) < 0)
    return nx_error_prefix(err, r, "people");
  printf("%-12s %-24s in %s/operator\n", "operator", "operator", home);
  for (size_t i = 0; i < n; i++)
    print_grant(&grants[i]);
  return 0;
}

const struct nx_coordinator_verb nx_coordinator_people = {
    .name = "people",
    .summary = "list who was granted a role",
    .help = "usage: neurox-coordinator people\n\n"
            "Operators, researchers and auditors, until when their certificates are valid, and\n"
            "which were revoked. Sites are listed by members.\n\n" NX_HELP_COORDINATOR_HOME,
    .run = run_people,
};

/* A site, or else a person. */
static int revoke(struct nx_federation *f, const char *name, const char *reason,
                  struct nx_error *err) {
  int64_t now = nx_clock_unix();
  int r = nx_run_store_revoke(f->store, name, reason, now, err);
  if (r == NX_E_NOT_FOUND)
    r = nx_run_store_revoke_grant(f->store, name, reason, now, err);
  return r == NX_E_NOT_FOUND
             ? nx_fail(err, r, "there is no member and no person %s whose certificate is valid",
                       name)
             : r;
}

static int run_revoke(int argc, char *const *argv, struct nx_error *err) {
  const char *given = NX_COORDINATOR_HOME, *reason = "", *name;
  const struct nx_option options[] = {{.name = "home", .value = &given},
                                      {.name = "reason", .value = &reason}};
  _cleanup_(nx_federation_closep) struct nx_federation *federation = NULL;
  char home[NX_PATH_SIZE];
  size_t n_words;
  if (nx_options_parse(argc, argv, options, 2, &name, 1, &n_words, err) < 0 ||
      nx_verb_home(given, home, err) < 0)
    return NX_VERB_USAGE;
  if (!n_words || strlen(reason) >= NX_STORE_REASON_SIZE) {
    nx_fail(err, NX_E_INVALID,
            n_words ? "--reason: at most 256 characters" : "name the member or person to revoke");
    return NX_VERB_USAGE;
  }
  int r = nx_federation_open(home, &federation, err);
  if (r < 0 || (r = revoke(federation, name, reason, err)) < 0)
    return nx_error_prefix(err, r, "revoke %.64s", name);
  printf("revoked: %s\n%s", name,
         nx_verb_is_served(home) ? "the running coordinator sends it away within a second\n" : "");
  return 0;
}

const struct nx_coordinator_verb nx_coordinator_revoke = {
    .name = "revoke",
    .summary = "make a member's or a person's certificate worthless, at once",
    .help = "usage: neurox-coordinator revoke NAME [--reason TEXT]\n\n"
            "For a lost laptop, or an institution or person that leaves. The running coordinator\n"
            "ends its calls within a second, answers none again, and puts it into its audit log.\n"
            "A site stays in the manifest that all have pinned: rounds go on as long as two\n"
            "thirds of its members take part. It cannot be undone; a person can be granted a\n"
            "role again.\n\n" NX_HELP_COORDINATOR_HOME "  --reason TEXT   for the audit log\n",
    .run = run_revoke,
};
