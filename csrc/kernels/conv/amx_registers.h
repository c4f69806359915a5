/* The configuration of AMX's tile registers. For files compiled with AMX, or against an emulation of its instructions. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/transpose_avx512.h"

/* LDTILECFG's operand (Intel SDM volume 1, section 18.3): eight registers of 16 rows x 64 bytes. */
struct smri_amx_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

#define SMRI_AMX_WHOLE_REGISTERS \
    {.palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}}

/* The intrinsic tells the compiler of 8 of the 64 bytes that the instruction reads. */
SMRI_INLINE void smri_amx_configure(const struct smri_amx_config *config) {
#if defined(__AMX_TILE__)
    __asm__ volatile("ldtilecfg %0" : : "m"(*config));
#else
    _tile_loadconfig(config);
#endif
}
