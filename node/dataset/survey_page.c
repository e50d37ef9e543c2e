/* The survey as one page for a steward: HTML and inline SVG, no scripts, nothing fetched. People
 * are numbers here, so that the page can be shown to a board. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/file.h"
#include "common/size.h"
#include "node/dataset/bids_check_parts.h"
#include "node/dataset/survey.h"
#include "node/dataset/survey_figures.h"

static const char head[] =
    "<!doctype html><html lang=en><meta charset=utf-8>"
    "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src "
    "'unsafe-inline'\"><meta name=viewport content=\"width=device-width\"><title>%s</title><style>"
    "body{font:15px/1.5 system-ui,sans-serif;color:#1d2733;max-width:62rem;margin:2rem auto;"
    "padding:0 1.2rem}h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .5rem;"
    "border-bottom:1px solid #d5dce4;padding-bottom:.2rem}p.note{color:#5a6876;margin:.3rem 0}"
    ".verdict{display:flex;gap:.8rem;margin:1rem 0;flex-wrap:wrap}.verdict div{padding:.6rem 1rem;"
    "border-radius:.5rem;font-weight:600}.yes{background:#e0f2e6;color:#14532d}.no{background:"
    "#fde4e1;color:#7f1d1d}.tiles{display:flex;gap:.8rem;flex-wrap:wrap}.tiles div{border:1px "
    "solid "
    "#d5dce4;border-radius:.5rem;padding:.4rem .9rem;min-width:6rem}.tiles b{display:block;"
    "font-size:1.4rem}.tiles span{color:#5a6876;font-size:.85rem}table{border-collapse:collapse;"
    "width:100%%;font-size:.9rem}th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px "
    "solid "
    "#e6ebf0;vertical-align:top}th{color:#5a6876;font-weight:600}td.n,th.n{text-align:right;"
    "font-variant-numeric:tabular-nums}.bad{color:#b42318;font-weight:600}.warn{color:#8a5a00}"
    ".figures{display:flex;gap:1.5rem;flex-wrap:wrap;align-items:flex-start}svg text{font:11px "
    "system-ui,sans-serif;fill:#44525f}code{font-size:.86em;color:#33475b}"
    "@media print{body{margin:0;max-width:none}}</style>";

void nx_page_text(FILE *out, const char *text) {
  for (; *text; text++)
    switch (*text) {
    case '&':
      fputs("&amp;", out);
      break;
    case '<':
      fputs("&lt;", out);
      break;
    case '>':
      fputs("&gt;", out);
      break;
    case '"':
      fputs("&quot;", out);
      break;
    default:
      putc(*text, out);
    }
}

/* ---- no names ------------------------------------------------------------------------------ */

static size_t person_of(const struct nx_survey *survey, const char *label, size_t n) {
  for (size_t i = 0; i < survey->n_people; i++)
    if (strlen(survey->people[i]) == n && !strncmp(survey->people[i], label, n))
      return i + 1;
  return 0;
}

/* Names that BIDS gives, and names built by its rules; any other may hold a person's. */
static bool is_plain_name(const char *path) {
  static const char *const plain[] = {".", "dataset_description.json", "README", "participants.tsv",
                                      "participants.json"};
  static const char suffixes[] = "eeg ieeg meg bold cbv sbref beh channels electrodes coordsystem "
                                 "events headshape markers physio stim photo scans sessions T1w";
  struct nx_bids_name name;
  const char *base = strrchr(path, '/');
  for (size_t i = 0; i < NX_ARRAY_LENGTH(plain); i++)
    if (!strcmp(path, plain[i]))
      return true;
  return nx_bids_name_parse(base ? base + 1 : path, &name) && name.n > 0 &&
         nx_word_in(name.suffix, suffixes);
}

/* "sub-smith/eeg/sub-smith_eeg.edf" → "sub-#3/eeg/sub-#3_eeg.edf"; a file whose name may be
 * anything is its number, or only its kind. */
