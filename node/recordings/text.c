#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/size.h"
#include "node/recordings/format.h"

/* Length of the valid UTF-8 sequence at s, 0 when there is none (RFC 3629). */
static size_t utf8_length(const unsigned char *s, size_t size) {
  if (s[0] < 0x80)
    return 1;
  size_t n = s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : s[0] >= 0xe0 ? 3 : 2;
  if (s[0] < 0xc2 || s[0] >= 0xf5 || n > size)
    return 0;
  for (size_t i = 1; i < n; i++)
    if ((s[i] & 0xc0) != 0x80)
      return 0;
  if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
      (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
    return 0;
  return n;
}

static bool is_utf8(const unsigned char *s, size_t size) {
  for (size_t i = 0, n; i < size; i += n)
    if (!(n = utf8_length(s + i, size - i)))
      return false;
  return true;
}

static size_t copy_utf8(const unsigned char *s, size_t size, char *out, size_t room) {
  size_t used = 0;
  for (size_t i = 0, n; i < size && used + (n = utf8_length(s + i, size - i)) <= room; i += n) {
    bool control = s[i] < 0x20 || s[i] == 0x7f || (s[i] == 0xc2 && s[i + 1] < 0xa0);
    if (control)
      out[used++] = ' ';
    else
      for (size_t k = 0; k < n; k++)
        out[used++] = (char)s[i + k];
  }
  return used;
}

static size_t copy_latin1(const unsigned char *s, size_t size, char *out, size_t room) {
  size_t used = 0;
  for (size_t i = 0; i < size && used + (s[i] < 0x80 ? 1 : 2) <= room; i++) {
    if (s[i] < 0x20 || (s[i] >= 0x7f && s[i] < 0xa0)) {
      out[used++] = ' ';
    } else if (s[i] < 0x80) {
      out[used++] = (char)s[i];
    } else {
      out[used++] = (char)(0xc0 | s[i] >> 6);
      out[used++] = (char)(0x80 | (s[i] & 0x3f));
    }
  }
  return used;
}

void nx_text_clean(const char *text, size_t text_size, char *out, size_t out_size) {
  const unsigned char *s = (const unsigned char *)text;
  while (text_size && (s[0] <= ' ' || s[0] == 0x7f)) {
    s++;
    text_size--;
  }
  while (text_size && s[text_size - 1] <= ' ')
    text_size--;
  size_t used = is_utf8(s, text_size) ? copy_utf8(s, text_size, out, out_size - 1)
                                      : copy_latin1(s, text_size, out, out_size - 1);
  while (used && out[used - 1] == ' ')
    used--;
  out[used] = 0;
}

struct name_use {
  const char *name;
  size_t index, times;
};

static int by_name(const void *a, const void *b) {
  const struct name_use *x = a, *y = b;
  int order = strcmp(x->name, y->name);
  return order ? order : (x->index > y->index) - (x->index < y->index);
}

int nx_recording_unique_names(struct nx_recording *recording, struct nx_error *err) {
  size_t n = recording->info.n_channels;
  if (n < 2)
    return 0;
  _cleanup_free_ struct name_use *uses = calloc(n, sizeof *uses);
  if (!uses)
    return nx_fail(err, NX_E_NOMEM, "channel names: out of memory");
  for (size_t i = 0; i < n; i++)
    uses[i] = (struct name_use){recording->channels[i].name, i, 0};
  qsort(uses, n, sizeof *uses, by_name);
  for (size_t i = 1; i < n; i++)
    if (!strcmp(uses[i].name, uses[i - 1].name))
      uses[i].times = uses[i - 1].times + 1;
  for (size_t i = 0; i < n; i++)
    if (uses[i].times) {
      char *name = recording->channels[uses[i].index].name, number[24];
      int width = snprintf(number, sizeof number, "-%zu", uses[i].times);
      size_t length = NX_MIN(strlen(name), NX_CHANNEL_NAME_SIZE - 1 - (size_t)width);
      memcpy(name + length, number, (size_t)width + 1);
    }
  return 0;
}

void nx_unit_normalise(char unit[NX_CHANNEL_UNIT_SIZE]) {
  static const char *const micro[] = {"\xc2\xb5V", "\xce\xbcV", "uv",         "UV",   "\xc2\xb5v",
                                      "microV",    "microvolt", "microvolts", "uVolt"};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(micro); i++)
    if (!strcasecmp(unit, micro[i])) {
      strcpy(unit, "uV");
      return;
    }
}

double nx_unit_microvolts(const char *unit) {
  static const struct {
    const char *unit;
    double microvolts;
  } units[] = {{"uV", 1}, {"nV", 1e-3}, {"mV", 1e3}, {"V", 1e6}, {"volt", 1e6}, {"volts", 1e6}};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(units); i++)
    if (!strcmp(unit, units[i].unit))
      return units[i].microvolts;
  return 0;
}

const char *nx_channel_type_name(enum nx_channel_type type) {
  static const char *const names[] = {
      [NX_CHANNEL_MISC] = "misc",         [NX_CHANNEL_EEG] = "eeg",
      [NX_CHANNEL_IEEG] = "ieeg",         [NX_CHANNEL_MEG_MAG] = "meg-mag",
      [NX_CHANNEL_MEG_GRAD] = "meg-grad", [NX_CHANNEL_EOG] = "eog",
      [NX_CHANNEL_ECG] = "ecg",           [NX_CHANNEL_EMG] = "emg",
      [NX_CHANNEL_STIM] = "stim",         [NX_CHANNEL_NIRS] = "nirs",
      [NX_CHANNEL_SPIKES] = "spikes",     [NX_CHANNEL_CALCIUM] = "calcium",
      [NX_CHANNEL_BOLD] = "bold",         [NX_CHANNEL_BEHAVIOUR] = "behaviour",
  };
  return (size_t)type < NX_ARRAY_LENGTH(names) && names[type] ? names[type] : "misc";
}

static bool starts_with_word(const char *name, const char *word) {
  size_t n = strlen(word);
  return !strncasecmp(name, word, n) && !isalpha((unsigned char)name[n]);
}

enum nx_channel_type nx_channel_guess_type(const char *name, const char *unit) {
  static const struct {
    const char *word;
    enum nx_channel_type type;
  } words[] = {
      {"EEG", NX_CHANNEL_EEG},   {"SEEG", NX_CHANNEL_IEEG},   {"ECOG", NX_CHANNEL_IEEG},
      {"IEEG", NX_CHANNEL_IEEG}, {"LFP", NX_CHANNEL_IEEG},    {"ECG", NX_CHANNEL_ECG},
      {"EKG", NX_CHANNEL_ECG},   {"EKGL", NX_CHANNEL_ECG},    {"EKGR", NX_CHANNEL_ECG},
      {"EOG", NX_CHANNEL_EOG},   {"VEOG", NX_CHANNEL_EOG},    {"HEOG", NX_CHANNEL_EOG},
      {"EMG", NX_CHANNEL_EMG},   {"STATUS", NX_CHANNEL_STIM}, {"STIM", NX_CHANNEL_STIM},
      {"STI", NX_CHANNEL_STIM},  {"TRIG", NX_CHANNEL_STIM},   {"TRIGGER", NX_CHANNEL_STIM},
  };
  for (size_t i = 0; i < NX_ARRAY_LENGTH(words); i++)
    if (starts_with_word(name, words[i].word))
      return words[i].type;
  return nx_unit_microvolts(unit) > 0 ? NX_CHANNEL_EEG : NX_CHANNEL_MISC;
}
