#include "common/plan_adapters.h"

#include "common/plan.h"
#include "common/size.h"

static const cyaml_strval_t switches[] = {{"false", false}, {"true", true}};
static const cyaml_strval_t storages[] = {
    {"float32", NX_STORAGE_FLOAT32}, {"int8", NX_STORAGE_INT8}, {"nf4", NX_STORAGE_NF4}};

#define SWITCH(key)                                                                                \
  CYAML_FIELD_ENUM(#key, CYAML_FLAG_STRICT, struct nx_plan_adapters, key, switches,                \
                   NX_ARRAY_LENGTH(switches))

const cyaml_schema_field_t nx_plan_adapters_fields[] = {
    CYAML_FIELD_UINT("rank", CYAML_FLAG_DEFAULT, struct nx_plan_adapters, rank),
    CYAML_FIELD_FLOAT("alpha", CYAML_FLAG_DEFAULT, struct nx_plan_adapters, alpha),
    SWITCH(attention),
    SWITCH(feed_forward),
    SWITCH(head),
    CYAML_FIELD_ENUM("base", CYAML_FLAG_STRICT | CYAML_FLAG_OPTIONAL, struct nx_plan_adapters, base,
                     storages, NX_ARRAY_LENGTH(storages)),
    CYAML_FIELD_END};

int nx_plan_adapters_check(const struct nx_plan *plan, struct nx_error *err) {
  const struct nx_plan_adapters *a = plan->adapters;
  if (!a)
    return 0;
  if (a->rank < 1 || a->rank > 256)
    return nx_fail(err, NX_E_FORMAT, "adapters.rank is %u: use 1 to 256", a->rank);
  if (!(a->alpha > 0 && a->alpha <= 1e6))
    return nx_fail(err, NX_E_FORMAT, "adapters.alpha is %g: use more than 0, at most 1e6",
                   a->alpha);
  if (!a->attention && !a->feed_forward)
    return nx_fail(err, NX_E_FORMAT,
                   "adapters.attention and adapters.feed_forward are both false: there is nothing "
                   "to adapt");
  if (a->base != NX_STORAGE_FLOAT32 && (plan->model.width % 8 || plan->model.feed_forward % 8))
    return nx_fail(
        err, NX_E_FORMAT,
        "adapters.base: %s needs model.width and model.feed_forward to be multiples of 8",
        a->base == NX_STORAGE_INT8 ? "int8" : "nf4");
  if (!plan->initial_model)
    return nx_fail(
        err, NX_E_FORMAT,
        "adapters need a section initial_model: weights drawn from a seed are nothing to "
        "adapt (neurox-coordinator import prints the section)");
  if (plan->privacy != NX_PRIVACY_NONE)
    return nx_fail(
        err, NX_E_FORMAT,
        "adapters do not go together with a privacy mechanism yet: use privacy: none, or "
        "leave the section adapters out");
  return 0;
}
