/* Spectra of small square pictures along rings, and what a search for copies compares of them (Fourier-Mellin).
 *
 * All functions work on one thread and keep nothing between calls: call them from several threads on different pictures.
 * None fuses a multiplication with an addition and sums are in a stated order, so all instruction sets give the same bits.
 * Outputs must not overlap inputs. */
#ifndef SMRI_SPECTRA_H
#define SMRI_SPECTRA_H

#include <stddef.h>
#include <stdint.h>

#include "smri/api.h"

SMRI_API_BEGIN

#define SMRI_PICTURE_PX 64  /* rows and columns at most */
#define SMRI_WAVES 48       /* of a cut at most */
#define SMRI_POLAR_RINGS 48 /* rings of a map, and rows of a transform along them at most */
#define SMRI_POLAR_WAVES 32 /* columns of a transform along angles: 16 cosines, then 16 sines */
#define SMRI_LOW_WAVES 12   /* angular frequencies 1 .. of a low transform */
#define SMRI_LOW_ANGLES 40  /* angles at which low transforms are correlated */

/* Local contrast, out[N][S][S] of gray[N][S][S]: b / (sqrt(C b^2 C') + floor) with b = F g F' - C g C'. fine_t and coarse_t
 * are F' and C', [S][S]. S is a multiple of 8. */
void smri_local_contrast(float *out, const float *gray, const float *fine_t, const float *coarse_t, float floor, size_t N,
                         size_t S);

/* A square of a picture under a window, and the waves that its spectrum is made of, with frequencies in equal steps from 0.
 * All pointers are borrowed. */
struct smri_cut {
    size_t row, column, size;     /* of the square; size is even */
    size_t n_waves;               /* a multiple of 8 */
    const float *window;          /* [size][size] */
    const float *cosines, *sines; /* [size / 2][n_waves]: in the first half of a line, about its middle */
};

/* Where a spectrum is read: `n` places, each between four numbers at `index` of the magnitudes [2][n_waves][n_waves]: rows 0
 * and up, then those below 0, with the columns from 0 on. */
struct smri_places {
    size_t n;
    const int32_t *index; /* [4][n] */
    const float *weights; /* [4][n] */
};

/* out[N][n_readings][n], all readings having as many places: the magnitude of the spectrum of what the cut shows of
 * pictures[N][S][S], plus `floor` times its root mean square, plus 1e-6. */
void smri_polar_spectra(float *out, const float *pictures, const struct smri_cut *cut, const struct smri_places *readings,
                        size_t n_readings, float floor, size_t N, size_t S);

/* Products along the angles and rings of maps[R][A]. */
struct smri_polar_waves {
    size_t R, A;
    size_t n_radial, n_angular;  /* n_angular at most 16 */
    const float *angles, *rings; /* [A][SMRI_POLAR_WAVES]; [2 n_radial][R]: cosines, then sines */
};

/* out[N][n_radial][n_angular], each of length 1: the square roots of the magnitudes, added for both signs of the radial
 * frequency. The same for a map that is moved along its circles or, but for the ends, along its rings. */
void smri_polar_descriptors(float *out, const float *maps, const struct smri_polar_waves *waves, size_t N);

/* out[N][2 n_radial - 1][n_angular][2]: the complex transform, radial frequencies 0 1 .. then the negative ones -(n_radial - 1)
 * .. -1, over the length of the map without the means of its rings. */
void smri_polar_low(float *out, const float *maps, const struct smri_polar_waves *waves, size_t N);

/* The correlation of low transforms. */
struct smri_low_waves {
    size_t n_radial, n_shifts;
    const float *rings;  /* [n_shifts][2 n_radial - 1][2]: cosine and sine of each shift along rings */
    const float *angles; /* [SMRI_LOW_WAVES][2][SMRI_LOW_ANGLES]: cosines and sines of each angle */
};

/* out[N]: the highest sum over frequencies of conj(a) b e^(i shift), or of a mirrored, over all shifts and angles; a, b are
 * [N][2 n_radial - 1][SMRI_LOW_WAVES][2]. */
void smri_low_heights(float *out, const float *a, const float *b, const struct smri_low_waves *waves, size_t N);

SMRI_API_END

#endif
