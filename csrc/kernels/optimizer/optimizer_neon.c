/* The optimizers' passes compiled for NEON; the code is in optimizer_loops.h. */
#define SMRI_ISA neon
#include "kernels/optimizer/optimizer_loops.h"
