#include "coordinator/verbs/sites.h"

#include <stdio.h>

int nx_sites_get(struct nx_operator *operator_, const struct nx_hash *plan, struct nx_sites *out,
                 struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer request = {0}, response = {0};
  struct nx_admin_request asked = {0};
  if (plan)
    asked.plan = *plan;
  int r = nx_admin_request_encode(&asked, &request, err);
  if (r == 0)
    r = nx_operator_call(operator_, NX_METHOD_ADMIN_MEMBERS, nx_buffer_view(&request), &response,
                         err);
  if (r == NX_E_DENIED)
    return 0; /* a researcher: the list of members is not theirs */
  if (r == 0)
    r = nx_arena_create(NX_ADMIN_ARENA, &out->arena, err);
  return r < 0 ? r : nx_admin_members_decode(nx_buffer_view(&response), out->arena, &out->list, err);
}

void nx_sites_finish(struct nx_sites *sites) {
  nx_arena_destroy(sites->arena);
  sites->arena = NULL;
}

static bool is_here(const struct nx_admin_member *m) {
  return m->state == NX_MEMBER_IDLE || m->state == NX_MEMBER_WORKING;
}

static bool counts(const struct nx_admin_member *m) {
  return is_here(m) || m->state == NX_MEMBER_AWAY;
}

static void print_counts(const struct nx_admin_member *m) {
  char people[24], recordings[24];
  if (!m->counted)
    return;
  nx_fit_bucket_tell(m->subjects, people);
  nx_fit_bucket_tell(m->recordings, recordings);
  printf("people %s, recordings %s", people, recordings);
}

static void print_site(const struct nx_admin_member *m) {
  char unmet[256];
  nx_requirements_tell(m->unmet, unmet, sizeof unmet);
  printf("  %-24s ", m->name);
  if (m->fit == NX_FIT_NO)
    printf("cannot take part: %s%s", unmet, is_here(m) ? "" : "; not connected");
  else if (!is_here(m))
    printf("not connected");
  else if (m->fit == NX_FIT_YES)
    print_counts(m);
  else
    printf("%s", m->fit ? "does not say whether its data fit" : "has not answered yet");
  putchar('\n');
}

void nx_sites_print(const struct nx_sites *sites) {
  const struct nx_admin_members *list = &sites->list;
  size_t all = 0, fit = 0;
  for (size_t i = 0; i < list->n; i++) {
    all += counts(&list->items[i]);
    fit += is_here(&list->items[i]) && list->items[i].fit != NX_FIT_NO;
  }
  if (!all || nx_hash_is_zero(&list->plan))
    return;
  printf("sites: %zu of %zu can take part in %s\n", fit, all,
         list->plan_name[0] ? list->plan_name : "this plan");
  for (size_t i = 0; i < list->n; i++)
    if (counts(&list->items[i]))
      print_site(&list->items[i]);
}

void nx_sites_json(const struct nx_sites *sites, cJSON *object) {
  static const char *const words[] = {
      [0] = "unknown", [NX_FIT_YES] = "yes", [NX_FIT_NO] = "no", [NX_FIT_UNSAID] = "unsaid"};
  cJSON *array = cJSON_AddArrayToObject(object, "sites");
  for (size_t i = 0; i < sites->list.n; i++) {
    const struct nx_admin_member *m = &sites->list.items[i];
    char unmet[256];
    if (!counts(m))
      continue;
    cJSON *site = cJSON_CreateObject();
    cJSON_AddItemToArray(array, site);
    nx_requirements_tell(m->unmet, unmet, sizeof unmet);
    cJSON_AddStringToObject(site, "site", m->name);
    cJSON_AddBoolToObject(site, "here", is_here(m));
    cJSON_AddStringToObject(site, "fits", words[m->fit]);
    cJSON_AddStringToObject(site, "unmet", unmet);
    if (m->counted) {
      cJSON_AddNumberToObject(site, "people_at_least", m->subjects);
      cJSON_AddNumberToObject(site, "recordings_at_least", m->recordings);
    }
  }
}
