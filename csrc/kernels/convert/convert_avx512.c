/* The conversions compiled for AVX-512; the code is in convert_loops.h. */
#include "kernels/convert/convert_loops.h"

void smri_convert_kernels_avx512(struct smri_convert_kernels *table) { fill(table); }
