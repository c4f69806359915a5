/* The conversions compiled for AVX2; the code is in convert_loops.h. */
#define SMRI_ISA avx2
#include "kernels/convert/convert_loops.h"
