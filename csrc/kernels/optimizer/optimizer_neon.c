/* The optimizers' passes compiled for NEON; the code is in optimizer_loops.h. */
#include "kernels/optimizer/optimizer_loops.h"

void smri_optimizer_kernels_neon(struct smri_optimizer_kernels *table) { fill(table); }
