#include "node/policy/plan_words.h"

#include <inttypes.h>
#include <string.h>

#include "common/plan_prototypes.h"
#include "common/plan_regression.h"
#include "common/size.h"

static void tell_targets(const struct nx_plan *plan, FILE *out) {
  const struct nx_plan_regression *r = plan->regression;
  fprintf(out, "learns to say from %s %s", plan->data.species, plan->data.modality);
  for (uint32_t i = 0; i < r->n_targets; i++)
    fprintf(out, "%s %s", i ? "," : "", r->targets[i]);
  if (r->standardise == NX_STANDARDISE_SITE)
    fputs(" in this site's own SDs", out);
  else
    fprintf(out, " in %s, of which\n           sums and sums of squares leave, masked, once",
            r->unit);
}

static void tell_prototypes(const struct nx_plan *plan, FILE *out) {
  const struct nx_plan_prototypes *p = plan->prototypes;
  fprintf(out, ",\n           and where windows of");
  for (uint32_t i = 0; i < p->n_classes; i++)
    fprintf(out, "%s %s", i ? "," : "", p->classes[i]);
  fprintf(out,
          " lie: of each class the sum\n           of its windows' directions and their number "
          "leave, masked, every round. A class\n           that this site alone has is told by the "
          "opened sum (docs/threat-model.md)");
}

static void tell_task(const struct nx_plan *plan, FILE *out) {
  fprintf(out, "task       ");
  if (plan->training.objective == NX_OBJECTIVE_CLASSIFICATION)
    fprintf(out, "learns to tell '%s' from '%s' in %s %s", plan->data.negative_label,
            plan->data.positive_label, plan->data.species, plan->data.modality);
  else if (plan->regression)
    tell_targets(plan, out);
  else
    fprintf(out, "learns to fill in hidden pieces of %s %s%s", plan->data.species,
            plan->data.modality, plan->prototypes ? "" : " (no labels are learnt)");
  if (plan->prototypes)
    tell_prototypes(plan, out);
  fprintf(out, ",\n           from windows of %g s at %g Hz\n", plan->window.seconds,
          plan->preprocessing.rate_hz);
}

static void tell_names(const char *before, char *const *names, uint32_t n, FILE *out) {
  for (uint32_t i = 0; i < n; i++)
    fprintf(out, "%s %s", i ? "," : before, names[i]);
}

static void tell_data(const struct nx_plan *plan, FILE *out) {
  fprintf(out, "data       a site takes part with at least %" PRIu32 " %s",
          plan->data.minimum_subjects, plan->data.minimum_subjects == 1 ? "subject" : "subjects");
  if (plan->requires) {
    const struct nx_plan_requires *required = plan->requires;
    tell_names("; only the data sets", required->data_sets, required->n_data_sets, out);
    if (required->minimum_recordings)
      fprintf(out, "; at least %" PRIu32 " recordings", required->minimum_recordings);
    if (required->minimum_channels)
      fprintf(out, "; at least %" PRIu32 " channels", required->minimum_channels);
    tell_names("; the channels", required->channels, required->n_channels, out);
    if (required->minimum_rate_hz > 0)
      fprintf(out, "; recorded at %g Hz or more", required->minimum_rate_hz);
  }
  fputc('\n', out);
}

static void tell_work(const struct nx_plan *plan, const struct nx_plan_facts *facts, FILE *out) {
  const struct nx_plan_aggregation *a = &plan->aggregation;
  fprintf(out,
          "work       %" PRIu32 " training rounds of %" PRIu32 " steps with %" PRIu32
          " windows each, between a round of feature\n           statistics and one of scoring\n",
          plan->training.rounds, plan->training.local_steps, plan->training.batch);
  fprintf(
      out,
      "leaves     in every training round one masked vector of %" PRIu64 " values, %.3f MB; only\n"
      "           the sum over a cohort of at least %" PRIu32 " members is ever opened. One site\n"
      "           weighs at most as %" PRIu32 " samples, and its update is cut to norm %g\n",
      facts->n_values, (double)facts->upload_bytes / 1e6, a->minimum_members, a->weight_cap,
      a->update_clip_norm);
  fprintf(out, "checks     this node recomputes %" PRIu32 " tiles of every opened sum\n",
          a->spot_checks);
}

static void tell_privacy(const struct nx_plan *plan, FILE *out) {
  if (plan->privacy == NX_PRIVACY_NONE)
    fprintf(out, "privacy    NO noise is added: what a sum over the cohort tells, it tells\n"
                 "           (docs/threat-model.md)\n");
  else
    fprintf(out, "privacy    noise is added before anything leaves (the keys are below)\n");
}

static void tell_irb(const struct nx_plan *plan, FILE *out) {
  if (!plan->irb) {
    fprintf(out, "ethics     the plan names no protocol\n");
    return;
  }
  fprintf(out, "ethics     protocols");
  for (uint32_t i = 0; i < plan->irb->n_protocols; i++)
    fprintf(out, "%s %s", i ? "," : "", plan->irb->protocols[i]);
  fputc('\n', out);
  if (plan->irb->statement)
    fprintf(out, "           \"%s\"\n", plan->irb->statement);
}

/* What the sentences do not say in full is said as it is written. */
static void tell_rest(const struct nx_plan_keys *keys, FILE *out) {
  static const char *const told[] = {"neurox_plan",   "name",      "seed",  "data",
                                     "preprocessing", "window",    "model", "training",
                                     "aggregation",   "deadlines", "irb",   "requires"};
  for (size_t i = 0; i < keys->n; i++) {
    bool is_told = false;
    size_t n = strcspn(keys->items[i].path, ".[");
    for (size_t k = 0; k < NX_ARRAY_LENGTH(told); k++)
      is_told |= strlen(told[k]) == n && !strncmp(keys->items[i].path, told[k], n);
    if (!is_told)
      fprintf(out, "besides    %s: %s\n", keys->items[i].path, keys->items[i].value);
  }
}

void nx_plan_tell(const struct nx_plan *plan, const struct nx_plan_facts *facts,
                  const struct nx_plan_keys *keys, FILE *out) {
  tell_task(plan, out);
  tell_data(plan, out);
  tell_work(plan, facts, out);
  tell_privacy(plan, out);
  tell_irb(plan, out);
  tell_rest(keys, out);
}
