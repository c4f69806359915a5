/* The optimizers' passes compiled with AVX-512; the code is in optimizer_loops.h. */
#define SMRI_ISA avx512
#include "kernels/optimizer/optimizer_loops.h"
