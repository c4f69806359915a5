/* The contrastive loss's row reductions compiled with AVX-512; the code is in softmax_loops.h. */
#define SMRI_ISA avx512
#include "kernels/softmax/softmax_loops.h"
