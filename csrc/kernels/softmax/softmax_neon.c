/* The contrastive loss's row reductions compiled for NEON; the code is in softmax_loops.h. */
#define SMRI_ISA neon
#include "kernels/softmax/softmax_loops.h"
