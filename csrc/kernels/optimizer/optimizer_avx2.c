/* The optimizers' passes compiled with AVX2; the code is in optimizer_loops.h. */
#define SMRI_ISA avx2
#include "kernels/optimizer/optimizer_loops.h"
