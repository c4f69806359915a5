/* ReLU and dropout compiled with AVX-512; the code is in elementwise_loops.h. */
#include "kernels/elementwise/elementwise_loops.h"

void smri_elementwise_kernels_avx512(struct smri_elementwise_kernels *table) { fill(table); }
