/* The conversions compiled for AVX512_BF16, which has an instruction for rounding; the code is in convert_loops.h. */
#include "kernels/convert/convert_loops.h"

void smri_convert_kernels_avx512bf16(struct smri_convert_kernels *table) { fill(table); }
