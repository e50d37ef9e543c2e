/* BIDS electrodes: where the contacts of a recording were, in metres, from electrodes.tsv and the
 * unit that coordsystem.json declares. A unit that cannot be true (a head of 80 micrometres) is
 * caught: such positions are not used. */
#pragma once

#include "node/dataset/bids_tree.h"
#include "node/dataset/findings.h"

struct nx_electrode {
  char name[64], group[32];
  double metres[3];
};

struct nx_electrodes {
  size_t n; /* those with coordinates */
  struct nx_electrode *list;
  char system[48]; /* "ACPC", "CapTrak", … as declared */
};

/* `file`: an electrodes.tsv. NX_E_NOT_FOUND: no coordsystem.json; NX_E_FORMAT: a table or unit
 * that is none; NX_E_INVALID: the unit cannot be true, the text says which would be. */
int nx_bids_electrodes(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                       struct nx_electrodes *electrodes_out, struct nx_error *err);
void nx_electrodes_finish(struct nx_electrodes *electrodes);

/* neurox.electrode-units, when the unit cannot be true. */
void nx_bids_check_electrodes(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                              struct nx_findings *findings);
