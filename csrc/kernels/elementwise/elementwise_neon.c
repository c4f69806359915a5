/* ReLU and dropout compiled for NEON; the code is in elementwise_loops.h. */
#if defined(__aarch64__)
#include "kernels/elementwise/elementwise_loops.h"

void smri_elementwise_kernels_neon(struct smri_elementwise_kernels *table) { fill(table); }
#endif
