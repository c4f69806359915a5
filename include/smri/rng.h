/* Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 *
 * A stream is named by what it is for, (seed, epoch, sample, view, purpose), and never by who draws it: threads, batch
 * order and resumption cannot change a value. */
#ifndef SMRI_RNG_H
#define SMRI_RNG_H

#include <stddef.h>
#include <stdint.h>

#include "smri/api.h"

SMRI_API_BEGIN

/* What a stream is for; part of the key, so that streams never meet. Append only: the numbers fix published results. */
enum smri_purpose {
    SMRI_FOR_INIT = 1,    /* parameter initialisation; sample = index of the parameter */
    SMRI_FOR_AUGMENT = 2, /* one view of one image */
    SMRI_FOR_DROPOUT = 3, /* epoch = step, sample = row in the batch, view = index of the layer */
    SMRI_FOR_NOISE = 4,   /* pixel noise of one view */
};

struct smri_rng {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t block[4];
    unsigned used; /* words of `block` already handed out; 4 = none left */
};

/* Starts the stream. view < 2^8, purpose < 2^8, sample < 2^48. */
void smri_rng_init(struct smri_rng *rng, uint64_t seed, uint32_t epoch, uint64_t sample, uint32_t view,
                   enum smri_purpose purpose);

uint32_t smri_rng_u32(struct smri_rng *rng);                            /* uniform on 32 bits */
float smri_rng_uniform(struct smri_rng *rng);                           /* uniform in [0, 1), 24 bits */
float smri_rng_between(struct smri_rng *rng, float low, float high);    /* uniform in [low, high); low if they are equal */
float smri_rng_normal(struct smri_rng *rng);                            /* standard normal, Box-Muller */
void smri_rng_normals(float *out, size_t n, struct smri_rng *rng);      /* what n calls of smri_rng_normal return, faster */

/* Block `block` of the stream named by key and the upper counter words, without state: for masks in parallel. */
void smri_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

SMRI_API_END

#endif
