/* Multiply-adds compiled for AVX-512; the code is in peak_loops.h. */
#define SMRI_ISA avx512
#include "kernels/lanes.h"
#include "kernels/peak/peak_loops.h"
