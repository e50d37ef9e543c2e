/* TSV: tab-separated tables as BIDS and labels.tsv have them (BIDS 1.11, "Tabular files"): one
 * header line, "n/a" for what is missing. Untrusted bytes: capped, never executed, NULs refused.
 * A table belongs to its caller; cells point into it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/bytes.h"

#define NX_TSV_CAP ((size_t)64 << 20) /* largest table, bytes */
#define NX_TSV_COLUMNS 1024
#define NX_TSV_NONE ((size_t)-1)

struct nx_tsv {
  char *text;
  size_t n_columns, n_rows; /* rows without the header */
  char **cells;             /* [1 + n_rows][n_columns]; row 0 is the header */
  /* Blemishes that a tolerant reader forgives and `neurox-node check` does not: */
  bool carriage_returns;
  size_t ragged_line;   /* first line with another number of fields than the header, or 0 */
  size_t empty_line;    /* first empty line before the last, or 0 */
  bool doubled_columns; /* two columns of one name */
};

/* NX_E_FORMAT: no header, a NUL byte; NX_E_LIMIT: too many columns, too large. Short rows are
 * filled up with "n/a", long ones cut; ragged_line says so. */
int nx_tsv_parse(struct nx_bytes text, struct nx_tsv *table_out, struct nx_error *err);
int nx_tsv_read(const char *path, struct nx_tsv *table_out, struct nx_error *err);
void nx_tsv_finish(struct nx_tsv *table); /* zeroed is fine */

/* Index of a column, NX_TSV_NONE when there is none of this name. */
size_t nx_tsv_column(const struct nx_tsv *table, const char *name);
/* The text of a cell; NULL for "n/a", for nothing and for column NX_TSV_NONE. */
const char *nx_tsv_cell(const struct nx_tsv *table, size_t row, size_t column);
/* False when the cell is empty, "n/a" or no finite number. */
bool nx_tsv_number(const struct nx_tsv *table, size_t row, size_t column, double *out);
