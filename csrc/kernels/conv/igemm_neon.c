/* The convolution kernels compiled for NEON; the code is in igemm_fp32.h and igemm_loops.h. */
#include "kernels/lanes_neon4.h"

#include "kernels/conv/igemm_fp32.h"

void smri_conv_kernels_neon(struct smri_conv_kernels *kernels) { fill(kernels); }
