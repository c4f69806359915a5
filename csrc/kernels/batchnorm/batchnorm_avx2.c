/* Batch normalisation's kernels compiled for AVX2 and FMA; the code and its reasons are in batchnorm_loops.h. */
#define SMRI_ISA avx2
#include "kernels/batchnorm/batchnorm_loops.h"
