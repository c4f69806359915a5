/* How much arithmetic a core can do: multiply-adds that depend on nothing but themselves, on registers only. */
#ifndef SMRI_KERNELS_PEAK_PEAK_H
#define SMRI_KERNELS_PEAK_PEAK_H

#include <stddef.h>

struct smri_peak_kernels {
    /* Runs that many rounds; returns the floating-point operations in one, a multiply and an add counting as two. `bf16` is
     * the instruction that multiplies bfloat16 numbers, or the fp32 one where there is none. */
    double (*fp32)(size_t rounds);
    double (*bf16)(size_t rounds);
};

/* `_ref` fills all slots; the others those that they improve. */
void smri_peak_kernels_ref(struct smri_peak_kernels *kernels);
void smri_peak_kernels_avx2(struct smri_peak_kernels *kernels);
void smri_peak_kernels_avx512(struct smri_peak_kernels *kernels);
void smri_peak_kernels_avx512bf16(struct smri_peak_kernels *kernels);
void smri_peak_kernels_neon(struct smri_peak_kernels *kernels);
void smri_peak_kernels_neonbf16(struct smri_peak_kernels *kernels);
void smri_peak_kernels_amx(struct smri_peak_kernels *kernels);

#endif
