/* ReLU and dropout compiled with AVX-512; the code is in elementwise_loops.h. */
#define SMRI_ISA avx512
#include "kernels/elementwise/elementwise_loops.h"
