/* The optimizers' passes compiled with AVX-512; the code is in optimizer_loops.h. */
#include "kernels/optimizer/optimizer_loops.h"

void smri_optimizer_kernels_avx512(struct smri_optimizer_kernels *table) { fill(table); }
