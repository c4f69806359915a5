/* The contrastive loss's row reductions compiled with AVX2; the code is in softmax_loops.h. */
#include "kernels/softmax/softmax_loops.h"

void smri_softmax_kernels_avx2(struct smri_softmax_kernels *table) { fill(table); }
