/* Random numbers compiled with AVX2; the code is in random_loops.h. */
#include "kernels/random/random_loops.h"

void smri_random_kernels_avx2(struct smri_random_kernels *table) { fill(table); }
