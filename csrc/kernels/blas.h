/* The one home of cblas.h. One call is one single-threaded matrix product: parallelism is ours, one call per tile. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* C[M][N] = A B (+ C when accumulate), row-major; A is [M][K], or [K][M] when a_transposed; B is [K][N], or [N][K] when
 * b_transposed; lda, ldb and ldc are row lengths as stored. Without `accumulate` C is never read. */
void smri_sgemm(bool a_transposed, bool b_transposed, size_t M, size_t N, size_t K, const float *A, size_t lda,
                const float *B, size_t ldb, float *C, size_t ldc, bool accumulate);
