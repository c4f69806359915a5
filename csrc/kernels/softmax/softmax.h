/* Kernels of the contrastive loss: row reductions over similarities. exp is exact to 2 ulp, 0 below -103 and +infinity above
 * 88.73; NaN stays NaN. */
#pragma once

#include <stddef.h>

#include "kernels/family.h"

struct smri_softmax_kernels {
    float (*max)(const float *x, size_t n);                   /* ignores NaN; -infinity for n = 0 */
    double (*exp_sum)(const float *x, float shift, size_t n); /* sum of exp(x - shift) */
    /* g[j] = factor * (exp(s[j] - lse) + exp(s[j] - lses[j])); g may be s. */
    void (*pair_weights)(float *g, const float *s, float lse, const float *lses, float factor, size_t n);
};

SMRI_DECLARE_FILLERS(smri_softmax_kernels, struct smri_softmax_kernels);
