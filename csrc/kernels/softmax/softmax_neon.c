/* The contrastive loss's row reductions compiled for NEON; the code is in softmax_loops.h. */
#include "kernels/softmax/softmax_loops.h"

void smri_softmax_kernels_neon(struct smri_softmax_kernels *table) { fill(table); }
