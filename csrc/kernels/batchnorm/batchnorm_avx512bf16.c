/* Batch normalisation's kernels with the instruction that rounds to bfloat16; the code is in batchnorm_loops.h. */
#define SMRI_ISA avx512bf16
#include "kernels/batchnorm/batchnorm_loops.h"
