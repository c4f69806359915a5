/* AMX: TDPBF16PS multiplies a tile of 16 rows of 32 bfloat16 numbers by one of 16 rows of 16 pairs. Four tiles of sums are
 * enough to hide its latency (52 cycles, one every 16 on the first cores that have it). */
#include "kernels/peak/peak.h"

#include <immintrin.h>
#include <stdint.h>

enum { SUMS = 4, ROWS = 16, COLUMNS = 16, DEPTH = 32 };

/* LDTILECFG's operand (Intel SDM). Static, because the intrinsic tells the compiler only of its first bytes. */
static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tiles = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {ROWS, ROWS, ROWS, ROWS, ROWS, ROWS, ROWS, ROWS},
};

static double multiply_add_amx(size_t rounds) {
    _tile_loadconfig(&tiles);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    for (size_t round = 0; round < rounds; round++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
    return 2.0 * SUMS * ROWS * COLUMNS * DEPTH;
}

void smri_peak_kernels_amx(struct smri_peak_kernels *kernels) { kernels->bf16 = multiply_add_amx; }
