/* Dataset support: temporary folders, plans and small generated cohorts. Header only. */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/plan.h"
#include "node/dataset/synth.h"
#include "tests/support/shared_data.h"

static inline struct nx_plan *load_plan(void) {
  struct nx_buffer text = {0};
  struct nx_plan *plan = NULL;
  assert_int_equal(nx_file_read("configs/plan-eegmat.yaml", 1 << 20, &text, NULL), 0);
  assert_int_equal(nx_plan_parse("plan", nx_buffer_view(&text), &plan, NULL), 0);
  nx_buffer_finish(&text);
  return plan;
}

/* template: "/tmp/nx-…-XXXXXX", made in place. */
static inline void make_folder(char *template_path) {
  assert_non_null(mkdtemp(template_path));
}

static inline void remove_folder(const char *path) {
  DIR *folder = opendir(path);
  for (struct dirent *entry; folder && (entry = readdir(folder));) {
    char file[NX_PATH_SIZE];
    snprintf(file, sizeof file, "%.2000s/%.255s", path, entry->d_name);
    unlink(file);
  }
  if (folder)
    closedir(folder);
  rmdir(path);
}

static inline void make_cohort(const char *folder, size_t n_subjects, uint32_t seconds) {
  const struct nx_synth_options options = {
      .folder = folder, .n_subjects = n_subjects, .seconds = seconds, .seed = 7};
  assert_int_equal(nx_synth(&options, NULL), 0);
}
