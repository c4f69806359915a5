/* Pooling's kernels in portable C. The order of comparison is PyTorch's: a later tap wins if it is greater or NaN. */
#include "kernels/window.h"

#include <math.h>

static void max_fwd(float *y, uint8_t *place, const float *const *x, const uint8_t *places, size_t n_taps, size_t C) {
    for (size_t c = 0; c < C; c++) {
        float best = x[0][c];
        uint8_t where = places[0];
        for (size_t i = 1; i < n_taps; i++) {
            const float candidate = x[i][c];
            const bool wins = candidate > best || isnan(candidate);
            best = wins ? candidate : best;
            where = wins ? places[i] : where;
        }
        y[c] = best;
        if (place != NULL) place[c] = where;
    }
}

static void max_bwd(float *dx, const float *const *dy, const uint8_t *const *place, const uint8_t *places, size_t n_taps,
                    size_t C, bool stream) {
    (void)stream;
    for (size_t c = 0; c < C; c++) {
        float sum = 0.0f;
        for (size_t i = 0; i < n_taps; i++)
            if (place[i][c] == places[i]) sum += dy[i][c];
        dx[c] = sum;
    }
}

static void column_sum(float *y, const float *x, float factor, size_t rows, size_t C, size_t stride) {
    for (size_t c = 0; c < C; c++) {
        double sum = 0.0;
        for (size_t r = 0; r < rows; r++) sum += (double)x[r * stride + c];
        y[c] = (float)(sum * (double)factor);
    }
}

void smri_window_kernels_ref(struct smri_window_kernels *table) {
    *table = (struct smri_window_kernels){max_fwd, max_bwd, column_sum};
}
