/* Winograd's transforms in portable C, one channel at a time: what the vector variants are compared with. */
#include "kernels/winograd.h"

typedef float vector;
#define LANES 1

static inline vector splat(float f) { return f; }
static inline vector multiply_add(vector a, vector b, vector c) { return a * b + c; }
static inline vector load(const float *p) { return *p; }
static inline void store(float *p, vector v) { *p = v; }
static inline vector load_part(const float *p, size_t n) { return n > 0 ? *p : 0.0f; }
static inline void store_part(float *p, vector v, size_t n) {
    if (n > 0) *p = v;
}

#include "kernels/winograd_tiles.h"

void smri_winograd_kernels_ref(struct smri_winograd_kernels *kernels) {
    *kernels = (struct smri_winograd_kernels){input, gradient, output, weights, weights_gradient};
}
