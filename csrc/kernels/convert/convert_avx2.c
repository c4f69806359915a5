/* The conversions compiled for AVX2; the code is in convert_loops.h. */
#include "kernels/convert/convert_loops.h"

void smri_convert_kernels_avx2(struct smri_convert_kernels *table) { fill(table); }
