/* Clean: bad channels and artefacts, as a plan's section cleaning says (common/plan_cleaning.h). */
#pragma once

#include "common/plan_cleaning.h"
#include "node/recordings/recording.h"

/* bad_out[info's n_channels]: which channels are bad by PREP's criteria (quality.h); others than
 * those of the first brain signal's type are not judged. NX_E_FORMAT: their share is above the
 * plan's, with the worst one's reason. */
int nx_clean_judge(struct nx_recording *recording, const struct nx_plan_cleaning *cleaning,
                   bool *bad_out, struct nx_error *err);

/* Spherical splines (Perrin et al. 1989; stiffness 4, 50 terms, 1e-5 on the diagonal, as MNE's
 * interpolate_bads): w_out[n_to][n_from], so that the value at place `to` is w times those at
 * `from`. Places are unit vectors, [n][3]. NX_E_FORMAT: fewer than 4 places to go by. */
int nx_clean_spline(const double *from, size_t n_from, const double *to, size_t n_to, double *w_out,
                    struct nx_error *err);

/* The windows of n_window samples, from x's first sample on, in which |z| passes artefact_z in at
 * least artefact_share of the channels: bad_out[n / n_window]. z = x[c][i] / scale[c]. */
void nx_clean_windows(const struct nx_plan_cleaning *cleaning, const double *x, const double *scale,
                      size_t n_channels, size_t n, size_t n_window, bool *bad_out);
/* The next stretch of samples *first .. end - 1 that has no bad window and holds a whole window at
 * least: moves *first to its beginning. False: there is none. What is behind the last whole window
 * was not looked at, and is left out. bad NULL: nothing is bad. */
bool nx_clean_next_stretch(const bool *bad, size_t n_windows, size_t n_window, size_t end,
                           size_t *first, size_t *n_out);