static void put_path(FILE *out, const struct nx_survey *survey, const char *path) {
  const char *dot = strrchr(path, '.');
  if (!survey->is_bids || !is_plain_name(path)) {
    for (size_t i = 0; i < survey->n_recordings; i++)
      if (!strcmp(survey->recordings[i].path, path)) {
        fprintf(out, "recording %zu", i + 1);
        return;
      }
    fputs("a file", out);
    if (dot && strlen(dot) < 8) {
      fputs(" (", out);
      nx_page_text(out, dot);
      fputs(")", out);
    }
    return;
  }
  for (const char *at; (at = strstr(path, "sub-"));) {
    size_t n = strcspn(at + 4, "_/.");
    char before[NX_PATH_SIZE];
    snprintf(before, sizeof before, "%.*s", (int)(at - path), path);
    nx_page_text(out, before);
    fprintf(out, "sub-#%zu", person_of(survey, at + 4, n));
    path = at + 4 + n;
  }
  nx_page_text(out, path);
}

/* A label that is the end of one file's name may be a person's: only what several share is shown.
 */
static const char *shown_label(const struct nx_survey *survey, const char *label) {
  for (size_t i = 0; i < survey->n_labels && survey->named_labels; i++)
    if (!strcmp(survey->labels[i].word, label) && survey->labels[i].n > 1)
      return label;
  return survey->named_labels ? "(one file's)" : label;
}

/* ---- parts --------------------------------------------------------------------------------- */

static void put_verdict(FILE *out, const struct nx_survey *survey) {
  size_t standard = nx_findings_count(&survey->findings, NX_FINDING_ERROR, true);
  size_t own = nx_findings_count(&survey->findings, NX_FINDING_ERROR, false);
  fputs("<div class=verdict>", out);
  if (survey->is_bids)
    fprintf(out, "<div class=%s>%s BIDS: %zu error%s</div>", standard ? "no" : "yes",
            standard ? "Not valid" : "Valid", standard, standard == 1 ? "" : "s");
  else
    fputs("<div class=yes>A plain folder of recordings, no BIDS tree</div>", out);
  if (nx_survey_ready(survey))
    fputs("<div class=yes>Ready to train from</div>", out);
  else
    fprintf(out, "<div class=no>Not ready to train from: %zu thing%s to mend</div>", standard + own,
            standard + own == 1 ? "" : "s");
  if (survey->synthetic)
    fputs("<div class=no>Synthetic data</div>", out);
  fputs("</div>", out);
}

static void put_tile(FILE *out, const char *value, const char *what) {
  fprintf(out, "<div><b>%s</b><span>%s</span></div>", value, what);
}

static void put_tiles(FILE *out, const struct nx_survey *survey) {
  char text[64];
  double seconds = 0;
  size_t refused = 0, judged = 0, bad = 0;
  for (size_t i = 0; i < survey->n_recordings; i++) {
    seconds += survey->recordings[i].duration_s;
    refused += survey->recordings[i].refused[0] != 0;
  }
  for (size_t i = 0; i < survey->n_channels; i++) {
    judged += survey->channels[i].n_judged;
    bad += survey->channels[i].n_bad;
  }
  fputs("<div class=tiles>", out);
  snprintf(text, sizeof text, "%zu", survey->n_people);
  put_tile(out, text, "people");
  snprintf(text, sizeof text, "%zu", survey->n_recordings);
  put_tile(out, text, "recordings");
  snprintf(text, sizeof text, "%zu", refused);
  put_tile(out, text, "cannot be read");
  snprintf(text, sizeof text, seconds < 7200 ? "%.1f min" : "%.1f h",
           seconds < 7200 ? seconds / 60 : seconds / 3600);
  put_tile(out, text, "recorded");
  snprintf(text, sizeof text, judged ? "%.1f %%" : "–",
           judged ? 100 * (double)bad / (double)judged : 0);
  put_tile(out, text, "channels bad");
  fputs("</div>", out);
}

