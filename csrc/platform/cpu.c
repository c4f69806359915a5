/* CPUID says what the processor has, XCR0 what the operating system saves on a context switch; both must agree before
 * a vector register may be touched (Intel SDM volume 1, sections 14.3 and 15.2). The tile registers of AMX are granted by
 * Linux to a process that asks (Documentation/arch/x86/xstate.rst); threads and children inherit the permission. */
#define _GNU_SOURCE
#include "smri/cpu.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18

static bool tiles_granted(void) { return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0; }
#else
static bool tiles_granted(void) { return false; }
#endif

static uint64_t read_xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static unsigned detect(void) {
#if defined(SMRI_EMULATED_ISA) /* a test's build, whose kernels are in plain C */
    return SMRI_EMULATED_ISA;
#endif
    unsigned a, b, c, d, set = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    const bool osxsave = c >> 27 & 1, avx = c >> 28 & 1, fma = c >> 12 & 1, f16c = c >> 29 & 1;
    if (!osxsave || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    const uint64_t saved = read_xcr0(); /* bits 1 and 2: registers of 256 bits; 5 to 7: of 512, and masks; 17 and 18: tiles */
    if (avx && fma && f16c && (b >> 5 & 1) && (saved & 0x6) == 0x6) set |= SMRI_ISA_AVX2;
    /* AVX-512 F is bit 16, DQ 17, BW 30, VL 31; AMX-BF16 22, AMX-TILE 24. */
    const bool avx512 = (b >> 16 & 1) && (b >> 17 & 1) && (b >> 30 & 1) && (b >> 31 & 1);
    if (avx512 && (saved & 0xE6) == 0xE6) set |= SMRI_ISA_AVX512;
    if ((d >> 22 & 1) && (d >> 24 & 1) && (saved & 0x60000) == 0x60000 && tiles_granted()) set |= SMRI_ISA_AMX;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1)) set |= SMRI_ISA_AVX512BF16;
    return set;
}

static void read_brand(char name[49]) {
    unsigned words[12] = {0};
    for (unsigned i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2], &words[4 * i + 3])) return;
    memcpy(name, words, 48);
}

static bool is_amd(void) {
    unsigned a, b = 0, c = 0, d = 0;
    return __get_cpuid(0, &a, &b, &c, &d) && b == signature_AMD_ebx && c == signature_AMD_ecx && d == signature_AMD_edx;
}
#else
#if defined(__aarch64__)
#if defined(__linux__)
#include <sys/auxv.h>
static bool has_bfdot(void) { return getauxval(AT_HWCAP2) >> 14 & 1; } /* HWCAP2_BF16 */
#else
static bool has_bfdot(void) { return false; }
#endif
static unsigned detect(void) { return SMRI_ISA_NEON | (has_bfdot() ? SMRI_ISA_NEONBF16 : 0u); } /* NEON is part of aarch64 */
#else
static unsigned detect(void) { return 0; }
#endif
static bool is_amd(void) { return false; }
static void read_brand(char name[49]) { (void)name; }
#endif

/* What its kernels use besides comes earlier in the list. */
static const struct {
    const char *name;
    unsigned isa, besides;
} isas[] = {
    {"ref", SMRI_ISA_REF, 0},
    {"avx2", SMRI_ISA_AVX2, 0},
    {"avx512", SMRI_ISA_AVX512, SMRI_ISA_AVX2},
    {"avx512bf16", SMRI_ISA_AVX512BF16, SMRI_ISA_AVX512},
    {"amx", SMRI_ISA_AMX, SMRI_ISA_AVX512BF16},
    {"neon", SMRI_ISA_NEON, 0},
    {"neonbf16", SMRI_ISA_NEONBF16, SMRI_ISA_NEON},
};
enum { N_ISAS = sizeof isas / sizeof *isas };

static _Atomic int selected = -1; /* -1: not chosen, so what is supported */

/* All that can be used of what is there. */
static unsigned usable(unsigned there) {
    unsigned set = 0;
    for (size_t i = 0; i < N_ISAS; i++)
        if ((there & isas[i].isa) != 0 && (set & isas[i].besides) == isas[i].besides) set |= isas[i].isa;
    return set;
}

unsigned smri_isa_supported(void) {
    static _Atomic int cached = -1;
    int set = atomic_load(&cached);
    if (set < 0) {
        set = (int)usable(detect());
        atomic_store(&cached, set);
    }
    return (unsigned)set;
}

const char *smri_isa_list(size_t index) { return index < N_ISAS ? isas[index].name : NULL; }

const char *smri_isa_name(unsigned set) {
    const char *name = isas[0].name;
    for (size_t i = 1; i < N_ISAS; i++)
        if ((set & isas[i].isa) != 0) name = isas[i].name;
    return name;
}

static smri_status unavailable(unsigned set) {
    return smri_fail(SMRI_UNSUPPORTED, "instruction set '%s' is not available: this machine supports up to '%s'",
                     smri_isa_name(set), smri_isa_name(smri_isa_supported()));
}

smri_status smri_isa_parse(unsigned *set, const char *name) {
    size_t found = 0;
    while (found < N_ISAS && strcmp(name, isas[found].name) != 0) found++;
    if (found == N_ISAS)
        return smri_fail(SMRI_ARGUMENT,
                         "unknown instruction set '%s': expected ref, avx2, avx512, avx512bf16, amx, neon or neonbf16", name);
    unsigned all = isas[found].isa | isas[found].besides;
    for (size_t i = found; i-- > 0;)
        if ((all & isas[i].isa) != 0) all |= isas[i].besides;
    if ((all & ~smri_isa_supported()) != 0) return unavailable(all);
    *set = all;
    return SMRI_OK;
}

smri_status smri_isa_select(unsigned set) {
    if ((set & ~smri_isa_supported()) != 0 || usable(set) != set) return unavailable(set);
    atomic_store(&selected, (int)set);
    return SMRI_OK;
}

unsigned smri_isa_selected(void) {
    const int set = atomic_load(&selected);
    return set < 0 ? smri_isa_supported() : (unsigned)set;
}

bool smri_isa_uses(enum smri_isa isa) { return (smri_isa_selected() & (unsigned)isa) == (unsigned)isa; }

/* Asked for every convolution, and CPUID leaves a virtual machine: 25 us, 4 ms of a training step. */
bool smri_cpu_has_fast_bf16_dot2(void) {
    static _Atomic int cached = -1;
    int has = atomic_load_explicit(&cached, memory_order_relaxed);
    if (has < 0) {
        has = (smri_isa_supported() & SMRI_ISA_AVX512BF16) != 0 && is_amd();
        atomic_store_explicit(&cached, has, memory_order_relaxed);
    }
    return has;
}

static char brand[49];

static void fill_brand(void) { read_brand(brand); }

const char *smri_cpu_name(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_brand);
    return brand[0] != '\0' ? brand : "unknown";
}
