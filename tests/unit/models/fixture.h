/* What the model tests share: the example plan, changed as a test likes. */
#pragma once

#include "common/file.h"
#include "common/plan.h"
#include "models/model.h"
#include "tests/unit/cmocka_shim.h"

static inline struct nx_plan *fixture_plan(void) {
  struct nx_buffer text = {0};
  struct nx_plan *plan = NULL;
  struct nx_error err = {0};
  assert_int_equal(nx_file_read("configs/plan-eegmat.yaml", NX_BUFFER_CAP, &text, &err), 0);
  if (nx_plan_parse("plan", nx_buffer_view(&text), &plan, &err))
    fail_msg("%s", err.text);
  nx_buffer_finish(&text);
  return plan;
}

static inline struct nx_model *fixture_model(const struct nx_plan *plan) {
  struct nx_model *model = NULL;
  struct nx_error err = {0};
  if (nx_model_create(plan, &model, &err))
    fail_msg("%s", err.text);
  return model;
}
