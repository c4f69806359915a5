/* Schedules: the formulas of the header, in double. */
#include "smri/schedule.h"

#include <math.h>
#include <stdbool.h>

#define PI 3.14159265358979323846

static double cosine_between(double from, double to, double t) { return to + (from - to) * (1.0 + cos(PI * t)) / 2.0; }

static bool is_rate(double value) { return value >= 0.0 && isfinite(value); }

smri_status smri_cosine_check(const struct smri_cosine *schedule) {
    if (schedule->total_steps == 0) return smri_fail(SMRI_ARGUMENT, "total_steps: expected at least 1, got 0");
    if (schedule->warmup_steps > schedule->total_steps)
        return smri_fail(SMRI_ARGUMENT, "warmup_steps: expected at most total_steps = %llu, got %llu",
                         (unsigned long long)schedule->total_steps, (unsigned long long)schedule->warmup_steps);
    if (!is_rate(schedule->peak_lr) || !is_rate(schedule->final_lr))
        return smri_fail(SMRI_ARGUMENT, "learning rate: expected finite values of at least 0, got peak %g and final %g",
                         schedule->peak_lr, schedule->final_lr);
    return SMRI_OK;
}

struct smri_rate smri_cosine_at(const struct smri_cosine *schedule, uint64_t step) {
    struct smri_rate rate = {.momentum = schedule->momentum};
    if (step >= schedule->total_steps) step = schedule->total_steps - 1;
    if (step < schedule->warmup_steps) {
        rate.lr = schedule->peak_lr * (double)(step + 1) / (double)schedule->warmup_steps;
    } else {
        const double length = (double)(schedule->total_steps - schedule->warmup_steps);
        const double t = (double)(step - schedule->warmup_steps) / length;
        rate.lr = cosine_between(schedule->peak_lr, schedule->final_lr, t);
    }
    return rate;
}

smri_status smri_one_cycle_check(const struct smri_one_cycle *schedule) {
    if (schedule->total_steps == 0) return smri_fail(SMRI_ARGUMENT, "total_steps: expected at least 1, got 0");
    if (!(schedule->pct_start >= 0.0 && schedule->pct_start <= 1.0))
        return smri_fail(SMRI_ARGUMENT, "pct_start: expected a share in [0, 1], got %g", schedule->pct_start);
    if (!is_rate(schedule->peak_lr))
        return smri_fail(SMRI_ARGUMENT, "peak_lr: expected a finite value of at least 0, got %g", schedule->peak_lr);
    if (!(schedule->div_factor > 0.0) || !(schedule->final_div_factor > 0.0))
        return smri_fail(SMRI_ARGUMENT, "div_factor and final_div_factor: expected values above 0, got %g and %g",
                         schedule->div_factor, schedule->final_div_factor);
    return SMRI_OK;
}

struct smri_rate smri_one_cycle_at(const struct smri_one_cycle *schedule, uint64_t step) {
    const double last = (double)(schedule->total_steps - 1), at = fmin((double)step, last);
    const double turn = schedule->pct_start * (double)schedule->total_steps - 1.0;
    const double first_lr = schedule->peak_lr / schedule->div_factor;
    struct smri_rate rate;
    if (at <= turn) {
        const double t = turn > 0.0 ? at / turn : 1.0; /* a rise of one step is at its end: the peak */
        rate.lr = cosine_between(first_lr, schedule->peak_lr, t);
        rate.momentum = cosine_between(schedule->high_momentum, schedule->low_momentum, t);
    } else {
        const double t = last > turn ? (at - turn) / (last - turn) : 1.0;
        rate.lr = cosine_between(schedule->peak_lr, first_lr / schedule->final_div_factor, t);
        rate.momentum = cosine_between(schedule->low_momentum, schedule->high_momentum, t);
    }
    return rate;
}
