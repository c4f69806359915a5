/* The convolution kernels compiled with AVX2; the code is in igemm_fp32.h and igemm_loops.h. */
#define SMRI_ISA avx2
#include "kernels/lanes.h"
#include "kernels/conv/igemm_fp32.h"
