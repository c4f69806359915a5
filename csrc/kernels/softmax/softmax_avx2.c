/* The contrastive loss's row reductions compiled with AVX2; the code is in softmax_loops.h. */
#define SMRI_ISA avx2
#include "kernels/softmax/softmax_loops.h"
