/* The gradient of the weights in bf16: packing with 512-bit vectors, products on tile registers.
 *
 * A product of two tiles takes 16 cycles, a load of one from the first-level cache 8: two by two tiles of sums need four
 * loads for four products. */
#include "kernels/conv/amx_registers.h"
#include "kernels/conv/amx_wgrad.h"

#define SIDE SMRI_AMX_WGRAD_SIDE
#define TILE SMRI_AMX_WGRAD_NUMBERS
#define ROW 32 /* bf16 numbers of a vector, and of a row of a tile */

/* 32 channels of a pair of images into row `out` of two tiles: quarters of the vectors are moved so that the unpacking,
 * which works within 128 bits, leaves the channels in order. */
SMRI_INLINE void interleave(smri_bf16 *out, __m512i a, __m512i b, const bool both) {
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    a = _mm512_permutexvar_epi64(order, a), b = _mm512_permutexvar_epi64(order, b);
    _mm512_store_si512(out, _mm512_unpacklo_epi16(a, b));
    if (both) _mm512_store_si512(out + TILE, _mm512_unpackhi_epi16(a, b));
}

/* `images` images (1, or an even number) from p->in + first on. Four pairs at a time write 256 bytes to each tile, where
 * one pair writes 64: 35 against 28 GB/s within the second-level cache, 12 against 10 from memory. */
SMRI_INLINE void pack_images(const struct smri_wtile_pack *p, size_t first, const size_t images) {
    const size_t whole = p->channels / ROW * ROW, left = p->channels - whole;
    const __mmask32 mask = (__mmask32)((1ull << left) - 1);
    const smri_bf16 *in = p->in + first * p->in_image;
    smri_bf16 *out = p->out + first / 2 * ROW;
    for (size_t place = 0; place < p->places; place++, in += p->in_place, out += p->out_place) {
        for (size_t c = 0; c < whole; c += ROW)
            SMRI_UNROLL_16 for (size_t i = 0; i < images; i += 2) {
                const smri_bf16 *a = in + i * p->in_image + c;
                const __m512i b = i + 1 < images ? _mm512_loadu_si512(a + p->in_image) : _mm512_setzero_si512();
                interleave(out + c / SIDE * TILE + i / 2 * ROW, _mm512_loadu_si512(a), b, true);
            }
        if (left == 0) continue;
        SMRI_UNROLL_16 for (size_t i = 0; i < images; i += 2) {
            const smri_bf16 *a = in + i * p->in_image + whole;
            const __m512i b = i + 1 < images ? _mm512_maskz_loadu_epi16(mask, a + p->in_image) : _mm512_setzero_si512();
            interleave(out + whole / SIDE * TILE + i / 2 * ROW, _mm512_maskz_loadu_epi16(mask, a), b, left > SIDE);
        }
    }
}

/* A tile of 16 x 16 pairs, in place. */
SMRI_INLINE void transpose(smri_bf16 *tile) {
    __m512i r[16];
    SMRI_UNROLL_16 for (size_t i = 0; i < 16; i++) r[i] = _mm512_load_si512(tile + i * ROW);
    transpose_16x16(r);
    SMRI_UNROLL_16 for (size_t i = 0; i < 16; i++) _mm512_store_si512(tile + i * ROW, r[i]);
}

static void pack_amx(const struct smri_wtile_pack *p) {
    size_t image = 0;
    for (; image + 8 <= p->images; image += 8) pack_images(p, image, 8);
    for (; image + 2 <= p->images; image += 2) pack_images(p, image, 2);
    if (image < p->images) pack_images(p, image, 1);
    if (!p->rows) return;
    const size_t tiles = (p->channels + SIDE - 1) / SIDE;
    for (size_t place = 0; place < p->places; place++)
        for (size_t tile = 0; tile < tiles; tile++) transpose(p->out + place * p->out_place + tile * TILE);
}

static void begin_amx(size_t images) {
    const size_t pairs = (images + 1) / 2;
    struct smri_amx_config config = SMRI_AMX_WHOLE_REGISTERS;
    config.row_bytes[4] = config.row_bytes[5] = (uint16_t)(4 * pairs); /* a */
    config.rows[6] = config.rows[7] = (uint8_t)pairs;                  /* b */
    smri_amx_configure(&config);
}

