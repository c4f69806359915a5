/* AVX512_BF16: VDPBF16PS adds two products of bfloat16 numbers to each of 16 sums; the code is in multiply_adds.h. */
#include "kernels/lanes.h"

#define SMRI_PEAK_PRODUCTS 2
#define SMRI_PEAK_FACTOR _mm512_castsi512_ps(_mm512_set1_epi16(0x3F80)) /* 1 and 1 */
SMRI_INLINE floats multiply_add(floats a, floats b, floats sum) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }

#define SMRI_ISA avx512bf16
#include "kernels/peak/multiply_adds.h"
