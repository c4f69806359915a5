/* The contrastive loss's row reductions in portable C. */
#include "kernels/softmax/softmax.h"

#include <math.h>

static float row_max(const float *x, size_t n) {
    float best = -INFINITY;
    for (size_t i = 0; i < n; i++) best = x[i] > best ? x[i] : best;
    return best;
}

static double exp_sum(const float *x, float shift, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)expf(x[i] - shift);
    return sum;
}

static void pair_weights(float *g, const float *s, float lse, const float *lses, float factor, size_t n) {
    for (size_t j = 0; j < n; j++) g[j] = factor * (expf(s[j] - lse) + expf(s[j] - lses[j]));
}

void smri_softmax_kernels_ref(struct smri_softmax_kernels *table) {
    *table = (struct smri_softmax_kernels){row_max, exp_sum, pair_weights};
}
