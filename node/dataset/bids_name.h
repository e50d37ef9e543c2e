/* BIDS name: what the name of one file says (BIDS 1.11, "Filename structure"):
 *
 *     sub-01_ses-02_task-rest_run-1_eeg.vhdr
 *     entities: key-label, joined by "_"; then the suffix; then the extension, from its first dot
 *
 * Pure; names are untrusted. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define NX_BIDS_ENTITIES 16

struct nx_bids_entity {
  char key[12], label[64];
};

struct nx_bids_name {
  size_t n;
  struct nx_bids_entity entities[NX_BIDS_ENTITIES]; /* in the name's order */
  char suffix[24];                                  /* "eeg", "channels", … */
  char extension[24];                               /* ".vhdr", ".nii.gz", "" */
};

/* False when the name is not built so: an entity without label, no suffix, too long. Whether
 * keys, suffix and extension are BIDS's is not asked. */
bool nx_bids_name_parse(const char *file, struct nx_bids_name *name_out);
/* The label of an entity ("sub", "task" …), NULL when it is not there. */
const char *nx_bids_entity(const struct nx_bids_name *name, const char *key);
/* True when every entity of `general` (but `except`, which may be NULL) is in `special` with the
 * same label: the inheritance principle's condition. */
bool nx_bids_applies(const struct nx_bids_name *general, const struct nx_bids_name *special,
                     const char *except);
