/* ReLU and dropout compiled for NEON; the code is in elementwise_loops.h. */
#include "kernels/elementwise/elementwise_loops.h"

void smri_elementwise_kernels_neon(struct smri_elementwise_kernels *table) { fill(table); }