/* One line for each rule and severity, with the first file and how many more. */
static void put_findings(FILE *out, const struct nx_survey *survey) {
  const struct nx_findings *findings = &survey->findings;
  fputs("<h2>To mend</h2>", out);
  if (!findings->n) {
    fputs("<p>Nothing was found.</p>", out);
    return;
  }
  fputs("<table><tr><th>Rule<th class=n>Files<th>First file<th>What to do", out);
  for (int severity = NX_FINDING_ERROR; severity <= NX_FINDING_WARNING; severity++)
    for (size_t i = 0; i < findings->n; i++) {
      const struct nx_finding *f = &findings->list[i];
      size_t same = 0;
      bool first = (int)f->severity == severity;
      for (size_t k = 0; k < findings->n && first; k++)
        if (findings->list[k].severity == f->severity && !strcmp(findings->list[k].rule, f->rule)) {
          first = k >= i;
          same++;
        }
      if (!first)
        continue;
      fprintf(out, "<tr><td class=%s>%s<td class=n>%zu<td><code>",
              f->severity == NX_FINDING_ERROR ? "bad" : "warn", f->rule, same);
      put_path(out, survey, f->path);
      fputs("</code><td>", out);
      nx_page_text(out, f->mend);
    }
  fputs(
      "</table><p class=note>Rules in capitals are those of BIDS's own validator; those that begin "
      "with <code>neurox.</code> are this program's.</p>",
      out);
}

static void put_bars(FILE *out, const struct nx_survey *survey, const char *title,
                     const struct nx_survey_count *counts, size_t n) {
  size_t most = 1;
  for (size_t i = 0; i < n; i++)
    most = NX_MAX(most, counts[i].n);
  fprintf(out, "<div><p class=note>%s</p><svg width=340 height=%zu>", title, 24 * n + 4);
  for (size_t i = 0; i < n; i++) {
    double width = 150.0 * (double)counts[i].n / (double)most;
    fprintf(out, "<rect x=130 y=%zu width=%.1f height=16 rx=3 fill=#5b8db8 />", 24 * i + 2, width);
    fprintf(out, "<text x=122 y=%zu text-anchor=end>", 24 * i + 14);
    nx_page_text(out,
                 counts == survey->labels ? shown_label(survey, counts[i].word) : counts[i].word);
    fprintf(out, "</text><text x=%.1f y=%zu>%zu</text>", 136 + width, 24 * i + 14, counts[i].n);
  }
  fputs("</svg></div>", out);
}

static void put_people(FILE *out, const struct nx_survey *survey) {
  fputs("<h2>People and labels</h2><div class=figures>", out);
  if (survey->n_labels)
    put_bars(out, survey, "Recordings of each label (task)", survey->labels, survey->n_labels);
  if (survey->n_sexes)
    put_bars(out, survey, "People by sex, as participants.tsv says", survey->sexes,
             survey->n_sexes);
  fputs("</div>", out);
  if (!survey->n_labels)
    fputs("<p>No label can be told from names or tables: a plan could only reconstruct.</p>", out);
}

static void put_reasons(FILE *out, const struct nx_survey_channel *channel) {
  bool any = false;
  for (int bit = 0; bit < 6; bit++)
    if (channel->n_reasons[bit]) {
      fprintf(out, "%s%s in %zu", any ? ", " : "",
              nx_bad_reason_name((enum nx_bad_reason)(1 << bit)), channel->n_reasons[bit]);
      any = true;
    }
}

