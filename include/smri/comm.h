/* Several processes (ranks) that train one network together, as the core sees them: three calls that whoever owns the network
 * between them fills in. The core itself knows no MPI.
 *
 * Every rank makes the same calls in the same order. `agree` is called in front of the others whenever this rank may have
 * failed since the call before, so that no rank waits in `gather` or `sum` for one that has given up. */
#ifndef SMRI_COMM_H
#define SMRI_COMM_H

#include <stddef.h>

#include "smri/api.h"
#include "smri/status.h"

SMRI_API_BEGIN

struct smri_comm {
    size_t rank, size; /* this process, of so many */
    void *context;     /* the first argument of the calls */

    /* Piece r of `data`, floats bounds[r] .. bounds[r + 1] - 1, is filled in at rank r; afterwards all of it is at all ranks.
     * bounds[size + 1] is the same everywhere. */
    smri_status (*gather)(void *context, float *data, const size_t *bounds);

    /* data[n] becomes the sum over ranks 0 .. n_terms - 1, at all ranks and with the same bits: a binary tree of neighbours,
     * ((0 + 1) + (2 + 3)) + 4, where a last one without a neighbour goes up as it is. */
    smri_status (*sum)(void *context, float *data, size_t n, size_t n_terms);

    /* SMRI_OK if that is the status of all ranks. Else each rank returns a failure: its own, or one that names the rank that
     * failed; and makes no further calls in this step. */
    smri_status (*agree)(void *context, smri_status status);
};

SMRI_API_END

#endif
