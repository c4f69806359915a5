/* Multiply-adds compiled for AVX2; the code is in peak_loops.h. */
#include "kernels/lanes.h"

#define SMRI_PEAK_PRODUCTS 1
#define SMRI_PEAK_FACTOR vset1(1.0f)
SMRI_INLINE floats multiply_add(floats a, floats b, floats sum) { return vfma(a, b, sum); }

#include "kernels/peak/peak_loops.h"

void smri_peak_kernels_avx2(struct smri_peak_kernels *kernels) {
    *kernels = (struct smri_peak_kernels){many_multiply_adds, many_multiply_adds};
}
