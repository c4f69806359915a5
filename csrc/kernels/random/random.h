/* Kernels of random numbers. Bits are the same on every instruction set: those of smri/rng.h. */
#ifndef SMRI_KERNELS_RANDOM_RANDOM_H
#define SMRI_KERNELS_RANDOM_RANDOM_H

#include <stddef.h>

#include "smri/rng.h"

struct smri_random_kernels {
    /* The next n standard normal numbers of a stream: what n calls of smri_rng_normal return. */
    void (*normals)(float *out, size_t n, struct smri_rng *rng);
};

/* Each fills the slots that it improves; `_ref` fills all. */
void smri_random_kernels_ref(struct smri_random_kernels *table);
void smri_random_kernels_avx2(struct smri_random_kernels *table);
void smri_random_kernels_neon(struct smri_random_kernels *table);

#endif
