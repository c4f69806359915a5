/* One table per instruction set, filled at the first use of any: reference first, then each level over it. */
#include "kernels/kernels.h"

#include <pthread.h>

#include "smri/cpu.h"

static struct smri_kernels tables[SMRI_ISA_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill(void) {
    for (int i = SMRI_ISA_REF; i < SMRI_ISA_COUNT; i++) {
        const enum smri_isa isa = (enum smri_isa)i;
        if (!smri_isa_available(isa)) continue; /* even the functions that fill in need their instructions */
        struct smri_kernels *table = &tables[i];
        smri_conv_kernels_ref(&table->conv);
        smri_amx_kernels_ref(&table->amx);
        smri_amx_wgrad_kernels_ref(&table->amx_wgrad);
        smri_bf16_dot2_kernels_ref(&table->bf16_dot2);
        smri_convert_kernels_ref(&table->convert);
        smri_batchnorm_kernels_ref(table->batchnorm);
        smri_elementwise_kernels_ref(&table->elementwise);
        smri_pool2d_kernels_ref(table->pool2d);
        smri_softmax_kernels_ref(&table->softmax);
        smri_optimizer_kernels_ref(&table->optimizer);
        smri_pixel_kernels_ref(&table->pixels);
        smri_winograd_kernels_ref(table->winograd);
        smri_peak_kernels_ref(&table->peak);
#if defined(__x86_64__)
        if (smri_isa_contains(isa, SMRI_ISA_AVX2)) {
            smri_conv_kernels_avx2(&table->conv);
            smri_pixel_kernels_avx2(&table->pixels);
            smri_winograd_kernels_avx2(table->winograd);
            smri_convert_kernels_avx2(&table->convert);
            smri_batchnorm_kernels_avx2(table->batchnorm);
            smri_elementwise_kernels_avx2(&table->elementwise);
            smri_pool2d_kernels_avx2(table->pool2d);
            smri_softmax_kernels_avx2(&table->softmax);
            smri_optimizer_kernels_avx2(&table->optimizer);
            smri_peak_kernels_avx2(&table->peak);
        }
        if (smri_isa_contains(isa, SMRI_ISA_AVX512)) {
            smri_conv_kernels_avx512(&table->conv);
            smri_pixel_kernels_avx512(&table->pixels);
            smri_winograd_kernels_avx512(table->winograd);
            smri_convert_kernels_avx512(&table->convert);
            smri_batchnorm_kernels_avx512(table->batchnorm);
            smri_elementwise_kernels_avx512(&table->elementwise);
            smri_pool2d_kernels_avx512(table->pool2d);
            smri_softmax_kernels_avx512(&table->softmax);
            smri_optimizer_kernels_avx512(&table->optimizer);
            smri_peak_kernels_avx512(&table->peak);
        }
        if (smri_isa_contains(isa, SMRI_ISA_AVX512BF16)) {
            smri_peak_kernels_avx512bf16(&table->peak);
            smri_bf16_dot2_kernels_avx512bf16(&table->bf16_dot2);
            smri_convert_kernels_avx512bf16(&table->convert);
            smri_batchnorm_kernels_avx512bf16(table->batchnorm);
            smri_pool2d_kernels_avx512bf16(table->pool2d);
            smri_winograd_kernels_avx512bf16(table->winograd);
        }
        if (smri_isa_contains(isa, SMRI_ISA_AMX)) {
            smri_amx_kernels_amx(&table->amx);
            smri_amx_wgrad_kernels_amx(&table->amx_wgrad);
            smri_peak_kernels_amx(&table->peak);
        }
#elif defined(__aarch64__)
        if (smri_isa_contains(isa, SMRI_ISA_NEON)) {
            smri_conv_kernels_neon(&table->conv);
            smri_winograd_kernels_neon(table->winograd);
            smri_batchnorm_kernels_neon(table->batchnorm);
            smri_convert_kernels_neon(&table->convert);
            smri_softmax_kernels_neon(&table->softmax);
            smri_optimizer_kernels_neon(&table->optimizer);
            smri_elementwise_kernels_neon(&table->elementwise);
            smri_pool2d_kernels_neon(table->pool2d);
        }
#endif
    }
}

const struct smri_kernels *smri_kernels_get(void) {
    pthread_once(&once, fill);
    return &tables[smri_isa_selected()];
}
