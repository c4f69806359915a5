/* Kernels over flat arrays: ReLU and dropout. Pointers need no alignment beyond a float's; outputs may be inputs. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/family.h"

/* One row's mask: word i of the Philox stream (key, counter with counter[0] = 0) belongs to element i, which is kept
 * when the word is at least `threshold` and then multiplied by `factor`. */
struct smri_dropout_row {
    uint32_t key[2], counter[4], threshold;
    float factor;
};

struct smri_elementwise_kernels {
    void (*relu_fwd)(float *y, const float *x, size_t n);                  /* x < 0 ? 0 : x, so NaN stays */
    void (*relu_bwd)(float *dx, const float *dy, const float *y, size_t n); /* y > 0 ? dy : 0 */
    void (*dropout)(float *y, const float *x, size_t n, const struct smri_dropout_row *row);
};

SMRI_DECLARE_FILLERS(smri_elementwise_kernels, struct smri_elementwise_kernels);
