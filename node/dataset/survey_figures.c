#include "node/dataset/survey_figures.h"

#include <math.h>
#include <string.h>

#include "common/size.h"

#define WIDTH 520
#define HEIGHT 280
#define LEFT 52
#define BOTTOM 34
#define TOP 26

static const char *const colours[NX_SURVEY_REGIONS] = {"#2c6fa6", "#c2571a", "#2f8f5b", "#8a4fa3",
                                                       "#b3263a", "#6b6b00", "#00808a", "#666"};

/* ---- spectra ------------------------------------------------------------------------------- */

static double mean_at(const struct nx_survey_region *region, size_t k) {
  return region->n[k] ? region->density[k] / (double)region->n[k] : 0;
}

struct axes {
  double low, high; /* decades */
  size_t last;      /* bin */
};

static bool find_axes(const struct nx_survey *survey, struct axes *axes) {
  *axes = (struct axes){INFINITY, -INFINITY, 0};
  for (size_t i = 0; i < survey->n_regions; i++)
    for (size_t k = 1; k < NX_SURVEY_BINS; k++) {
      double value = mean_at(&survey->regions[i], k);
      if (!(value > 0) || !isfinite(value))
        continue;
      axes->low = fmin(axes->low, log10(value));
      axes->high = fmax(axes->high, log10(value));
      axes->last = NX_MAX(axes->last, k);
    }
  axes->low = floor(axes->low);
  axes->high = ceil(axes->high + 1e-9);
  return axes->last > 1;
}

static double x_of(const struct axes *axes, double hz) {
  return LEFT + (WIDTH - LEFT - 96) * hz / (double)axes->last;
}

static double y_of(const struct axes *axes, double decade) {
  return TOP + (HEIGHT - TOP - BOTTOM) * (axes->high - decade) / (axes->high - axes->low);
}

static void put_grid(FILE *out, const struct nx_survey *survey, const struct axes *axes) {
  double right = x_of(axes, (double)axes->last);
  int step = axes->high - axes->low > 8 ? 2 : 1;
  for (int d = (int)axes->low; d <= (int)axes->high; d += step) {
    double y = y_of(axes, d);
    fprintf(out, "<path d=\"M%d %.1fH%.1f\" stroke=#e3e8ee />", LEFT, y, right);
    fprintf(out, "<text x=%d y=%.1f text-anchor=end>1e%d</text>", LEFT - 6, y + 4, d);
  }
  for (size_t hz = 0; hz <= axes->last; hz += axes->last > 60 ? 20 : 10) {
    double x = x_of(axes, (double)hz);
    fprintf(out, "<path d=\"M%.1f %dV%d\" stroke=#e3e8ee />", x, TOP, HEIGHT - BOTTOM);
    fprintf(out, "<text x=%.1f y=%d text-anchor=middle>%zu</text>", x, HEIGHT - BOTTOM + 15, hz);
  }
  fprintf(out, "<text x=%.1f y=%d text-anchor=middle>Hz</text><text x=%d y=%d>", (LEFT + right) / 2,
          HEIGHT - 4, 2, 12);
  nx_page_text(out, survey->power_unit);
  fputs("</text>", out);
}

void nx_page_spectra(FILE *out, const struct nx_survey *survey) {
  struct axes axes;
  fputs("<div><p class=note>Power by region: Welch, one-second windows, first minute of each "
        "recording, mean</p>",
        out);
  if (!find_axes(survey, &axes)) {
    fputs("<p>No samples were looked at.</p></div>", out);
    return;
  }
  fprintf(out, "<svg width=%d height=%d>", WIDTH, HEIGHT);
  put_grid(out, survey, &axes);
  for (size_t i = 0; i < survey->n_regions; i++) {
    bool pen = false;
    fputs("<path fill=none stroke-width=1.6 stroke=", out);
    fprintf(out, "\"%s\" d=\"", colours[i]);
    for (size_t k = 1; k <= axes.last; k++) {
      double value = mean_at(&survey->regions[i], k);
      if (!(value > 0))
        continue;
      fprintf(out, "%c%.1f %.1f", pen ? 'L' : 'M', x_of(&axes, (double)k),
              y_of(&axes, log10(value)));
      pen = true;
    }
    fprintf(out, "\" /><rect x=%d y=%zu width=12 height=3 fill=\"%s\" />", WIDTH - 88, 20 + 16 * i,
            colours[i]);
    fprintf(out, "<text x=%d y=%zu>", WIDTH - 72, 25 + 16 * i);
    nx_page_text(out, survey->regions[i].name);
    fputs("</text>", out);
  }
  fputs("</svg></div>", out);
}

