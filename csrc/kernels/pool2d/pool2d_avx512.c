/* Pooling's kernels compiled for AVX-512; the code is in pool2d_loops.h. */
#define SMRI_ISA avx512
#include "kernels/pool2d/pool2d_loops.h"
