/* A table for each set of instruction sets, filled when it is first used: the reference, then each instruction set over it. */
#include "kernels/kernels.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#include "smri/cpu.h"

enum { TABLES_MAX = 16 }; /* of all sets that can be selected on one machine: half a dozen */

struct table {
    unsigned isas;
    struct smri_kernels kernels;
};

/* The families whose loops are compiled for every instruction set with vectors of floats. */
#define FILL_FLOATS(isa) \
    smri_batchnorm_kernels_##isa(table->batchnorm), smri_conv_kernels_##isa(&table->conv), \
    smri_convert_kernels_##isa(&table->convert), smri_optimizer_kernels_##isa(&table->optimizer), \
    smri_peak_kernels_##isa(&table->peak), smri_pixel_kernels_##isa(&table->pixels), \
    smri_pool2d_kernels_##isa(table->pool2d), smri_random_kernels_##isa(&table->random), \
    smri_softmax_kernels_##isa(&table->softmax), smri_winograd_kernels_##isa(table->winograd)

static void fill(struct smri_kernels *table, unsigned isas) {
    FILL_FLOATS(ref);
    smri_bf16_dot2_kernels_ref(&table->bf16_dot2);
    smri_amx_kernels_ref(&table->amx);
    smri_amx_wgrad_kernels_ref(&table->amx_wgrad);
#if defined(__x86_64__)
    if ((isas & SMRI_ISA_AVX2) != 0) FILL_FLOATS(avx2);
    if ((isas & SMRI_ISA_AVX512) != 0) FILL_FLOATS(avx512);
    if ((isas & SMRI_ISA_AVX512BF16) != 0) {
        smri_bf16_dot2_kernels_avx512bf16(&table->bf16_dot2);
        smri_convert_kernels_avx512bf16(&table->convert);
        smri_batchnorm_kernels_avx512bf16(table->batchnorm);
        smri_pool2d_kernels_avx512bf16(table->pool2d);
        smri_winograd_kernels_avx512bf16(table->winograd);
        smri_peak_kernels_avx512bf16(&table->peak);
    }
    if ((isas & SMRI_ISA_AMX) != 0) {
        smri_amx_kernels_amx(&table->amx);
        smri_amx_wgrad_kernels_amx(&table->amx_wgrad);
        smri_peak_kernels_amx(&table->peak);
    }
#elif defined(__aarch64__)
    if ((isas & SMRI_ISA_NEON) != 0) FILL_FLOATS(neon);
    if ((isas & SMRI_ISA_NEONBF16) != 0) {
        smri_bf16_dot2_kernels_neonbf16(&table->bf16_dot2);
        smri_peak_kernels_neonbf16(&table->peak);
    }
#endif
}

static const struct table *find(unsigned isas) {
    static struct table tables[TABLES_MAX];
    static size_t n_tables;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    size_t i = 0;
    while (i < n_tables && tables[i].isas != isas) i++;
    if (i == n_tables) {
        assert(n_tables < TABLES_MAX);
        tables[i].isas = isas;
        fill(&tables[i].kernels, isas);
        n_tables++;
    }
    pthread_mutex_unlock(&lock);
    return &tables[i];
}

const struct smri_kernels *smri_kernels_get(void) {
    static const struct table *_Atomic last;
    const unsigned isas = smri_isa_selected();
    const struct table *table = atomic_load_explicit(&last, memory_order_acquire);
    if (table == NULL || table->isas != isas) {
        table = find(isas);
        atomic_store_explicit(&last, table, memory_order_release);
    }
    return &table->kernels;
}
