/* The convolution kernels compiled with AVX-512; the code is in igemm_fp32.h and igemm_loops.h. */
#define SMRI_ISA avx512
#include "kernels/lanes.h"
#include "kernels/conv/igemm_fp32.h"
