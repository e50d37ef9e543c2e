#include "node/site_fit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/file.h"
#include "node/dataset/fit.h"
#include "node/node_home.h"
#include "node/site_data.h"

#define DAY 86400

/* Plans but this one that were answered within a day. */
static size_t answered_today(const char *folder, const char *but) {
  size_t n = 0;
  DIR *answers = opendir(folder);
  for (struct dirent *entry; answers && (entry = readdir(answers));) {
    char path[NX_PATH_SIZE];
    struct stat status;
    if (strlen(entry->d_name) == NX_HASH_HEX_SIZE - 1 && strcmp(entry->d_name, but) != 0 &&
        nx_path_join(path, folder, entry->d_name, NULL) == 0 && !stat(path, &status))
      n += status.st_mtime > nx_clock_unix() / NX_SECOND - DAY;
  }
  if (answers)
    closedir(answers);
  return n;
}

static int judge(const struct nx_site_fit *asked, struct nx_fit *fit, struct nx_error *err) {
  _cleanup_(nx_withdrawals_finish) struct nx_withdrawals withdrawals = {0};
  const struct nx_node_config_data *data = &asked->node->data;
  struct nx_site_data_options site;
  struct nx_error why = {0};
  int r = nx_withdrawals_read(asked->home, data, &withdrawals, err);
  if (r < 0)
    return r;
  /* A fold that names nobody is judged with the rest: there may be no recordings at all. */
  if (nx_site_data_describe(data, &withdrawals, asked->plan, NULL, false, &site, &why) < 0) {
    site.options.withdrawn = (const char *const *)withdrawals.names;
    site.options.n_withdrawn = withdrawals.n;
  }
  nx_fit_judge(&site.options, asked->plan, data->name, fit);
  return 0;
}

static void tell_steward(const struct nx_fit *fit, const struct nx_fit_message *told, FILE *out) {
  char at[21], subjects[24], recordings[24];
  nx_clock_format(told->at, at);
  fprintf(out, "answered %s: %s\n", at,
          told->verdict == NX_FIT_YES  ? "yes, the data here fit this plan"
          : told->verdict == NX_FIT_NO ? "no, they do not"
                                       : "nothing was said (policy.yaml, compatibility)");
  if (told->counted) {
    nx_fit_bucket_tell(told->subjects, subjects);
    nx_fit_bucket_tell(told->recordings, recordings);
    fprintf(out, "told: people %s, recordings %s\n", subjects, recordings);
  }
  for (uint32_t i = 1; i < NX_REQUIREMENTS; i++) {
    if (fit->unmet & 1u << i)
      fprintf(out, "  %-20s no   (not told: %s)\n", nx_requirement_name(i), fit->why[i]);
    else if (fit->met & 1u << i)
      fprintf(out, "  %-20s yes\n", nx_requirement_name(i));
  }
  if (fit->met | fit->unmet)
    fprintf(out, "  counted here, not told: %zu people, %zu recordings to train from\n",
            fit->n_subjects, fit->n_recordings);
}

static int keep(const char *path, const struct nx_fit *fit, const struct nx_fit_message *told,
                struct nx_error *err) {
  _cleanup_free_ char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (!out)
    return nx_fail(err, NX_E_NOMEM, "answer: out of memory");
  tell_steward(fit, told, out);
  if (fclose(out))
    return nx_fail(err, NX_E_NOMEM, "answer: out of memory");
  return nx_file_replace(path, nx_bytes(text, size), 0600, err);
}

int nx_site_fit_answer(const struct nx_site_fit *asked, struct nx_fit_message *out,
                       struct nx_error *err) {
  _cleanup_free_ struct nx_fit *fit = calloc(1, sizeof *fit);
  char folder[NX_PATH_SIZE], path[NX_PATH_SIZE], hex[NX_HASH_HEX_SIZE];
  if (!fit)
    return nx_fail(err, NX_E_NOMEM, "answer: out of memory");
  *out = (struct nx_fit_message){
      .plan = asked->hash, .at = nx_clock_unix(), .verdict = NX_FIT_UNSAID};
  memcpy(out->federation, asked->federation, sizeof out->federation);
  nx_hash_hex(&asked->hash, hex);
  int r = nx_path_join(folder, asked->home, NX_HOME_ANSWERS, err);
  if (r == 0)
    r = nx_folder_create(folder, 0700, err);
  if (r == 0)
    r = nx_path_join(path, folder, hex, err);
  if (r < 0)
    return r;
  bool may = asked->policy.answer == NX_POLICY_ANSWER_ALWAYS &&
             answered_today(folder, hex) < asked->policy.plans_per_day;
  if (may && (r = judge(asked, fit, err)) < 0)
    return r;
  if (may) {
    out->verdict = fit->unmet ? NX_FIT_NO : NX_FIT_YES;
    out->met = fit->met;
    out->unmet = fit->unmet;
    out->counted = asked->policy.counts == NX_POLICY_COUNTS_BUCKETS;
    out->subjects = out->counted ? nx_fit_bucket(fit->n_subjects) : 0;
    out->recordings = out->counted ? nx_fit_bucket(fit->n_recordings) : 0;
  }
  return keep(path, fit, out, err);
}
