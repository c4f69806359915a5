/* Pooling's kernels in portable C. The order of comparison is PyTorch's: a later tap wins if it is greater or NaN. */
#include "kernels/pool2d/pool2d.h"

#include <math.h>

#include "kernels/elem.h"

static inline void max_fwd(void *y, uint8_t *place, const void *const *x, const uint8_t *places, size_t n_taps, size_t C,
                           enum smri_precision precision) {
    for (size_t c = 0; c < C; c++) {
        float best = number_at(x[0], c, precision);
        uint8_t where = places[0];
        for (size_t i = 1; i < n_taps; i++) {
            const float candidate = number_at(x[i], c, precision);
            const bool wins = candidate > best || isnan(candidate);
            best = wins ? candidate : best;
            where = wins ? places[i] : where;
        }
        set_number(y, c, best, precision);
        if (place != NULL) place[c] = where;
    }
}

static inline float gradient_at(const struct smri_max_row *row, size_t w, size_t first, size_t last, size_t c,
                                enum smri_precision precision) {
    float sum = 0.0f;
    for (size_t q = first; q < last; q++)
        for (size_t i = 0; i < row->n_rows; i++) {
            const size_t column = w + row->columns.pad - q * row->columns.stride, at = q * row->C + c;
            if (row->place[i][at] == row->first_place[i] + column) sum += number_at(row->dy[i], at, precision);
        }
    return sum;
}

static inline void max_bwd(const struct smri_max_row *row, enum smri_precision precision) {
    size_t first = 0, last = 0;
    for (size_t w = 0; w < row->W; w++) {
        smri_windows_advance(&first, &last, w, &row->columns);
        for (size_t c = 0; c < row->C; c++)
            set_number(row->dx, w * row->C + c, gradient_at(row, w, first, last, c, precision), precision);
    }
}

static inline void column_sum(float *y, const void *x, float factor, size_t rows, size_t C, size_t stride,
                              enum smri_precision precision) {
    for (size_t c = 0; c < C; c++) {
        double sum = 0.0;
        for (size_t r = 0; r < rows; r++) sum += (double)number_at(x, r * stride + c, precision);
        y[c] = (float)(sum * (double)factor);
    }
}

#define SMRI_ISA ref
#include "kernels/pool2d/pool2d_entries.h"
