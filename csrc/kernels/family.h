/* What the files of all families share: tables filled for an instruction set, and functions for either precision. */
#pragma once

#include <stddef.h>

#include "smri/precision.h"

#define SMRI_INLINE static inline __attribute__((always_inline))

/* Completes stores past the caches, before another thread is told that they are there. */
SMRI_INLINE void smri_store_fence(void) {
#if defined(__x86_64__)
    __builtin_ia32_sfence();
#endif
}

/* A family's functions that fill its table: `_ref` all slots, the others those that they improve. Not every family has all. */
#define SMRI_DECLARE_FILLERS(name, table_of) \
    void name##_ref(table_of *); \
    void name##_avx2(table_of *); \
    void name##_avx512(table_of *); \
    void name##_avx512bf16(table_of *); \
    void name##_amx(table_of *); \
    void name##_neon(table_of *); \
    void name##_neonbf16(table_of *)

/* One of them, in a file of loops, which is compiled once for each instruction set with its name as SMRI_ISA. */
#define SMRI_FILLER(name) SMRI_JOINED(name, SMRI_ISA)
#define SMRI_JOINED(name, isa) SMRI_JOINED_NOW(name, isa)
#define SMRI_JOINED_NOW(name, isa) name##_##isa

/* function_fp32 and function_bf16 from a function of which the precision is the last argument: it is compiled once for either as a
 * constant. */
#define SMRI_BOTH_PRECISIONS(function, parameters, ...) \
    static void function##_fp32 parameters { function(__VA_ARGS__, SMRI_FP32); } \
    static void function##_bf16 parameters { function(__VA_ARGS__, SMRI_BF16); }

/* function(..., i, n) for the numbers i .. i + n - 1 of `count`, a vector at a time, the last of which may not be full. n of the others
 * is a constant, so that an inlined function compiles to plain loads and stores. */
#define SMRI_FOR_VECTORS(count, function, ...) \
    do { \
        size_t smri_i = 0; \
        for (; smri_i + SMRI_LANES <= (count); smri_i += SMRI_LANES) function(__VA_ARGS__, smri_i, SMRI_LANES); \
        if (smri_i < (count)) function(__VA_ARGS__, smri_i, (count) - smri_i); \
    } while (0)

/* function(..., c, width, n) for `width` vectors side by side from channel c on: SMRI_SIDE_BY_SIDE of them, so that rows far apart are
 * read in runs of cache lines, then single ones. */
#define SMRI_SIDE_BY_SIDE ((size_t)4)
#define SMRI_FOR_COLUMNS(count, function, ...) \
    do { \
        const size_t smri_run = SMRI_SIDE_BY_SIDE * SMRI_LANES; \
        size_t smri_c = 0; \
        for (; smri_c + smri_run <= (count); smri_c += smri_run) \
            function(__VA_ARGS__, smri_c, SMRI_SIDE_BY_SIDE, SMRI_LANES); \
        for (; smri_c + SMRI_LANES <= (count); smri_c += SMRI_LANES) function(__VA_ARGS__, smri_c, (size_t)1, SMRI_LANES); \
        if (smri_c < (count)) function(__VA_ARGS__, smri_c, (size_t)1, (count) - smri_c); \
    } while (0)