/* ---- coverage ------------------------------------------------------------------------------ */

#define SIDE 270

/* axis_x, axis_y: which coordinate goes to the right and which up. */
static void put_view(FILE *out, const struct nx_survey *survey, int axis_x, int axis_y,
                     const char *right, const char *up, double radius) {
  double middle = SIDE / 2.0, scale = (middle - 26) / radius;
  bool many = survey->n_places > 70;
  fprintf(out, "<svg width=%d height=%d>", SIDE, SIDE);
  fprintf(out, "<circle cx=%.1f cy=%.1f r=%.1f fill=#fafbfc stroke=#b9c4ce />", middle, middle,
          middle - 26);
  if (axis_x == 0)
    fprintf(out, "<path d=\"M%.1f 27l9 -15 9 15\" fill=none stroke=#b9c4ce />", middle - 9);
  fprintf(out,
          "<text x=%d y=%.1f text-anchor=end>%s</text><text x=%.1f y=10 text-anchor=middle>%s"
          "</text>",
          SIDE, middle + 4, right, middle, up);
  for (size_t i = 0; i < survey->n_places; i++) {
    const struct nx_survey_place *p = &survey->places[i];
    double x = (double)p->xyz[axis_x], y = (double)p->xyz[axis_y];
    if (survey->on_sphere) { /* azimuthal: the ears' circle is the rim */
      double out_xy = hypot((double)p->xyz[0], (double)p->xyz[1]);
      double angle = acos(fmax(-1, fmin(1, (double)p->xyz[2]))) / (M_PI / 2);
      x = out_xy > 0 ? (double)p->xyz[0] / out_xy * angle : 0;
      y = out_xy > 0 ? (double)p->xyz[1] / out_xy * angle : 0;
    }
    fprintf(out, "<circle cx=%.1f cy=%.1f r=%s fill=\"%s\" fill-opacity=.8 />", middle + scale * x,
            middle - scale * y, many ? "2.4" : "4.5", p->bad ? "#b42318" : "#2c6fa6");
    if (many || !survey->on_sphere)
      continue;
    fprintf(out, "<text x=%.1f y=%.1f text-anchor=middle>", middle + scale * x,
            middle - scale * y - 7);
    nx_page_text(out, p->name);
    fputs("</text>", out);
  }
  fputs("</svg>", out);
}

void nx_page_coverage(FILE *out, const struct nx_survey *survey) {
  double radius = survey->on_sphere ? 1.15 : 0.1;
  fprintf(out, "<div style=\"width:%dpx\"><p class=note>Where the electrodes were: %zu, ",
          survey->on_sphere ? SIDE + 60 : 2 * SIDE + 20, survey->n_places);
  nx_page_text(out, survey->n_places ? survey->system : "no positions are known");
  fputs("; red: bad in half of the recordings or more</p>", out);
  for (size_t i = 0; i < survey->n_places && !survey->on_sphere; i++)
    for (int a = 0; a < 3; a++)
      radius = fmax(radius, 1.05 * fabs((double)survey->places[i].xyz[a]));
  if (survey->n_places)
    put_view(out, survey, 0, 1, survey->on_sphere ? "" : "x", survey->on_sphere ? "nose" : "y",
             radius);
  if (survey->n_places && !survey->on_sphere) {
    put_view(out, survey, 1, 2, "y", "z", radius);
    fprintf(out, "<p class=note>the circle has a radius of %.0f mm</p>", 1e3 * radius);
  }
  fputs("</div>", out);
}
