/* Multiply-adds compiled for AVX2; the code is in peak_loops.h. */
#define SMRI_ISA avx2
#include "kernels/lanes.h"
#include "kernels/peak/peak_loops.h"
