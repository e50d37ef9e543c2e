/* Site policy: what this institution lets its node do, in policy.yaml (node.yaml names it).
 * Parsed, then const; an unknown, missing or out-of-range key is an error with its line.
 * configs/policy.yaml is a commented example; neurox-node init writes one like it. A section
 * that is left out restricts nothing. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"

#define NX_SITE_POLICY_VERSION 1
#define NX_EPSILON_DELTA 1e-5

/* Who says yes to a plan. */
enum nx_approval {
  NX_APPROVAL_AUTO, /* any plan within the policy runs */
  NX_APPROVAL_ASK   /* a plan waits until `neurox-node plan approve` has signed for it */
};

struct nx_site_policy_cohort {
  uint32_t minimum_members;   /* smallest cohort this node takes part in, 3..255 */
  uint32_t minimum_threshold; /* votes and shares that open a sum; 0: what the protocol asks */
  char **refuse_members;      /* names of sites one will not train with */
  uint32_t n_refuse_members;
};

struct nx_site_policy_plans { /* an empty list allows any */
  char **allowed;             /* SHA-256 of plans, 64 hex digits each */
  uint32_t n_allowed;
  char **species;
  uint32_t n_species;
  char **modalities;
  uint32_t n_modalities;
  char **objectives;
  uint32_t n_objectives;
};

enum nx_policy_mechanism { NX_POLICY_MECHANISM_ANY, NX_POLICY_MECHANISM_NOISE };

struct nx_site_policy_privacy {
  enum nx_policy_mechanism mechanism; /* noise: plans without differential privacy are refused */
  double epsilon_per_data_set;        /* of a data set over its whole life; 0: no cap here */
  double epsilon_per_year;            /* of a data set within any 365 days; 0: no cap here */
  double epsilon_delta;               /* at which both are told; 0: NX_EPSILON_DELTA */
};

struct nx_site_policy_limits { /* 0 or empty: none */
  double round_mb;             /* 10^6 bytes that may leave in one round */
  double day_mb;               /* 10^6 bytes that may leave within any 24 hours */
  uint32_t rounds_per_day;     /* rounds joined within any 24 hours */
  char **hours;                /* "mon-fri 19:00-06:00", local time of this machine */
  uint32_t n_hours;
};

struct nx_site_policy_protocol {
  char *number;  /* of this institution's ethics board */
  char *expires; /* "2027-06-30": the last day, local time */
};

struct nx_site_policy_irb {
  struct nx_site_policy_protocol *protocols;
  uint32_t n_protocols;
};

enum nx_policy_answer { NX_POLICY_ANSWER_ALWAYS, NX_POLICY_ANSWER_NEVER };
enum nx_policy_counts { NX_POLICY_COUNTS_BUCKETS, NX_POLICY_COUNTS_NONE };

struct nx_site_policy_compatibility { /* whether this site's data fit a plan: what the hub is told */
  enum nx_policy_answer answer;       /* never: only that this site does not say */
  enum nx_policy_counts counts;       /* none: yes and no alone */
  uint32_t plans_per_day;             /* different plans answered within any 24 hours; 0: 20 */
};
#define NX_PLANS_PER_DAY 20

struct nx_site_policy_tell {
  char **command; /* program and arguments; run without a shell */
  uint32_t n_command;
  uint32_t timeout_seconds; /* 0: 30 */
  uint32_t days_before;     /* an end is near; 0: 30 */
  char *mail_to;            /* the command is fed a mail to this address, or NULL: JSON */
};

struct nx_site_policy {
  uint32_t neurox_policy; /* NX_SITE_POLICY_VERSION */
  enum nx_approval approval;
  struct nx_site_policy_cohort cohort;
  struct nx_site_policy_plans plans;
  struct nx_site_policy_privacy privacy;
  struct nx_site_policy_limits limits;
  struct nx_site_policy_compatibility compatibility;
  struct nx_site_policy_irb *irb; /* NULL: protocols are not asked for */
  struct nx_site_policy_tell *tell;
};

/* NX_E_FORMAT names the file, the line and the key; NX_E_INVALID the key out of range. */
int nx_site_policy_load(const char *path, struct nx_site_policy **policy_out, struct nx_error *err);
/* Writes a commented policy.yaml (0600) with this approval; NX_E_EXISTS when there is one. */
int nx_site_policy_write(const char *path, enum nx_approval approval, struct nx_error *err);
void nx_site_policy_destroy(struct nx_site_policy *policy); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_site_policy *, nx_site_policy_destroy)
