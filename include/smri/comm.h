/* Several processes (ranks) that train one network together, as the core sees them: four calls that whoever owns the network
 * between them fills in. The core itself knows no MPI.
 *
 * Every rank makes the same calls in the same order. `agree` is called in front of `gather` whenever this rank may have failed
 * since the call before, so that no rank waits for one that has given up. Sums are begun and finished whether or not it has
 * failed, and then `agree` tells whether they count. */
#ifndef SMRI_COMM_H
#define SMRI_COMM_H

#include <stddef.h>

#include "smri/api.h"
#include "smri/precision.h"
#include "smri/status.h"

SMRI_API_BEGIN

struct smri_comm {
    size_t rank, size; /* this process, of so many */
    void *context;     /* the first argument of the calls */

    /* Piece r of `data`, floats bounds[r] .. bounds[r + 1] - 1, is filled in at rank r; afterwards all of it is at all ranks.
     * bounds[size + 1] is the same everywhere. */
    smri_status (*gather)(void *context, float *data, const size_t *bounds);

    /* Begins a sum: after `finish_sums` data[n] is the sum over ranks 0 .. n_terms - 1, at all ranks and with the same bits, those
     * of smri_tree_sum. Until then data belongs to the sum. It may travel while the core computes. With SMRI_BF16 the numbers
     * are bfloat16 already, and so is every sum. */
    smri_status (*begin_sum)(void *context, float *data, size_t n, size_t n_terms, enum smri_precision wire);
    smri_status (*finish_sums)(void *context);

    /* SMRI_OK if that is the status of all ranks. Else each rank returns a failure: its own, or one that names the rank that
     * failed; and makes no further calls in this step. */
    smri_status (*agree)(void *context, smri_status status);
};

/* For those who fill in the calls: rows[0][n] becomes the sum of rows[n_rows][n], in a binary tree of neighbours,
 * ((0 + 1) + (2 + 3)) + 4, where a last one without a neighbour goes up as it is. The other rows are overwritten. Rows of
 * SMRI_BF16 are added in fp32, and each sum is rounded. */
void smri_tree_sum(void *rows, size_t n_rows, size_t n, enum smri_precision precision);

SMRI_API_END

#endif
