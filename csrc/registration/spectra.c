/* Spectra by the instruction set in use. */
#include "registration/spectra.h"

#include "smri/cpu.h"

#if defined(__x86_64__)
#define BY_ISA(function, ...) \
    ((smri_isa_selected() & SMRI_ISA_AVX2) != 0 ? function##_avx2(__VA_ARGS__) : function##_ref(__VA_ARGS__))
#else
#define BY_ISA(function, ...) function##_ref(__VA_ARGS__)
#endif

void smri_local_contrast(float *out, const float *gray, const float *fine_t, const float *coarse_t, float floor, size_t N,
                         size_t S) {
    BY_ISA(smri_local_contrast, out, gray, fine_t, coarse_t, floor, N, S);
}

void smri_polar_spectra(float *out, const float *pictures, const struct smri_cut *cut, const struct smri_places *readings,
                        size_t n_readings, float floor, size_t N, size_t S) {
    BY_ISA(smri_polar_spectra, out, pictures, cut, readings, n_readings, floor, N, S);
}

void smri_polar_descriptors(float *out, const float *maps, const struct smri_polar_waves *waves, size_t N) {
    BY_ISA(smri_polar_descriptors, out, maps, waves, N);
}

void smri_polar_low(float *out, const float *maps, const struct smri_polar_waves *waves, size_t N) {
    BY_ISA(smri_polar_low, out, maps, waves, N);
}

void smri_low_heights(float *out, const float *a, const float *b, const struct smri_low_waves *waves, size_t N) {
    BY_ISA(smri_low_heights, out, a, b, waves, N);
}
