/* The optimizers' passes compiled with AVX2; the code is in optimizer_loops.h. */
#include "kernels/optimizer/optimizer_loops.h"

void smri_optimizer_kernels_avx2(struct smri_optimizer_kernels *table) { fill(table); }
