/* The pixel kernels compiled for AVX-512; the code and its reasons are in pixels_loops.h. */
#define SMRI_ISA avx512
#include "kernels/pixels/pixels_loops.h"
