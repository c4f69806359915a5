/* The functions of smri/spectra.h, once for each instruction set that improves them. */
#pragma once

#include <stdbool.h>

#include "smri/spectra.h"

#define SMRI_SPECTRA(isa) \
    void smri_local_contrast_##isa(float *, const float *, const float *, const float *, float, size_t, size_t); \
    void smri_polar_spectra_##isa(float *, const float *, const struct smri_cut *, const struct smri_places *, size_t, float, \
                                  size_t, size_t); \
    void smri_polar_descriptors_##isa(float *, const float *, const struct smri_polar_waves *, size_t); \
    void smri_polar_low_##isa(float *, const float *, const struct smri_polar_waves *, size_t); \
    void smri_low_heights_##isa(float *, const float *, const float *, const struct smri_low_waves *, size_t);

SMRI_SPECTRA(ref)
SMRI_SPECTRA(avx2)
