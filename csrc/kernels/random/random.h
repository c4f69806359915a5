/* Kernels of random numbers. Bits are the same on every instruction set: those of smri/rng.h. */
#pragma once

#include <stddef.h>

#include "kernels/family.h"
#include "smri/rng.h"

struct smri_random_kernels {
    /* The next n standard normal numbers of a stream: what n calls of smri_rng_normal return. */
    void (*normals)(float *out, size_t n, struct smri_rng *rng);
};

SMRI_DECLARE_FILLERS(smri_random_kernels, struct smri_random_kernels);
