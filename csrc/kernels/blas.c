/* OpenBLAS where the build found it, else the plain loop. OpenBLAS's own threads are switched off before the first
 * call: a pool of ours runs the tiles, and sums then do not depend on the number of threads. */
#include "kernels/blas.h"
#include "smri/build.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#ifdef SMRI_HAVE_CBLAS
#include <cblas.h>
#include <pthread.h>

#ifdef SMRI_CBLAS_SCIPY /* the wheel's symbols carry a prefix, so that two OpenBLAS can live in one process */
#define cblas_sgemm scipy_cblas_sgemm
#define openblas_set_num_threads scipy_openblas_set_num_threads
#define openblas_get_config scipy_openblas_get_config
#endif

static void use_one_thread(void) { openblas_set_num_threads(1); }

void smri_sgemm(bool a_transposed, bool b_transposed, size_t M, size_t N, size_t K, const float *A, size_t lda,
                const float *B, size_t ldb, float *C, size_t ldc, bool accumulate) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, use_one_thread);
    assert(M <= INT_MAX && N <= INT_MAX && K <= INT_MAX && lda <= INT_MAX && ldb <= INT_MAX && ldc <= INT_MAX);
    cblas_sgemm(CblasRowMajor, a_transposed ? CblasTrans : CblasNoTrans, b_transposed ? CblasTrans : CblasNoTrans,
                (int)M, (int)N, (int)K, 1.0f, A, (int)lda, B, (int)ldb, accumulate ? 1.0f : 0.0f, C, (int)ldc);
}

const char *smri_blas_name(void) { return openblas_get_config(); }
#else
void smri_sgemm(bool a_transposed, bool b_transposed, size_t M, size_t N, size_t K, const float *A, size_t lda,
                const float *B, size_t ldb, float *C, size_t ldc, bool accumulate) {
    for (size_t m = 0; m < M; m++) {
        float *row = C + m * ldc;
        if (!accumulate) memset(row, 0, N * sizeof *row);
        for (size_t k = 0; k < K; k++) {
            const float a = a_transposed ? A[k * lda + m] : A[m * lda + k];
            if (b_transposed)
                for (size_t n = 0; n < N; n++) row[n] += a * B[n * ldb + k];
            else
                for (size_t n = 0; n < N; n++) row[n] += a * B[k * ldb + n];
        }
    }
}

const char *smri_blas_name(void) { return "plain C"; }
#endif
