/* The tile products on AMX. Of the eight registers four are sums (32 pixels x 32 columns), two hold pixels and two
 * weights: four loads for four multiplications, which keep the multiplier busy as long as one of the two comes from the
 * first-level cache. */
#include <stdint.h>

#include "kernels/conv/amx_registers.h"
#include "kernels/conv/amx_tile.h"

static const struct smri_amx_config config = SMRI_AMX_WHOLE_REGISTERS;

static void begin_amx(void) { smri_amx_configure(&config); }

static void end_amx(void) {
    _tile_release();
    _mm_sfence(); /* streamed results are visible to whoever reads after this job */
}

/* Towards the second-level cache, whatever the address. */
SMRI_INLINE void fetch_half(const char *next, size_t pixel_stride) {
    SMRI_UNROLL_16 for (size_t i = 0; i < SMRI_AMX_HALF; i++) _mm_prefetch(next + i * pixel_stride, _MM_HINT_T1);
}

/* `both` halves of the pixels, both halves of the columns (`wide`) and `ahead` are constants at every call. Lines that will
 * be overwritten are fetched two a step: all at once they would fill the buffers of the first-level cache. */
SMRI_INLINE void accumulate_of(const struct smri_amx_product *t, size_t column, const smri_bf16 *weights, const bool both,
                          const bool wide, const bool ahead) {
    size_t to_fetch = t->streamed ? 0 : (both ? 2 : 1) * SMRI_AMX_HALF;
    _tile_zero(0);
    if (wide) _tile_zero(1);
    if (both) _tile_zero(2);
    if (both && wide) _tile_zero(3);
    for (size_t slice = 0; slice < t->slices; slice++)
        for (size_t tap = 0; tap < t->n_taps; tap++) {
            const size_t offset = slice * t->slice_stride + t->taps[tap].source;
            const smri_bf16 *panel = weights + (slice * t->slice_panels + t->taps[tap].weights) * SMRI_AMX_PANEL;
            if (to_fetch > 0) {
                _mm_prefetch((const char *)(t->out[--to_fetch] + column), _MM_HINT_ET0);
                _mm_prefetch((const char *)(t->out[--to_fetch] + column), _MM_HINT_ET0);
            }
            if (ahead) {
                fetch_half(t->next[0] + offset, t->pixel_stride);
                fetch_half(t->next[1] + offset, t->pixel_stride);
            }
            _tile_loadd(4, t->source[0] + offset, t->pixel_stride);
            _tile_loadd(6, panel, 64);
            _tile_dpbf16ps(0, 4, 6);
            if (both) {
                _tile_loadd(5, t->source[1] + offset, t->pixel_stride);
                _tile_dpbf16ps(2, 5, 6);
            }
            if (wide) {
                _tile_loadd(7, panel + SMRI_AMX_PANEL / 2, 64);
                _tile_dpbf16ps(1, 4, 7);
                if (both) _tile_dpbf16ps(3, 5, 7);
            }
        }
}

SMRI_INLINE void write_row(smri_bf16 *out, const float *sums, __mmask32 mask, bool accumulate, bool streamed) {
    __m512 low = _mm512_load_ps(sums), high = _mm512_load_ps(sums + SMRI_AMX_HALF);
    if (accumulate) {
        const __m512i old = _mm512_maskz_loadu_epi16(mask, out);
        const __m512i old_low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(old));
        const __m512i old_high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(old, 1));
        low = _mm512_add_ps(low, _mm512_castsi512_ps(_mm512_slli_epi32(old_low, 16)));
        high = _mm512_add_ps(high, _mm512_castsi512_ps(_mm512_slli_epi32(old_high, 16)));
    }
    const __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    if (streamed)
        _mm512_stream_si512((void *)out, rounded);
    else
        _mm512_mask_storeu_epi16(out, mask, rounded);
}

SMRI_INLINE void write_block(const struct smri_amx_product *t, size_t column, size_t halves, const float *sums) {
    const size_t left = t->cols - column;
    const __mmask32 mask = left >= SMRI_AMX_BLOCK ? 0xFFFFFFFFu : ((__mmask32)1 << left) - 1;
    for (size_t i = 0; i < halves * SMRI_AMX_HALF; i++) {
        if (t->out[i] == NULL) continue;
        smri_bf16 *out = t->out[i] + column;
        const bool streamed = t->streamed && left >= SMRI_AMX_BLOCK && (uintptr_t)out % 64 == 0;
        write_row(out, sums + i * SMRI_AMX_BLOCK, mask, t->accumulate, streamed);
    }
}

