/* Random numbers in portable C. */
#include "kernels/random/random.h"

static void normals(float *out, size_t n, struct smri_rng *rng) {
    for (size_t i = 0; i < n; i++) out[i] = smri_rng_normal(rng);
}

void smri_random_kernels_ref(struct smri_random_kernels *table) { table->normals = normals; }
