#include "node/dataset/tsv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/size.h"

static char not_available[] = "n/a";

static size_t count(const char *text, char what) {
  size_t n = 0;
  for (; (text = strchr(text, what)); text++)
    n++;
  return n;
}

/* Cuts a line into cells[0 .. n_columns); returns how many fields the line had. */
static size_t split(char *line, char **cells, size_t n_columns) {
  size_t n = 0;
  for (char *field; (field = strsep(&line, "\t")); n++)
    if (n < n_columns)
      cells[n] = field;
  for (size_t i = n; i < n_columns; i++)
    cells[i] = not_available;
  return n;
}

static void trim_return(struct nx_tsv *table, char *line) {
  size_t n = strlen(line);
  if (n && line[n - 1] == '\r') {
    line[n - 1] = 0;
    table->carriage_returns = true;
  }
}

static int parse_lines(struct nx_tsv *table, struct nx_error *err) {
  char *rest = table->text;
  size_t n_lines = count(rest, '\n') + 1, n_cells;
  char *line = strsep(&rest, "\n");
  trim_return(table, line);
  table->n_columns = count(line, '\t') + 1;
  if (!*line)
    return nx_fail(err, NX_E_FORMAT, "the table has no header line");
  if (table->n_columns > NX_TSV_COLUMNS)
    return nx_fail(err, NX_E_LIMIT, "more than %d columns", NX_TSV_COLUMNS);
  if (!nx_size_mul(n_lines, table->n_columns, &n_cells) || n_cells > NX_TSV_CAP)
    return nx_fail(err, NX_E_LIMIT, "more than %zu cells", NX_TSV_CAP);
  table->cells = reallocarray(NULL, n_cells, sizeof *table->cells);
  if (!table->cells)
    return nx_fail(err, NX_E_NOMEM, "table: out of memory");
  split(line, table->cells, table->n_columns);
  for (size_t number = 2; (line = strsep(&rest, "\n")); number++) {
    trim_return(table, line);
    if (!*line) {
      if (rest && !table->empty_line)
        table->empty_line = number;
      continue;
    }
    table->n_rows++;
    size_t n = split(line, table->cells + table->n_rows * table->n_columns, table->n_columns);
    if (n != table->n_columns && !table->ragged_line)
      table->ragged_line = number;
  }
  return 0;
}

int nx_tsv_parse(struct nx_bytes text, struct nx_tsv *table_out, struct nx_error *err) {
  struct nx_tsv table = {0};
  if (text.size >= 3 && !memcmp(text.data, "\xef\xbb\xbf", 3))
    text = nx_bytes(text.data + 3, text.size - 3);
  if (text.size > NX_TSV_CAP)
    return nx_fail(err, NX_E_LIMIT, "larger than %zu MiB", NX_TSV_CAP >> 20);
  if (text.size && memchr(text.data, 0, text.size))
    return nx_fail(err, NX_E_FORMAT, "holds a NUL byte: this is no table");
  table.text = malloc(text.size + 1);
  if (!table.text)
    return nx_fail(err, NX_E_NOMEM, "table: out of memory");
  if (text.size)
    memcpy(table.text, text.data, text.size);
  table.text[text.size] = 0;
  int r = parse_lines(&table, err);
  for (size_t c = 1; !r && c < table.n_columns; c++)
    table.doubled_columns |= nx_tsv_column(&table, table.cells[c]) != c;
  if (r < 0)
    nx_tsv_finish(&table);
  else
    *table_out = table;
  return r;
}

int nx_tsv_read(const char *path, struct nx_tsv *table_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  int r = nx_file_read(path, NX_TSV_CAP, &text, err);
  if (r < 0)
    return r;
  r = nx_tsv_parse(nx_buffer_view(&text), table_out, err);
  return r < 0 ? nx_error_prefix(err, r, "%s", path) : 0;
}

void nx_tsv_finish(struct nx_tsv *table) {
  free(table->text);
  free(table->cells);
  memset(table, 0, sizeof *table);
}

size_t nx_tsv_column(const struct nx_tsv *table, const char *name) {
  for (size_t c = 0; c < table->n_columns; c++)
    if (!strcmp(table->cells[c], name))
      return c;
  return NX_TSV_NONE;
}

const char *nx_tsv_cell(const struct nx_tsv *table, size_t row, size_t column) {
  if (column >= table->n_columns || row >= table->n_rows)
    return NULL;
  const char *cell = table->cells[(row + 1) * table->n_columns + column];
  return !*cell || !strcmp(cell, not_available) ? NULL : cell;
}

bool nx_tsv_number(const struct nx_tsv *table, size_t row, size_t column, double *out) {
  const char *cell = nx_tsv_cell(table, row, column);
  char *end;
  if (!cell)
    return false;
  *out = strtod(cell, &end);
  return end != cell && end[strspn(end, " ")] == 0 && isfinite(*out);
}
