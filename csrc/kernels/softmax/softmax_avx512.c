/* The contrastive loss's row reductions compiled with AVX-512; the code is in softmax_loops.h. */
#include "kernels/softmax/softmax_loops.h"

void smri_softmax_kernels_avx512(struct smri_softmax_kernels *table) { fill(table); }
