/* ReLU and dropout compiled with AVX2; the code is in elementwise_loops.h. */
#define SMRI_ISA avx2
#include "kernels/elementwise/elementwise_loops.h"
