/* Random numbers compiled for NEON; the code is in random_loops.h. */
#include "kernels/random/random_loops.h"

void smri_random_kernels_neon(struct smri_random_kernels *table) { fill(table); }
