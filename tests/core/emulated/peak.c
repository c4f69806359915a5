/* Peaks are measured on real registers only: the tables keep AVX2's. */
#include "kernels/peak/peak.h"

void smri_peak_kernels_avx512(struct smri_peak_kernels *kernels) { (void)kernels; }
void smri_peak_kernels_avx512bf16(struct smri_peak_kernels *kernels) { (void)kernels; }