static void end_amx(void) {
    _tile_release();
    _mm_sfence();
}

/* The compiler's intrinsics do not say that they read and write memory. */
#define BARRIER __asm__ volatile("" ::: "memory")
#define LOAD(tile, from) _tile_loadd(tile, (from), 64)
#define STORE(tile, to) _tile_stored(tile, (to), 64)

/* Tiles 0 to 3 are the sums, 4 and 5 the rows, 6 and 7 the columns. `m` and `n` are constants. */
SMRI_INLINE void product_of(const struct smri_wtile_product *p, const size_t m, const size_t n) {
    float *sums = p->sums;
    BARRIER;
    if (p->accumulate) {
        LOAD(0, sums);
        if (n == 2) LOAD(1, sums + SMRI_AMX_WGRAD_SUMS);
        if (m == 2) LOAD(2, sums + 2 * SMRI_AMX_WGRAD_SUMS);
        if (m == 2 && n == 2) LOAD(3, sums + 3 * SMRI_AMX_WGRAD_SUMS);
    } else {
        _tile_zero(0);
        if (n == 2) _tile_zero(1);
        if (m == 2) _tile_zero(2);
        if (m == 2 && n == 2) _tile_zero(3);
    }
    for (size_t run = 0; run < p->n_runs; run++) {
        const smri_bf16 *a = p->runs[run].a, *b = p->runs[run].b;
        for (size_t place = p->runs[run].places; place > 0; place--, a += p->a_step, b += p->b_step) {
            LOAD(4, a);
            LOAD(6, b);
            _tile_dpbf16ps(0, 4, 6);
            if (n == 2) {
                LOAD(7, b + TILE);
                _tile_dpbf16ps(1, 4, 7);
            }
            if (m == 2) {
                LOAD(5, a + TILE);
                _tile_dpbf16ps(2, 5, 6);
                if (n == 2) _tile_dpbf16ps(3, 5, 7);
            }
        }
    }
    STORE(0, sums);
    if (n == 2) STORE(1, sums + SMRI_AMX_WGRAD_SUMS);
    if (m == 2) STORE(2, sums + 2 * SMRI_AMX_WGRAD_SUMS);
    if (m == 2 && n == 2) STORE(3, sums + 3 * SMRI_AMX_WGRAD_SUMS);
    BARRIER;
}

static void product_amx(const struct smri_wtile_product *p) {
    if (p->a_tiles == 2)
        p->b_tiles == 2 ? product_of(p, 2, 2) : product_of(p, 2, 1);
    else
        p->b_tiles == 2 ? product_of(p, 1, 2) : product_of(p, 1, 1);
}

/* Ordinary stores would first read the lines that they overwrite and push packed operands out of the caches: with them
 * the layers whose weights are 4 to 9 MB took 1.4 times as long. */
static void finish_amx(const struct smri_wtile_finish *f) {
    float tile[SMRI_AMX_WGRAD_SUMS] __attribute__((aligned(64)));
    for (size_t i = 0; i < SIDE; i++) {
        __m512 sum = _mm512_load_ps(f->in + i * SIDE);
        for (size_t part = 1; part < f->parts; part++)
            sum = _mm512_add_ps(sum, _mm512_load_ps(f->in + part * f->part_stride + i * SIDE));
        _mm512_store_ps(tile + i * SIDE, sum);
    }
    if (f->transposed) transpose((smri_bf16 *)tile);
    const __mmask16 mask = (__mmask16)((1u << f->cols) - 1);
    const bool streamed = !f->accumulate && (uintptr_t)f->out % 64 == 0;
    for (size_t i = 0; i < f->rows; i++) {
        float *out = f->out + 2 * i * SIDE;
        __m512 row = _mm512_maskz_load_ps(mask, tile + i * SIDE);
        if (f->accumulate) row = _mm512_add_ps(row, _mm512_loadu_ps(out));
        if (streamed)
            _mm512_stream_ps(out, row);
        else
            _mm512_storeu_ps(out, row);
    }
}

void smri_amx_wgrad_kernels_amx(struct smri_amx_wgrad_kernels *kernels) {
    *kernels = (struct smri_amx_wgrad_kernels){pack_amx, begin_amx, product_amx, end_amx, finish_amx};
}
