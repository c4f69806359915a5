/* ReLU and dropout compiled with AVX2; the code is in elementwise_loops.h. */
#include "kernels/elementwise/elementwise_loops.h"

void smri_elementwise_kernels_avx2(struct smri_elementwise_kernels *table) { fill(table); }
