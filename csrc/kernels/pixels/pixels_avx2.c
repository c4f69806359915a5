/* The pixel kernels compiled for AVX2; the code and its reasons are in pixels_loops.h. */
#define SMRI_ISA avx2
#include "kernels/pixels/pixels_loops.h"
