/* Philox4x32-10. The counter is [block, view, purpose and sample high, sample low, epoch], the key is the seed: two
 * streams with different names differ in key or counter, and a bijection keeps their blocks apart. */
#include "smri/rng.h"

#include <assert.h>
#include <math.h>

static void philox_round(uint32_t c[4], uint32_t k0, uint32_t k1) {
    const uint64_t p0 = (uint64_t)0xD2511F53u * c[0];
    const uint64_t p1 = (uint64_t)0xCD9E8D57u * c[2];
    const uint32_t next[4] = {(uint32_t)(p1 >> 32) ^ c[1] ^ k0, (uint32_t)p1, (uint32_t)(p0 >> 32) ^ c[3] ^ k1,
                              (uint32_t)p0};
    for (int i = 0; i < 4; i++) c[i] = next[i];
}

void smri_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]) {
    uint32_t k0 = key[0], k1 = key[1];
    for (int i = 0; i < 4; i++) out[i] = counter[i];
    for (int round = 0; round < 10; round++) {
        philox_round(out, k0, k1);
        k0 += 0x9E3779B9u; /* the golden ratio and sqrt(3) - 1: Weyl constants of the paper */
        k1 += 0xBB67AE85u;
    }
}

void smri_rng_init(struct smri_rng *rng, uint64_t seed, uint32_t epoch, uint64_t sample, uint32_t view,
                   enum smri_purpose purpose) {
    assert(view < 256 && (unsigned)purpose < 256 && sample < ((uint64_t)1 << 48));
    rng->key[0] = (uint32_t)seed;
    rng->key[1] = (uint32_t)(seed >> 32);
    rng->counter[0] = 0;
    rng->counter[1] = view | (uint32_t)purpose << 8 | (uint32_t)(sample >> 32) << 16;
    rng->counter[2] = (uint32_t)sample;
    rng->counter[3] = epoch;
    rng->used = 4;
}

uint32_t smri_rng_u32(struct smri_rng *rng) {
    if (rng->used == 4) {
        smri_philox(rng->block, rng->counter, rng->key);
        rng->counter[0]++;
        rng->used = 0;
    }
    return rng->block[rng->used++];
}

float smri_rng_uniform(struct smri_rng *rng) { return (float)(smri_rng_u32(rng) >> 8) * 0x1p-24f; }

float smri_rng_between(struct smri_rng *rng, float low, float high) {
    const float value = low + (high - low) * smri_rng_uniform(rng);
    return value < high || low >= high ? value : nextafterf(high, low); /* the sum may round up to high */
}

float smri_rng_normal(struct smri_rng *rng) {
    const double u = ((double)smri_rng_u32(rng) + 1.0) * 0x1p-32; /* in (0, 1]: the logarithm stays finite */
    const double v = (double)smri_rng_u32(rng) * 0x1p-32;
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}
