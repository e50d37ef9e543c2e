#include "node/recordings/identity.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/size.h"

struct field {
  const char *text;
  size_t size;
};

static struct field trim(const char *text, size_t size) {
  while (size && ((unsigned char)*text <= ' ' || *text == 0x7f)) {
    text++;
    size--;
  }
  while (size && (unsigned char)text[size - 1] <= ' ')
    size--;
  return (struct field){text, size};
}

static bool is_word(struct field field, const char *word) {
  return strlen(word) == field.size && !strncasecmp(field.text, word, field.size);
}

/* What recorders and anonymisers write for nobody. */
static bool is_nobody(struct field field) {
  static const char *const words[] = {
      "",         "X",    "XX",      "XXX",       "X,X",        "n/a",          "na",
      "none",     "no",   "anon",    "anonymous", "anonymized", "anonymised",   "mne_anonymize",
      "unknown",  "-",    "no_name", "no name",   "noname",     "subject",      "patient",
      "test",     "null", "nil",     "default",   "removed",    "deidentified", "de-identified",
      "synthetic"};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(words); i++)
    if (is_word(field, words[i]))
      return true;
  return false;
}

static size_t count_digits(struct field field) {
  size_t n = 0;
  for (size_t i = 0; i < field.size; i++)
    n += isdigit((unsigned char)field.text[i]) != 0;
  return n;
}

static size_t count_letters(struct field field) {
  size_t n = 0;
  for (size_t i = 0; i < field.size; i++)
    n += isalpha((unsigned char)field.text[i]) || (unsigned char)field.text[i] >= 0x80;
  return n;
}

/* A code has a digit ("Subject07", "pat01") or is a letter or two; a name has none. */
bool nx_looks_like_name(const char *text, size_t size) {
  struct field field = trim(text, size);
  return !is_nobody(field) && count_letters(field) >= 3 && count_digits(field) == 0;
}

/* Digits that belong together: "0234567", "1234/2002"; not "0.1 Hz to 75 Hz". */
bool nx_looks_like_number(const char *text, size_t size) {
  size_t digits = 0;
  for (size_t i = 0; i < size && digits < 6; i++) {
    bool joins = (text[i] == '-' || text[i] == '/') && digits;
    digits = isdigit((unsigned char)text[i]) ? digits + 1 : joins ? digits : 0;
  }
  return digits >= 6;
}

static bool is_month(const char *text) {
  static const char *const months[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                       "jul", "aug", "sep", "oct", "nov", "dec"};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(months); i++)
    if (!strncasecmp(text, months[i], 3))
      return true;
  return false;
}

static size_t run_of_digits(const char *text, size_t size) {
  size_t n = 0;
  while (n < size && isdigit((unsigned char)text[n]))
    n++;
  return n;
}

/* Length of "day SEP month SEP year" or "year SEP month SEP day" at text, 0: there is none. */
static size_t date_at(const char *text, size_t size) {
  size_t first = run_of_digits(text, size), at = first;
  if (first < 1 || first > 4 || at >= size || !strchr("-./ ", text[at]))
    return 0;
  char separator = text[at++];
  size_t second = run_of_digits(text + at, size - at);
  bool month = at + 3 <= size && is_month(text + at);
  if (!month && (second < 1 || second > 2))
    return 0;
  at += month ? 3 : second;
  if (at >= size || text[at] != separator)
    return 0;
  size_t third = run_of_digits(text + at + 1, size - at - 1);
  bool full = first == 4 || third == 4 || (first == 2 && third == 2);
  return full && third >= 1 && third <= 4 ? at + 1 + third : 0;
}

/* 02-MAY-1951, 2.5.1951, 1951-05-02, 02.05.51, 19510502 */
bool nx_looks_like_date(const char *text, size_t size) {
  for (size_t i = 0; i < size;) {
    size_t run = run_of_digits(text + i, size - i);
    if (date_at(text + i, size - i) ||
        (run == 8 && (!memcmp(text + i, "19", 2) || !memcmp(text + i, "20", 2))))
      return true;
    i += run ? run : 1;
  }
  return false;
}

void nx_identity_note(struct nx_recording *recording, const char *what) {
  char *text = recording->info.identity;
  size_t used = strlen(text);
  if (!strstr(text, what))
    snprintf(text + used, sizeof recording->info.identity - used, "%s%s", used ? ", " : "", what);
}

/* The next of a field's parts, which blanks separate. */
static struct field next_part(struct field *rest) {
  *rest = trim(rest->text, rest->size);
  size_t n = 0;
  while (n < rest->size && rest->text[n] != ' ')
    n++;
  struct field part = {rest->text, n};
  rest->text += n;
  rest->size -= n;
  return part;
}

/* "code sex birthdate name …" of EDF+; plain EDF may hold any words. */
static void look_at_patient(struct nx_recording *recording, struct field rest) {
  bool structured = false;
  for (size_t i = 0; i < 12 && rest.size; i++) {
    struct field part = next_part(&rest);
    if (i == 1)
      structured = is_word(part, "X") || is_word(part, "M") || is_word(part, "F");
    if (nx_looks_like_date(part.text, part.size))
      nx_identity_note(recording, "birth date");
    else if (nx_looks_like_number(part.text, part.size))
      nx_identity_note(recording, "hospital number");
    else if ((i == 0 || i == 3 || (i > 0 && !structured)) &&
             nx_looks_like_name(part.text, part.size))
      nx_identity_note(recording, "patient name");
  }
}

/* "Startdate dd-MMM-yyyy admin-code technician equipment" of EDF+. */
static void look_at_recording(struct nx_recording *recording, struct field rest) {
  struct field part = next_part(&rest);
  if (!is_word(part, "Startdate"))
    return;
  next_part(&rest);
  part = next_part(&rest);
  if (nx_looks_like_number(part.text, part.size))
    nx_identity_note(recording, "administration number");
}

void nx_identity_edf(struct nx_recording *recording, const char patient[80], const char about[80]) {
  look_at_patient(recording, trim(patient, 80));
  look_at_recording(recording, trim(about, 80));
}

static bool speaks_of(struct field key, const char *word) {
  size_t n = strlen(word);
  for (size_t i = 0; i + n <= key.size; i++)
    if (!strncasecmp(key.text + i, word, n))
      return true;
  return false;
}

void nx_identity_line(struct nx_recording *recording, const char *line, size_t size) {
  const char *mark = memchr(line, '=', size);
  if (!mark)
    mark = memchr(line, ':', size);
  if (!mark)
    return;
  struct field key = trim(line, (size_t)(mark - line));
  struct field value = trim(mark + 1, size - (size_t)(mark + 1 - line));
  bool person = speaks_of(key, "patient") || speaks_of(key, "subject");
  if (speaks_of(key, "birth") || is_word(key, "DOB")) {
    if (nx_looks_like_date(value.text, value.size))
      nx_identity_note(recording, "birth date");
  } else if (person || is_word(key, "name") || is_word(key, "last name") ||
             is_word(key, "first name") || is_word(key, "surname")) {
    if (nx_looks_like_number(value.text, value.size))
      nx_identity_note(recording, "hospital number");
    else if (nx_looks_like_name(value.text, value.size))
      nx_identity_note(recording, "patient name");
  } else if (is_word(key, "MRN") || speaks_of(key, "medical record")) {
    if (value.size && !is_nobody(value))
      nx_identity_note(recording, "hospital number");
  }
}
