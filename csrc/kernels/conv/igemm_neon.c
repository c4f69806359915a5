/* The convolution kernels compiled for NEON; the code is in igemm_fp32.h and igemm_loops.h. */
#define SMRI_ISA neon
#include "kernels/lanes_neon4.h"
#include "kernels/conv/igemm_fp32.h"
