/* Random numbers compiled for NEON; the code is in random_loops.h. */
#define SMRI_ISA neon
#include "kernels/random/random_loops.h"
