#include "models/optim/schedule.h"

#include <math.h>

#include "common/size.h"

double nx_learning_rate(const struct nx_plan_training *training, uint64_t step,
                        uint64_t total_steps) {
  double warmup = (double)NX_MAX(training->warmup_steps, 1u), t = (double)step;
  double length = (double)total_steps - warmup;
  double u = length > 0 ? NX_MIN(1.0, NX_MAX(0.0, t - warmup) / length) : t > warmup;
  double f = training->final_learning_rate_fraction;
  double cosine = f + (1 - f) * 0.5 * (1 + cos(M_PI * u));
  return training->learning_rate * NX_MIN(1.0, (t + 1) / warmup) * cosine;
}