SMRI_INLINE void product_of(const struct smri_amx_product *t, const bool both) {
    float sums[SMRI_AMX_PIXELS * SMRI_AMX_BLOCK] __attribute__((aligned(64)));
    const size_t row_bytes = SMRI_AMX_BLOCK * sizeof *sums, halves = both ? 2 : 1;
    const smri_bf16 *weights = t->weights;
    for (size_t column = 0; column < t->cols; column += SMRI_AMX_BLOCK, weights += t->block_panels * SMRI_AMX_PANEL) {
        const bool wide = t->cols - column > SMRI_AMX_HALF, ahead = column == 0 && t->next[0] != NULL;
        if (wide && ahead)
            accumulate_of(t, column, weights, both, true, true);
        else if (wide)
            accumulate_of(t, column, weights, both, true, false);
        else
            accumulate_of(t, column, weights, both, false, false);
        _tile_stored(0, sums, row_bytes);
        if (wide) _tile_stored(1, sums + SMRI_AMX_HALF, row_bytes);
        if (both) _tile_stored(2, sums + SMRI_AMX_HALF * SMRI_AMX_BLOCK, row_bytes);
        if (both && wide) _tile_stored(3, sums + SMRI_AMX_HALF * SMRI_AMX_BLOCK + SMRI_AMX_HALF, row_bytes);
        write_block(t, column, halves, sums);
    }
}

static void product_amx(const struct smri_amx_product *t) {
    bool both = false;
    for (size_t i = SMRI_AMX_HALF; i < SMRI_AMX_PIXELS; i++) both |= t->out[i] != NULL;
    if (both)
        product_of(t, true);
    else
        product_of(t, false);
}

static void pack_amx(smri_bf16 *panel, const float *w, size_t rows) {
    const __m512i interleave = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                                                23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    for (size_t pair = 0; pair < SMRI_AMX_SLICE / 2; pair++)
        for (size_t half = 0; half < 2; half++) {
            const float *even = w + 2 * pair * SMRI_AMX_BLOCK + half * SMRI_AMX_HALF;
            const __m512 a = 2 * pair < rows ? _mm512_loadu_ps(even) : _mm512_setzero_ps();
            const __m512 b = 2 * pair + 1 < rows ? _mm512_loadu_ps(even + SMRI_AMX_BLOCK) : _mm512_setzero_ps();
            const __m512i both = _mm512_permutexvar_epi16(interleave, (__m512i)_mm512_cvtne2ps_pbh(b, a));
            _mm512_storeu_si512(panel + (half * 16 + pair) * 32, both);
        }
}

static void pack_transposed_amx(smri_bf16 *panel, const float *w, size_t rows) {
    for (size_t half = 0; half < 2; half++) {
        __m512i r[16];
        SMRI_UNROLL_16 for (size_t j = 0; j < 16; j++) {
            const float *column = w + (half * 16 + j) * SMRI_AMX_SLICE;
            if (half * 16 + j < rows)
                r[j] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(column + SMRI_AMX_HALF), _mm512_loadu_ps(column));
            else
                r[j] = _mm512_setzero_si512();
        }
        transpose_16x16(r);
        SMRI_UNROLL_16 for (size_t pair = 0; pair < 16; pair++) _mm512_storeu_si512(panel + (half * 16 + pair) * 32, r[pair]);
    }
}

static void slice_amx(char *out, size_t pixel_stride, size_t slice_stride, const smri_bf16 *in, size_t in_stride,
                      size_t pixels, size_t channels) {
    const size_t whole = channels / SMRI_AMX_SLICE * SMRI_AMX_SLICE;
    const __mmask32 tail = ((__mmask32)1 << (channels - whole)) - 1;
    for (size_t p = 0; p < pixels; p++, out += pixel_stride, in += in_stride) {
        char *to = out;
        for (size_t c = 0; c < whole; c += SMRI_AMX_SLICE, to += slice_stride)
            _mm512_storeu_si512(to, _mm512_loadu_si512(in + c));
        if (tail != 0) _mm512_storeu_si512(to, _mm512_maskz_loadu_epi16(tail, in + whole));
    }
}

void smri_amx_kernels_amx(struct smri_amx_kernels *kernels) {
    *kernels =
        (struct smri_amx_kernels){begin_amx, end_amx, product_amx, pack_amx, pack_transposed_amx, slice_amx};
}
