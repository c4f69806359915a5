/* Batch normalisation's kernels compiled for AVX-512; the code and its reasons are in batchnorm_loops.h. */
#define SMRI_ISA avx512
#include "kernels/batchnorm/batchnorm_loops.h"
