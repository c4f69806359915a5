/* Pooling's kernels compiled for AVX2; the code is in pool2d_loops.h. */
#define SMRI_ISA avx2
#include "kernels/pool2d/pool2d_loops.h"
