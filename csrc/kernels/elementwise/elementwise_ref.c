/* ReLU and dropout in portable C. Dropped elements are exactly zero, whatever they were. */
#include "kernels/elementwise/elementwise.h"

#include <string.h>

#include "smri/rng.h"

static void relu_fwd(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

static void relu_bwd(float *dx, const float *dy, const float *y, size_t n) {
    for (size_t i = 0; i < n; i++) dx[i] = y[i] > 0.0f ? dy[i] : 0.0f;
}

static void dropout(float *y, const float *x, size_t n, const struct smri_dropout_row *row) {
    uint32_t counter[4], words[4];
    memcpy(counter, row->counter, sizeof counter);
    for (size_t i = 0; i < n; i++) {
        if (i % 4 == 0) {
            counter[0] = (uint32_t)(i / 4);
            smri_philox(words, counter, row->key);
        }
        y[i] = words[i % 4] >= row->threshold ? x[i] * row->factor : 0.0f;
    }
}

void smri_elementwise_kernels_ref(struct smri_elementwise_kernels *table) {
    *table = (struct smri_elementwise_kernels){relu_fwd, relu_bwd, dropout};
}
