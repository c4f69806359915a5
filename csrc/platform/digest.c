/* XXH64. Four accumulators take 8 bytes each of every 32; they are merged, what is left is mixed in, and the bits of the
 * result are spread ("avalanche"). Chosen because saving a checkpoint waits for it: it reads as fast as memory can be copied,
 * ten times as fast as zlib's CRC-32. */
#include "smri/digest.h"

#include <string.h>

static const uint64_t P1 = 0x9E3779B185EBCA87, P2 = 0xC2B2AE3D27D4EB4F, P3 = 0x165667B19E3779F9, P4 = 0x85EBCA77C2B2AE63,
                      P5 = 0x27D4EB2F165667C5;

static uint64_t rotl(uint64_t x, unsigned by) { return x << by | x >> (64 - by); }

/* Little-endian words, as the specification reads them. */
static uint64_t word64(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static uint64_t word32(const uint8_t *at) {
    return (uint64_t)at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16 | (uint64_t)at[3] << 24;
}

static uint64_t mix(uint64_t sum, uint64_t word) { return rotl(sum + word * P2, 31) * P1; }
static uint64_t merge(uint64_t sum, uint64_t lane) { return (sum ^ mix(0, lane)) * P1 + P4; }

uint64_t smri_xxh64(const void *bytes, size_t n, uint64_t seed) {
    const uint8_t *at = bytes;
    size_t left = n;
    uint64_t sum = seed + P5;
    if (left >= 32) {
        uint64_t a = seed + P1 + P2, b = seed + P2, c = seed, d = seed - P1;
        for (; left >= 32; left -= 32, at += 32) {
            a = mix(a, word64(at));
            b = mix(b, word64(at + 8));
            c = mix(c, word64(at + 16));
            d = mix(d, word64(at + 24));
        }
        sum = rotl(a, 1) + rotl(b, 7) + rotl(c, 12) + rotl(d, 18);
        sum = merge(merge(merge(merge(sum, a), b), c), d);
    }
    sum += n;
    for (; left >= 8; left -= 8, at += 8) sum = rotl(sum ^ mix(0, word64(at)), 27) * P1 + P4;
    for (; left >= 4; left -= 4, at += 4) sum = rotl(sum ^ (word32(at) * P1), 23) * P2 + P3;
    for (; left > 0; left--, at++) sum = rotl(sum ^ (*at * P5), 11) * P1;
    sum = (sum ^ sum >> 33) * P2;
    sum = (sum ^ sum >> 29) * P3;
    return sum ^ sum >> 32;
}
