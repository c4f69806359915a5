/* Random numbers by the kernels of the instruction sets in use. */
#include "smri/rng.h"

#include "kernels/kernels.h"

void smri_rng_normals(float *out, size_t n, struct smri_rng *rng) { smri_kernels_get()->random.normals(out, n, rng); }
