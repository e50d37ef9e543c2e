/* Verb check: is a folder of recordings valid, and what is it like? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "node/dataset/survey.h"
#include "node/verbs/verb.h"

#define SHOWN 200 /* findings on the terminal */
#define SECOND INT64_C(1000000000)

struct progress {
  bool terminal;
  int64_t last;
};

static void show_progress(void *context, size_t done, size_t total) {
  struct progress *progress = context;
  int64_t now = nx_clock_monotonic();
  if (done != total && now - progress->last < (progress->terminal ? SECOND / 5 : 5 * SECOND))
    return;
  if (done == total && !progress->terminal)
    return;
  progress->last = now;
  fprintf(stderr, "%scheck: %zu of %zu recordings%s", progress->terminal ? "\r" : "", done, total,
          progress->terminal && done != total ? "" : "\n");
}

static void print_findings(const struct nx_findings *findings) {
  for (size_t i = 0; i < findings->n && i < SHOWN; i++)
    printf("%-7s %s\n        %s: %s\n",
           findings->list[i].severity == NX_FINDING_ERROR ? "error" : "warning",
           findings->list[i].rule, findings->list[i].path, findings->list[i].mend);
  if (findings->n > SHOWN)
    printf("and %zu findings more: --json lists all\n", findings->n - SHOWN);
}

static size_t count_errors(const struct nx_survey *survey) {
  return nx_findings_count(&survey->findings, NX_FINDING_ERROR, true) +
         nx_findings_count(&survey->findings, NX_FINDING_ERROR, false);
}

static void print_survey(const char *folder, const struct nx_survey *survey, const char *page) {
  size_t refused = 0;
  for (size_t i = 0; i < survey->n_recordings; i++)
    refused += survey->recordings[i].refused[0] != 0;
  print_findings(&survey->findings);
  printf("%s: %s, %zu people, %zu recordings (%zu cannot be read)\n", folder,
         survey->is_bids ? "BIDS tree" : "plain folder", survey->n_people, survey->n_recordings,
         refused);
  if (survey->is_bids)
    printf("valid BIDS: %s (%zu errors)\n", nx_survey_valid(survey) ? "yes" : "no",
           nx_findings_count(&survey->findings, NX_FINDING_ERROR, true));
  size_t n = count_errors(survey);
  if (nx_survey_ready(survey))
    puts("ready to train from: yes");
  else
    printf("ready to train from: no, %zu error%s to mend first\n", n, n == 1 ? "" : "s");
  if (page)
    printf("report: %s\n", page);
}

/* NAME-check.html in the current folder: never inside of the data. */
static const char *default_page(const struct nx_survey *survey, char out[NX_PATH_SIZE]) {
  snprintf(out, NX_PATH_SIZE, "%s-check.html", survey->folder_name);
  return out;
}

static int run_check(int argc, char *const *argv, struct nx_error *err) {
  const char *folders[1], *page = NULL;
  bool json = false, no_page = false, must_be_ready = false;
  struct progress progress = {.terminal = isatty(STDERR_FILENO) == 1, .last = nx_clock_monotonic()};
  struct nx_survey_options survey_options = {.progress = show_progress, .context = &progress};
  const struct nx_option options[] = {
      {.name = "json", .flag = &json},
      {.name = "page", .value = &page},
      {.name = "no-page", .flag = &no_page},
      {.name = "ready", .flag = &must_be_ready},
      {.name = "no-samples", .flag = &survey_options.no_samples},
      {.name = "headers-only", .flag = &survey_options.check.headers_only}};
  char path[NX_PATH_SIZE];
  size_t n_folders;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), folders, 1, &n_folders, err) <
      0)
    return NX_VERB_USAGE;
  if (n_folders != 1) {
    nx_fail(err, NX_E_INVALID, "name one folder");
    return NX_VERB_USAGE;
  }
  struct nx_survey survey = {0};
  int r = nx_survey(folders[0], &survey_options, &survey, err);
  if (r < 0)
    return r;
  if (!page && !no_page)
    page = default_page(&survey, path);
  if (page && !no_page)
    r = nx_survey_page(&survey, page, err);
  if (!r && json)
    r = nx_survey_json(&survey, stdout, err);
  else if (!r)
    print_survey(folders[0], &survey, no_page ? NULL : page);
  bool ready = nx_survey_ready(&survey), valid = nx_survey_valid(&survey);
  bool good = must_be_ready || !survey.is_bids ? ready : valid;
  size_t n = count_errors(&survey);
  nx_survey_finish(&survey);
  if (r < 0 || good)
    return r;
  nx_fail(err, NX_E_FORMAT, "%s: %zu thing%s to mend", folders[0], n, n == 1 ? "" : "s");
  return NX_VERB_REFUSED;
}

const struct nx_verb nx_verb_check = {
    .name = "check",
    .summary = "is a folder valid and fit to train from; a report for its steward",
    .help =
        "usage: neurox-node check DIR [--ready] [--page FILE] [--no-page] [--json]\n"
        "                             [--no-samples] [--headers-only]\n\n"
        "Looks through a data set: a BIDS tree (dataset_description.json, sub-…), or a plain\n"
        "folder of recordings. Says every finding with its rule, file and mend; rules in capitals\n"
        "are those of BIDS's own validator, neurox.… are ours. Opens every recording in the\n"
        "sandbox, names bad channels by PREP's criteria, and writes NAME-check.html in the "
        "current\n"
        "folder: one page for the steward or the ethics board, people numbered, no names, no\n"
        "network. What cannot be read is listed with its reason and skipped. Images below anat/\n"
        "are never opened.\n\n"
        "  --ready         fail, too, when a valid tree is not fit to train from\n"
        "  --page FILE     another name for the page\n"
        "  --no-page       none\n"
        "  --json          all of it as JSON on stdout, with real file names: keep it here\n"
        "  --no-samples    rules and headers only\n"
        "  --headers-only  data files may be empty (published examples): EMPTY_FILE and "
        "unreadable\n"
        "                  ones are not said\n\n"
        "Exit code 0: valid BIDS (a plain folder: ready); 2: not; 1: could not be checked.\n",
    .run = run_check,
};
