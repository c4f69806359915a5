/* Learning-rate schedules: pure functions of the step, so that resuming needs no state. Steps count from 0, and a step
 * at or beyond the last takes the last one's values. */
#ifndef SMRI_SCHEDULE_H
#define SMRI_SCHEDULE_H

#include <stdint.h>

#include "smri/api.h"
#include "smri/status.h"

SMRI_API_BEGIN

struct smri_rate {
    double lr, momentum; /* momentum: SGD's momentum, AdamW's beta1 */
};

/* Linear warm-up, then half a cosine (Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5, without restarts):
 *     step < warmup:  lr = peak (step + 1) / warmup
 *     after it:       lr = final + (peak - final) (1 + cos(pi t)) / 2,  t = (step - warmup) / (total - warmup)
 * so that step `total` would have lr = final. */
struct smri_cosine {
    uint64_t total_steps, warmup_steps; /* warmup_steps <= total_steps, total_steps > 0 */
    double peak_lr, final_lr, momentum; /* momentum is constant */
};
smri_status smri_cosine_check(const struct smri_cosine *schedule);
struct smri_rate smri_cosine_at(const struct smri_cosine *schedule, uint64_t step);

/* One cycle (Smith and Topin, 2018) in the two cosine phases of torch.optim.lr_scheduler.OneCycleLR, whose defaults are in
 * brackets. With e = pct_start * total_steps - 1 and c(a, b, t) = b + (a - b) (1 + cos(pi t)) / 2:
 *     step <= e:  t = step / e;                             lr = c(peak / div, peak, t);          momentum = c(high, low, t)
 *     after it:   t = (step - e) / (total_steps - 1 - e);   lr = c(peak, peak / div / final_div, t);  momentum =
 * c(low, high, t) */
struct smri_one_cycle {
    uint64_t total_steps;                /* > 0 */
    double peak_lr;                      /* max_lr */
    double pct_start;                    /* share of the steps that rise, in [0, 1] [0.3] */
    double div_factor;                   /* peak / first learning rate [25] */
    double final_div_factor;             /* first / last learning rate [1e4] */
    double low_momentum, high_momentum;  /* base_momentum and max_momentum [0.85, 0.95] */
};
smri_status smri_one_cycle_check(const struct smri_one_cycle *schedule);
struct smri_rate smri_one_cycle_at(const struct smri_one_cycle *schedule, uint64_t step);

SMRI_API_END

#endif
