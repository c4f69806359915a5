/* AMX: TDPBF16PS multiplies a tile of 16 rows of 32 bfloat16 numbers by one of 16 rows of 16 pairs. Four tiles of sums are
 * enough to hide its latency (52 cycles, one every 16 on the first cores that have it). */
#include "kernels/peak/peak.h"

#include "kernels/conv/amx_registers.h"

enum { SUMS = 4, ROWS = 16, COLUMNS = 16, DEPTH = 32 };

static const struct smri_amx_config tiles = SMRI_AMX_WHOLE_REGISTERS;

static double multiply_add_amx(size_t rounds) {
    smri_amx_configure(&tiles);
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
