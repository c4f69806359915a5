/* Sixteen blocks of Philox4x32-10 at once; smri_philox is the original. The loop has one simple body for all blocks, so
 * that the compiler makes vectors of it. */
#pragma once

#include "kernels/family.h"
#include "smri/rng.h"

enum { SMRI_PHILOX_BLOCKS = 16 };

/* words[w][b] is word w of the stream's block first + b, counted from its counter. */
SMRI_INLINE void philox_blocks(uint32_t words[4][SMRI_PHILOX_BLOCKS], const struct smri_rng *rng, uint32_t first) {
    for (uint32_t b = 0; b < SMRI_PHILOX_BLOCKS; b++) {
        uint32_t c0 = rng->counter[0] + first + b, c1 = rng->counter[1], c2 = rng->counter[2], c3 = rng->counter[3];
        uint32_t k0 = rng->key[0], k1 = rng->key[1];
        for (int round = 0; round < 10; round++) {
            const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
            c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
            c1 = (uint32_t)p1;
            c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
            c3 = (uint32_t)p0;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        words[0][b] = c0, words[1][b] = c1, words[2][b] = c2, words[3][b] = c3;
    }
}
