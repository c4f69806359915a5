/* The convolution kernels compiled with AVX2; the code is in igemm_fp32.h and igemm_loops.h. */
#include "kernels/lanes.h"

#include "kernels/conv/igemm_fp32.h"

void smri_conv_kernels_avx2(struct smri_conv_kernels *kernels) { fill(kernels); }
