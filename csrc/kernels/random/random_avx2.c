/* Random numbers compiled with AVX2; the code is in random_loops.h. */
#define SMRI_ISA avx2
#include "kernels/random/random_loops.h"
