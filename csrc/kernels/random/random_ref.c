/* Random numbers in portable C. */
#include "kernels/random/random.h"

static void normals(float *out, size_t n, struct smri_rng *rng) {
    for (size_t i = 0; i < n; i++) out[i] = smri_rng_normal(rng);
}

static void keep(float *y, const float *x, size_t n, struct smri_rng *rng, uint32_t threshold, float factor) {
    for (size_t i = 0; i < n; i++) y[i] = smri_rng_u32(rng) >= threshold ? factor * x[i] : 0.0f;
}

void smri_random_kernels_ref(struct smri_random_kernels *table) { *table = (struct smri_random_kernels){normals, keep}; }
