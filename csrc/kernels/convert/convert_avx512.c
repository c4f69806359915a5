/* The conversions compiled for AVX-512; the code is in convert_loops.h. */
#define SMRI_ISA avx512
#include "kernels/convert/convert_loops.h"
