/* How much arithmetic a core can do: multiply-adds that depend on nothing but themselves, on registers only. */
#pragma once

#include <stddef.h>

#include "kernels/family.h"

struct smri_peak_kernels {
    /* Runs that many rounds; returns the floating-point operations in one, a multiply and an add counting as two. `bf16` is
     * the instruction that multiplies bfloat16 numbers, or the fp32 one where there is none. */
    double (*fp32)(size_t rounds);
    double (*bf16)(size_t rounds);
};

SMRI_DECLARE_FILLERS(smri_peak_kernels, struct smri_peak_kernels);
