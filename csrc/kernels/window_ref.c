/* Pooling's kernels in portable C. The order of comparison is PyTorch's: a later tap wins if it is greater or NaN. */
#include "kernels/window.h"

#include <math.h>

#include "kernels/numbers.h"

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

static inline void max_bwd(void *dx, const void *const *dy, const uint8_t *const *place, const uint8_t *places,
                           size_t n_taps, size_t C, bool stream, enum smri_precision precision) {
    (void)stream;
    for (size_t c = 0; c < C; c++) {
        float sum = 0.0f;
        for (size_t i = 0; i < n_taps; i++)
            if (place[i][c] == places[i]) sum += number_at(dy[i], c, precision);
        set_number(dx, c, sum, precision);
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

#include "kernels/window_entries.h"

void smri_window_kernels_ref(struct smri_window_kernels table[SMRI_PRECISIONS]) { fill(table); }
