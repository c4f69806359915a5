/* What this CPU and this operating system can run, and which instruction set the kernels use. */
#ifndef SMRI_CPU_H
#define SMRI_CPU_H

#include <stdbool.h>
#include <stddef.h>

#include "smri/api.h"
#include "smri/status.h"

SMRI_API_BEGIN

/* What kernels are written for. A processor has a set of them: the sum of these numbers. */
enum smri_isa {
    SMRI_ISA_REF = 0,              /* portable C, which is everywhere */
    SMRI_ISA_AVX2 = 1 << 0,        /* AVX2, FMA, F16C */
    SMRI_ISA_AVX512 = 1 << 1,      /* AVX-512 F, BW, DQ, VL */
    SMRI_ISA_AVX512BF16 = 1 << 2,  /* AVX512_BF16 */
    SMRI_ISA_AMX = 1 << 3,         /* AMX-TILE, AMX-BF16, whose use Linux has granted this process */
    SMRI_ISA_NEON = 1 << 4,        /* NEON on aarch64 */
    SMRI_ISA_NEONBF16 = 1 << 5,    /* BFDOT, of Armv8.6 */
};

/* The set that this machine and its operating system (XCR0: saved register state) both support. */
unsigned smri_isa_supported(void);

/* The set in use: the supported one until smri_isa_select; and whether kernels for `isa` are. */
unsigned smri_isa_selected(void);
bool smri_isa_uses(enum smri_isa isa);

/* Uses these alone from now on (tests; SMRI_ISA in the binding). Not to be called while a job runs. */
smri_status smri_isa_select(unsigned set);

/* The sets that have a name: that of an instruction set names it with all that its kernels use besides. In the order of the
 * list; NULL behind its end. */
const char *smri_isa_list(size_t index);

/* The name of a set: that of the last of its members in the list. */
const char *smri_isa_name(unsigned set);

/* The set of that name; SMRI_ARGUMENT for an unknown one, SMRI_UNSUPPORTED for what this machine cannot run. */
smri_status smri_isa_parse(unsigned *set, const char *name);

/* Whether AVX512_BF16 does twice the products of fp32: so AMD's cores do (measured on Zen 4), while an Intel core with AMX
 * does half of them (measured), and has the tile registers for that. Also what tells Zen 4 from it where they differ. */
bool smri_cpu_has_fast_bf16_dot2(void);

/* The processor's brand string, or "unknown". */
const char *smri_cpu_name(void);

SMRI_API_END

#endif
