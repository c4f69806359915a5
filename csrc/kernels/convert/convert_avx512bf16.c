/* The conversions compiled for AVX512_BF16, which has an instruction for rounding; the code is in convert_loops.h. */
#define SMRI_ISA avx512bf16
#include "kernels/convert/convert_loops.h"
