/* XXH64 (Collet, "xxHash fast digest algorithm", specification 0.1.1): a digest of 64 bits that finds damage, not malice. */
#ifndef SMRI_DIGEST_H
#define SMRI_DIGEST_H

#include <stddef.h>
#include <stdint.h>

/* Of `n` bytes at any address. The same on every machine. */
uint64_t smri_xxh64(const void *bytes, size_t n, uint64_t seed);

#endif
