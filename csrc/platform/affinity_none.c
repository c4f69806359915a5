/* Where threads cannot be kept off a processor (macOS), or this is not tried (Windows): the system places them. */
#if !defined(__linux__)
#include "platform/affinity.h"

#include <stdatomic.h>

static atomic_bool pinning = true;

void smri_pool_set_pinning(bool pins) { atomic_store(&pinning, pins); }

void smri_affinity_init(struct smri_affinity *affinity) {
    affinity->pins = affinity->has_homes = false;
    affinity->caller_cpu = -1;
}

void smri_affinity_make_way(struct smri_affinity *affinity, const pthread_t *workers, size_t n_workers) {
}
#endif
