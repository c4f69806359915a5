/* What this CPU and this operating system can run, and which instruction set the kernels use. */
#ifndef SMRI_CPU_H
#define SMRI_CPU_H

#include <stdbool.h>
#include <stddef.h>

#include "smri/api.h"
#include "smri/status.h"

SMRI_API_BEGIN

/* On x86 each level contains the ones before it; NEON contains REF alone. */
enum smri_isa {
    SMRI_ISA_REF = 0,    /* portable C */
    SMRI_ISA_AVX2,       /* AVX2, FMA, F16C */
    SMRI_ISA_AVX512,     /* AVX-512 F, BW, DQ, VL */
    SMRI_ISA_AVX512BF16, /* and AVX512_BF16 */
    SMRI_ISA_AMX,        /* and AMX-TILE, AMX-BF16, whose use Linux has granted this process */
    SMRI_ISA_NEON,       /* NEON on aarch64 */
    SMRI_ISA_COUNT
};

/* The highest level that CPU and operating system (XCR0: saved register state) both support. */
enum smri_isa smri_isa_supported(void);

/* Whether code for `part` runs where `isa` is chosen; and whether this machine can run it. */
bool smri_isa_contains(enum smri_isa isa, enum smri_isa part);
bool smri_isa_available(enum smri_isa isa);

/* The name of a level ("ref", "avx2", "avx512", "avx512bf16", "amx", "neon"). */
const char *smri_isa_name(enum smri_isa isa);

/* The level with that name; SMRI_ARGUMENT for an unknown name, SMRI_UNSUPPORTED for one this machine cannot run. */
smri_status smri_isa_parse(enum smri_isa *out, const char *name);

/* Caps the kernels at `isa` from now on (tests; SMRI_ISA in the binding). Not to be called while a job runs. */
smri_status smri_isa_select(enum smri_isa isa);

/* The level in use: the supported one until smri_isa_select. */
enum smri_isa smri_isa_selected(void);

/* Whether AVX512_BF16 does twice the products of fp32: so AMD's cores do (measured on Zen 4), while an Intel core with AMX
 * does half of them (measured), and has the tile registers for that. Also what tells Zen 4 from it where they differ. */
bool smri_cpu_has_fast_bf16_dot2(void);

/* The processor's brand string, or "unknown". */
const char *smri_cpu_name(void);

SMRI_API_END

#endif
