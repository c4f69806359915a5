/* Batch normalisation's kernels in portable C: the definition that the vector versions are tested against. */
#include "kernels/batchnorm/batchnorm.h"

#include "kernels/elem.h"

/* The deviations are taken from the mean of the first rows, not from zero: with data whose mean is far above its
 * standard deviation, the difference of E[x^2] and E[x]^2 would have no digits left. */
static inline void moments(double *mean, double *m2, const void *x, size_t rows, size_t C, size_t stride,
                           enum smri_precision precision) {
    const size_t head = rows < 8 ? rows : 8;
    for (size_t c = 0; c < C; c++) {
        double start = 0.0;
        for (size_t r = 0; r < head; r++) start += (double)number_at(x, r * stride + c, precision);
        const double pivot = start / (double)head;
        double sum = 0.0, sum2 = 0.0;
        for (size_t r = 0; r < rows; r++) {
            const double d = (double)number_at(x, r * stride + c, precision) - pivot;
            sum += d;
            sum2 += d * d;
        }
        mean[c] = pivot + sum / (double)rows;
        const double squares = sum2 - sum * sum / (double)rows;
        m2[c] = squares < 0.0 ? 0.0 : squares; /* rounding may cross zero; NaN stays */
    }
}

static void set_bit(uint8_t *row, size_t c, bool value) {
    const unsigned bit = 1u << c % 8, others = c % 8 == 0 ? 0 : row[c / 8] & ~bit; /* the first of a byte overwrites it */
    row[c / 8] = (uint8_t)(others | (value ? bit : 0));
}

static inline void scale_shift(const struct smri_scale_shift_rows *job, enum smri_precision precision) {
    for (size_t r = 0; r < job->rows; r++) {
        const size_t row = r * job->stride;
        for (size_t c = 0; c < job->C; c++) {
            float y = job->scale[c] * number_at(job->x, row + c, precision) + job->shift[c];
            if (job->residual != NULL) {
                const float other = number_at(job->residual, row + c, precision);
                y += job->residual_scale != NULL ? job->residual_scale[c] * other + job->residual_shift[c] : other;
            }
            const float kept = job->relu && y < 0.0f ? 0.0f : y;
            set_number(job->y, row + c, kept, precision);
            if (job->copy != NULL) set_number(job->copy, row + c, kept, precision);
            if (job->mask != NULL) set_bit(job->mask + r * job->mask_stride, c, y > 0.0f);
        }
    }
}

static inline float masked_dy(const struct smri_batchnorm_gradient *job, size_t i, size_t c, enum smri_precision precision) {
    const float dy = number_at(job->dy, i, precision);
    if (job->scale == NULL) return dy;
    return job->scale[c] * number_at(job->x, i, precision) + job->shift[c] > 0.0f ? dy : 0.0f;
}

static inline void gradient_sums(double *sum_dy, double *sum_dyx, const struct smri_batchnorm_gradient *job,
                                 enum smri_precision precision) {
    for (size_t c = 0; c < job->C; c++) {
        double dy_total = 0.0, dyx_total = 0.0;
        for (size_t r = 0; r < job->rows; r++) {
            const size_t i = r * job->stride + c;
            const bool kept = job->mask == NULL || job->mask[r * job->mask_stride + c / 8] >> c % 8 & 1;
            const float passed = kept ? masked_dy(job, i, c, precision) : 0.0f;
            const double dy = (double)passed;
            if (job->mask != NULL) set_number(job->ds, i, passed, precision);
            dy_total += dy;
            dyx_total += dy * ((double)number_at(job->x, i, precision) - (double)job->mean[c]);
        }
        sum_dy[c] = dy_total;
        sum_dyx[c] = dyx_total;
    }
}

static inline void gradient_dx(void *dx, const struct smri_batchnorm_gradient *job, const struct smri_batchnorm_dx *factors,
                               enum smri_precision precision) {
    for (size_t r = 0; r < job->rows; r++) {
        for (size_t c = 0; c < job->C; c++) {
            const size_t i = r * job->stride + c;
            float value = factors->dy_factor[c] * masked_dy(job, i, c, precision);
            if (factors->x_factor != NULL)
                value += factors->x_factor[c] * (number_at(job->x, i, precision) - job->mean[c]) + factors->constant[c];
            set_number(dx, i, value, precision);
            if (factors->copy != NULL) set_number(factors->copy, i, value, precision);
        }
    }
}

#define SMRI_ISA ref
#include "kernels/batchnorm/batchnorm_entries.h"
