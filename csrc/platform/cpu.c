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

static enum smri_isa detect(void) {
#if defined(SMRI_EMULATED_ISA) /* a test's build, whose kernels are in plain C */
    return SMRI_EMULATED_ISA;
#endif
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return SMRI_ISA_REF;
    const bool osxsave = c >> 27 & 1, avx = c >> 28 & 1, fma = c >> 12 & 1, f16c = c >> 29 & 1;
    if (!osxsave || !avx || !fma || !f16c || (read_xcr0() & 0x6) != 0x6) return SMRI_ISA_REF;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b >> 5 & 1)) return SMRI_ISA_REF;
    /* AVX-512 F is bit 16, DQ 17, BW 30, VL 31; XCR0 bits 5 to 7 are the mask registers and the upper halves. */
    const bool avx512 = (b >> 16 & 1) && (b >> 17 & 1) && (b >> 30 & 1) && (b >> 31 & 1);
    if (!avx512 || (read_xcr0() & 0xE6) != 0xE6) return SMRI_ISA_AVX2;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a >> 5 & 1)) return SMRI_ISA_AVX512;
    /* AMX-BF16 is bit 22, AMX-TILE 24; XCR0 bits 17 and 18 are the tiles' configuration and data. */
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 22 & 1) || !(d >> 24 & 1)) return SMRI_ISA_AVX512BF16;
    return (read_xcr0() & 0x60000) == 0x60000 && tiles_granted() ? SMRI_ISA_AMX : SMRI_ISA_AVX512BF16;
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
static enum smri_isa detect(void) { return SMRI_ISA_NEON; } /* part of the architecture */
#else
static enum smri_isa detect(void) { return SMRI_ISA_REF; }
#endif
static bool is_amd(void) { return false; }
static void read_brand(char name[49]) { (void)name; }
#endif

static const char *const names[SMRI_ISA_COUNT] = {"ref", "avx2", "avx512", "avx512bf16", "amx", "neon"};
static _Atomic int selected = -1; /* -1: not chosen, so the supported level */

enum smri_isa smri_isa_supported(void) {
    static _Atomic int cached = -1;
    int isa = atomic_load(&cached);
    if (isa < 0) {
        isa = (int)detect();
        atomic_store(&cached, isa);
    }
    return (enum smri_isa)isa;
}

bool smri_isa_contains(enum smri_isa isa, enum smri_isa part) {
    if (part == SMRI_ISA_REF || part == isa) return true;
    return isa != SMRI_ISA_NEON && part != SMRI_ISA_NEON && part < isa;
}

bool smri_isa_available(enum smri_isa isa) { return smri_isa_contains(smri_isa_supported(), isa); }

const char *smri_isa_name(enum smri_isa isa) { return (unsigned)isa < SMRI_ISA_COUNT ? names[isa] : "unknown"; }

smri_status smri_isa_parse(enum smri_isa *out, const char *name) {
    for (int i = 0; i < SMRI_ISA_COUNT; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        if (!smri_isa_available((enum smri_isa)i))
            return smri_fail(SMRI_UNSUPPORTED, "instruction set '%s' is not available: this machine supports up to '%s'",
                             name, smri_isa_name(smri_isa_supported()));
        *out = (enum smri_isa)i;
        return SMRI_OK;
    }
    return smri_fail(SMRI_ARGUMENT, "unknown instruction set '%s': expected ref, avx2, avx512, avx512bf16, amx or neon", name);
}

smri_status smri_isa_select(enum smri_isa isa) {
    if ((unsigned)isa >= SMRI_ISA_COUNT || !smri_isa_available(isa))
        return smri_fail(SMRI_UNSUPPORTED, "instruction set '%s' is not available: this machine supports up to '%s'",
                         smri_isa_name(isa), smri_isa_name(smri_isa_supported()));
    atomic_store(&selected, (int)isa);
    return SMRI_OK;
}

enum smri_isa smri_isa_selected(void) {
    const int isa = atomic_load(&selected);
    return isa < 0 ? smri_isa_supported() : (enum smri_isa)isa;
}

/* Asked for every convolution, and CPUID leaves a virtual machine: 25 us, 4 ms of a training step. */
bool smri_cpu_has_fast_bf16_dot2(void) {
    static _Atomic int cached = -1;
    int has = atomic_load_explicit(&cached, memory_order_relaxed);
    if (has < 0) {
        has = smri_isa_available(SMRI_ISA_AVX512BF16) && is_amd();
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
