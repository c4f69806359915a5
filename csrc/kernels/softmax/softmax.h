/* Kernels of the contrastive loss: row reductions over similarities. exp is exact to 2 ulp, 0 below -103 and +infinity above
 * 88.73; NaN stays NaN. */
#ifndef SMRI_KERNELS_SOFTMAX_SOFTMAX_H
#define SMRI_KERNELS_SOFTMAX_SOFTMAX_H

#include <stddef.h>

struct smri_softmax_kernels {
    float (*max)(const float *x, size_t n);                   /* ignores NaN; -infinity for n = 0 */
    double (*exp_sum)(const float *x, float shift, size_t n); /* sum of exp(x - shift) */
    /* g[j] = factor * (exp(s[j] - lse) + exp(s[j] - lses[j])); g may be s. */
    void (*pair_weights)(float *g, const float *s, float lse, const float *lses, float factor, size_t n);
};

/* Each fills the slots that it improves; `_ref` fills all. */
void smri_softmax_kernels_ref(struct smri_softmax_kernels *table);
void smri_softmax_kernels_avx2(struct smri_softmax_kernels *table);
void smri_softmax_kernels_avx512(struct smri_softmax_kernels *table);
void smri_softmax_kernels_neon(struct smri_softmax_kernels *table);

#endif