static void put_channels(FILE *out, const struct nx_survey *survey) {
  fputs("<h2>Channels</h2><p class=note>Bad by the criteria of PREP (Bigdely-Shamlo et al. 2015) "
        "over the first ten minutes: flat, clipped, deviating amplitude, unlike all others, "
        "noisy.</p><table><tr><th>Channel<th>Type<th>Unit<th class=n>Recordings<th class=n>Mean "
        "amplitude<th class=n>Bad in<th>Why",
        out);
  for (size_t i = 0; i < survey->n_channels && i < 300; i++) {
    const struct nx_survey_channel *c = &survey->channels[i];
    fputs("<tr><td>", out);
    nx_page_text(out, c->name);
    fprintf(out, "<td>%s<td>", c->type);
    nx_page_text(out, c->unit[0] ? c->unit : "–");
    fprintf(out, "<td class=n>%zu<td class=n>", c->n_recordings);
    if (c->n_judged)
      fprintf(out, "%.3g", c->amplitude_sum / (double)c->n_judged);
    fprintf(out, "<td class=\"n%s\">%zu of %zu<td>", c->n_bad ? " bad" : "", c->n_bad, c->n_judged);
    put_reasons(out, c);
  }
  fputs("</table>", out);
  if (survey->n_channels > 300)
    fprintf(out, "<p class=note>and %zu more: neurox-node check --json lists all.</p>",
            survey->n_channels - 300);
}

static void put_db(FILE *out, double db) {
  if (isfinite(db))
    fprintf(out, "<td class=\"n%s\">%.1f", db > 10 ? " bad" : "", db);
  else
    fputs("<td class=n>–", out);
}

static void put_recordings(FILE *out, const struct nx_survey *survey) {
  fputs("<h2>Recordings</h2><table><tr><th class=n>No.<th class=n>Person<th>Label<th>Format<th "
        "class=n>Length s<th class=n>Rate Hz<th class=n>Channels<th class=n>Bad<th class=n>50 Hz "
        "dB<th class=n>60 Hz dB<th>Remark",
        out);
  for (size_t i = 0; i < survey->n_recordings && i < 1000; i++) {
    const struct nx_survey_recording *r = &survey->recordings[i];
    fprintf(out, "<tr><td class=n>%zu<td class=n>%zu<td>", i + 1, r->person);
    nx_page_text(out, r->label[0] ? shown_label(survey, r->label) : "");
    fprintf(out, "<td>%s", r->format);
    if (r->refused[0] && !r->format[0])
      fputs("<td><td><td><td><td><td><td class=bad>", out);
    else {
      fprintf(out, "<td class=n>%.6g<td class=n>%.6g<td class=n>%zu<td class=n>%zu", r->duration_s,
              r->rate_hz, r->n_channels, r->n_bad);
      put_db(out, r->line50_db);
      put_db(out, r->line60_db);
      fputs(r->refused[0] ? "<td class=bad>" : "<td>", out);
    }
    nx_page_text(out, r->refused);
  }
  fputs("</table><p class=note>dB: power at the mains frequency over that 4–8 Hz beside it, median "
        "of the channels; above 10 is marked.</p>",
        out);
}

static void put_page(FILE *out, const struct nx_survey *survey) {
  fprintf(out, head, "Data set check");
  fputs("<h1>Data set check</h1><p class=note>neurox-node check. People are numbered; no name, "
        "path or header text is "
        "on this page, and it loads nothing.</p>",
        out);
  put_verdict(out, survey);
  put_tiles(out, survey);
  put_findings(out, survey);
  put_people(out, survey);
  fputs("<h2>Signals</h2><div class=figures>", out);
  nx_page_spectra(out, survey);
  nx_page_coverage(out, survey);
  fputs("</div>", out);
  put_channels(out, survey);
  put_recordings(out, survey);
  fputs("</html>\n", out);
}

int nx_survey_page(const struct nx_survey *survey, const char *path, struct nx_error *err) {
  _cleanup_free_ char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (!out)
    return nx_fail(err, NX_E_NOMEM, "page: out of memory");
  put_page(out, survey);
  if (fclose(out))
    return nx_fail(err, NX_E_NOMEM, "page: out of memory");
  return nx_file_replace(path, nx_bytes(text, size), 0600, err);
}
