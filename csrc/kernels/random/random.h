/* Kernels of random numbers. Bits are the same on every instruction set: those of smri/rng.h. */
#pragma once

#include <stddef.h>

#include "kernels/family.h"
#include "smri/rng.h"

struct smri_random_kernels {
    /* The next n standard normal numbers of a stream: what n calls of smri_rng_normal return. */
    void (*normals)(float *out, size_t n, struct smri_rng *rng);
    /* y[i] = word i of the stream, from which none is drawn yet, >= threshold ? factor * x[i] : 0. y may be x. */
    void (*keep)(float *y, const float *x, size_t n, struct smri_rng *rng, uint32_t threshold, float factor);
};

SMRI_DECLARE_FILLERS(smri_random_kernels, struct smri_random_kernels);
