/* One table per instruction set, filled at the first use of any: reference first, then each level over it. */
#include "kernels/kernels.h"

#include <pthread.h>

#include "smri/cpu.h"

static struct smri_kernels tables[SMRI_ISA_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill(void) {
    for (int isa = SMRI_ISA_REF; isa <= (int)smri_isa_supported(); isa++) {
        struct smri_kernels *table = &tables[isa];
        smri_conv_kernels_ref(&table->conv);
        smri_tiles_kernels_ref(&table->tiles);
        smri_conv_tiles_weights_kernels_ref(&table->conv_tiles_weights);
        smri_pairs_kernels_ref(&table->pairs);
        smri_convert_kernels_ref(&table->convert);
        smri_norm_kernels_ref(table->norm);
        smri_elementwise_kernels_ref(&table->elementwise);
        smri_window_kernels_ref(table->window);
        smri_softmax_kernels_ref(&table->softmax);
        smri_optimizer_kernels_ref(&table->optimizer);
        smri_pixel_kernels_ref(&table->pixels);
        smri_winograd_kernels_ref(table->winograd);
        smri_peak_kernels_ref(&table->peak);
#if defined(__x86_64__)
        if (isa >= SMRI_ISA_AVX2) {
            smri_conv_kernels_avx2(&table->conv);
            smri_pixel_kernels_avx2(&table->pixels);
            smri_winograd_kernels_avx2(table->winograd);
            smri_convert_kernels_avx2(&table->convert);
            smri_norm_kernels_avx2(table->norm);
            smri_elementwise_kernels_avx2(&table->elementwise);
            smri_window_kernels_avx2(table->window);
            smri_softmax_kernels_avx2(&table->softmax);
            smri_optimizer_kernels_avx2(&table->optimizer);
            smri_peak_kernels_avx2(&table->peak);
        }
        if (isa >= SMRI_ISA_AVX512) {
            smri_conv_kernels_avx512(&table->conv);
            smri_pixel_kernels_avx512(&table->pixels);
            smri_winograd_kernels_avx512(table->winograd);
            smri_convert_kernels_avx512(&table->convert);
            smri_norm_kernels_avx512(table->norm);
            smri_elementwise_kernels_avx512(&table->elementwise);
            smri_window_kernels_avx512(table->window);
            smri_softmax_kernels_avx512(&table->softmax);
            smri_optimizer_kernels_avx512(&table->optimizer);
            smri_peak_kernels_avx512(&table->peak);
        }
        if (isa >= SMRI_ISA_AVX512BF16) {
            smri_peak_kernels_avx512bf16(&table->peak);
            smri_pairs_kernels_avx512bf16(&table->pairs);
            smri_convert_kernels_avx512bf16(&table->convert);
            smri_norm_kernels_avx512bf16(table->norm);
            smri_window_kernels_avx512bf16(table->window);
            smri_winograd_kernels_avx512bf16(table->winograd);
        }
        if (isa >= SMRI_ISA_AMX) {
            smri_tiles_kernels_amx(&table->tiles);
            smri_conv_tiles_weights_kernels_amx(&table->conv_tiles_weights);
            smri_peak_kernels_amx(&table->peak);
        }
#endif
    }
}

const struct smri_kernels *smri_kernels_get(void) {
    pthread_once(&once, fill);
    return &tables[smri_isa_selected()];
}
