/* What the files of all families share: tables filled for an instruction set, and functions for either precision. */
#pragma once

#include "smri/precision.h"

/* A family's functions that fill its table: `_ref` all slots, the others those that they improve. Not every family has all. */
#define SMRI_DECLARE_FILLERS(name, table_of) \
    void name##_ref(table_of *); \
    void name##_avx2(table_of *); \
    void name##_avx512(table_of *); \
    void name##_avx512bf16(table_of *); \
    void name##_amx(table_of *); \
    void name##_neon(table_of *); \
    void name##_neonbf16(table_of *)

/* One of them, in a file that is included by one for each instruction set, which defines SMRI_ISA as the end of its name. */
#define SMRI_FILLER(name) SMRI_JOINED(name, SMRI_ISA)
#define SMRI_JOINED(name, isa) SMRI_JOINED_NOW(name, isa)
#define SMRI_JOINED_NOW(name, isa) name##_##isa

/* function_fp32 and function_bf16 from a function of which the precision is the last argument: it is compiled once for either as a
 * constant. */
#define SMRI_BOTH_PRECISIONS(function, parameters, ...) \
    static void function##_fp32 parameters { function(__VA_ARGS__, SMRI_FP32); } \
    static void function##_bf16 parameters { function(__VA_ARGS__, SMRI_BF16); }
