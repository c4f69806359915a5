/* Gauss-Newton over the six numbers of an affine map. With I the moved image, J the target and g = (gy, gx) the gradient of J
 * at q = (y, x) about the centre, a small change d of the map changes I by -s d, s = (gy y, gy x, gx y, gx x, gy, gx). So
 *     (sum of s s^T + ridge) d = sum of s (gain I - J),   gain = sum of I J / sum of I I,
 * over the pixels that both images have, and the new map is the old one followed by 1 + d.
 *
 * All sums are taken in one pass. Along a row y is constant, so the 21 entries of the matrix follow from nine sums a row: of
 * gy gy, gy gx and gx gx times 1, x and x x. Float along a row, in lanes of fixed order, double over the rows: the same bits
 * whatever the compiler makes of it. */
#include "smri/registration.h"

#include <math.h>
#include <string.h>

#define N 6
#define LANES 8
#define MAX_WIDTH SMRI_REGISTRATION_WIDTH

static const double RIDGE = 1e-3;
static const double GREATEST[N] = {0.2, 0.2, 0.2, 0.2, 3.2, 3.2};         /* of one step */
static const double ARRIVED[N] = {0.002, 0.002, 0.002, 0.002, 0.032, 0.032}; /* a step of less ends the search */

/* The map back from the second image to the first: source = back (q - t) + c. False if there is none. */
static bool invert(double back[4], const double map[N]) {
    const double det = map[0] * map[3] - map[1] * map[2];
    if (!(fabs(det) > 1e-12)) return false;
    back[0] = map[3] / det;
    back[1] = -map[1] / det;
    back[2] = -map[2] / det;
    back[3] = map[0] / det;
    return true;
}

struct picture {
    const float *pixels;
    size_t H, W;
};

/* Row y of the moved image, columns first to last, and how much each counts: 1 where the source lies `margin` or more away
 * from the border, else 0. Elsewhere the value is that of the nearest pixel. */
static void move_row(float *moved, float *inside, struct picture in, const double back[4], const double map[N], size_t row,
                     size_t first, size_t last, float margin) {
    const float cy = 0.5f * (float)(in.H - 1), cx = 0.5f * (float)(in.W - 1);
    const float top = (float)(in.H - 1), right = (float)(in.W - 1);
    const double y = (double)row - (double)cy - map[4];
    const float from_y = (float)(back[0] * y) + cy, from_x = (float)(back[2] * y) + cx;
    const float step_y = (float)back[1], step_x = (float)back[3], x0 = -cx - (float)map[5];
    for (size_t x = first; x < last; x++) {
        const float at = (float)x + x0;
        float sy = from_y + step_y * at, sx = from_x + step_x * at;
        inside[x] = sy >= margin && sy <= top - margin && sx >= margin && sx <= right - margin ? 1.0f : 0.0f;
        sy = sy > 0 ? sy : 0;
        sx = sx > 0 ? sx : 0;
        sy = sy < top - 0.001f ? sy : top - 0.001f;
        sx = sx < right - 0.001f ? sx : right - 0.001f;
        const size_t iy = (size_t)sy, ix = (size_t)sx;
        const float wy = sy - (float)iy, wx = sx - (float)ix;
        const float *p = in.pixels + iy * in.W + ix;
        const float upper = p[0] + (p[1] - p[0]) * wx, lower = p[in.W] + (p[in.W + 1] - p[in.W]) * wx;
        moved[x] = upper + (lower - upper) * wy;
    }
}

void smri_warp_affine(float *out, const float *in, const double *maps, size_t P, size_t H, size_t W, bool nearest) {
    float inside[MAX_WIDTH];
    for (size_t p = 0; p < P; p++, out += H * W, in += H * W, maps += N) {
        double back[4];
        if (!invert(back, maps)) {
            memset(out, 0, H * W * sizeof *out);
            continue;
        }
        for (size_t y = 0; y < H; y++) {
            float *line = out + y * W;
            move_row(line, inside, (struct picture){in, H, W}, back, maps, y, 0, W, 0);
            for (size_t x = 0; x < W && !nearest; x++) line[x] *= inside[x];
        }
    }
}

/* Sums over the pixels that both images have. */
struct sums {
    double matrix[N][N]; /* of s s^T */
    double moved[N], target[N]; /* of s I and s J */
    double square, product, target_square;
};

enum { YY, YX, XX, YY1, YX1, XX1, YY2, YX2, XX2, YM, XM, YM1, XM1, YT, XT, YT1, XT1, MM, MT, TT, N_ROW };

/* Up to LANES pixels from column i on. */
static inline void add_lanes(float lanes[N_ROW][LANES], const float *moved, const float *inside, const float *target,
                             size_t W, float at, size_t n) {
    for (size_t l = 0; l < n; l++) {
        const float w = inside[l], m = moved[l] * w, t = target[l] * w, x = at + (float)l;
        const float gy = 0.5f * (target[l + W] - target[(ptrdiff_t)l - (ptrdiff_t)W]) * w;
        const float gx = 0.5f * (target[l + 1] - target[(ptrdiff_t)l - 1]) * w;
        const float yy = gy * gy, yx = gy * gx, xx = gx * gx, ym = gy * m, xm = gx * m, yt = gy * t, xt = gx * t;
        lanes[YY][l] += yy;
        lanes[YX][l] += yx;
        lanes[XX][l] += xx;
        lanes[YY1][l] += yy * x;
        lanes[YX1][l] += yx * x;
        lanes[XX1][l] += xx * x;
        lanes[YY2][l] += yy * x * x;
        lanes[YX2][l] += yx * x * x;
        lanes[XX2][l] += xx * x * x;
        lanes[YM][l] += ym;
        lanes[XM][l] += xm;
        lanes[YM1][l] += ym * x;
        lanes[XM1][l] += xm * x;
        lanes[YT][l] += yt;
        lanes[XT][l] += xt;
        lanes[YT1][l] += yt * x;
        lanes[XT1][l] += xt * x;
        lanes[MM][l] += m * m;
        lanes[MT][l] += m * t;
        lanes[TT][l] += t * t;
    }
}

static void add_row(float rows[N_ROW], const float *moved, const float *inside, const float *target, size_t W, size_t first,
                    size_t last, float cx) {
    float lanes[N_ROW][LANES] = {{0}};
    size_t x = first;
    for (; x + LANES <= last; x += LANES) add_lanes(lanes, moved + x, inside + x, target + x, W, (float)x - cx, LANES);
    add_lanes(lanes, moved + x, inside + x, target + x, W, (float)x - cx, last - x);
    for (size_t k = 0; k < N_ROW; k++) {
        const float *v = lanes[k];
        rows[k] = ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
    }
}

/* One row's sums, at height y, into those of the picture. s = g_i times (y, x, 1): entry (i, u) (j, v) of the matrix is the sum
 * of g_i g_j u v. */
static void add_sums(struct sums *sums, const float row[N_ROW], double y) {
    static const int PAIRED[2][2] = {{YY, YX}, {YX, XX}};
    static const int FACTOR[N] = {0, 1, 0, 1, 2, 2}, GRADIENT[N] = {0, 0, 1, 1, 0, 1}; /* times y, x or 1; gy or gx */
    for (int i = 0; i < N; i++) {
        const double mine = FACTOR[i] == 0 ? y : 1;
        const int x_i = FACTOR[i] == 1, step = GRADIENT[i];
        sums->moved[i] += mine * (double)row[YM + 2 * x_i + step];
        sums->target[i] += mine * (double)row[YT + 2 * x_i + step];
        for (int j = 0; j < N; j++) {
            const double both = mine * (FACTOR[j] == 0 ? y : 1);
            const int power = x_i + (FACTOR[j] == 1);
            sums->matrix[i][j] += both * (double)row[PAIRED[GRADIENT[i]][GRADIENT[j]] + 3 * power];
        }
    }
    sums->square += (double)row[MM];
    sums->product += (double)row[MT];
    sums->target_square += (double)row[TT];
}

static void sum_pair(struct sums *sums, const float *a, const float *b, const double map[N], const double back[4],
                     const struct smri_registration *how) {
    float moved[MAX_WIDTH], inside[MAX_WIDTH];
    const size_t margin = how->margin_px + 1, W = how->W; /* of the target: strictly within, and with neighbours */
    const float cx = 0.5f * (float)(W - 1);
    memset(sums, 0, sizeof *sums);
    for (size_t y = margin; y + margin < how->H; y++) {
        move_row(moved, inside, (struct picture){a, how->H, W}, back, map, y, margin, W - margin, (float)how->margin_px);
        float row[N_ROW];
        add_row(row, moved, inside, b + y * W, W, margin, W - margin, cx);
        add_sums(sums, row, (double)y - 0.5 * (double)(how->H - 1));
    }
}

/* x of A x = b by Cholesky's factors, A symmetric and positive: the ridge sees to that. */
static void solve(double x[N], double A[N][N], const double b[N]) {
    for (int j = 0; j < N; j++)
        for (int i = j; i < N; i++) {
            double sum = A[i][j];
            for (int k = 0; k < j; k++) sum -= A[i][k] * A[j][k];
            A[i][j] = i == j ? sqrt(sum > 1e-12 ? sum : 1e-12) : sum / A[j][j];
        }
    for (int i = 0; i < N; i++) {
        x[i] = b[i];
        for (int k = 0; k < i; k++) x[i] -= A[i][k] * x[k];
        x[i] /= A[i][i];
    }
    for (int i = N - 1; i >= 0; i--) {
        for (int k = i + 1; k < N; k++) x[i] -= A[k][i] * x[k];
        x[i] /= A[i][i];
    }
}

/* The map followed by 1 + d. Whether d was next to nothing. */
static bool follow(double map[N], struct sums *sums) {
    double d[N], right[N];
    const double gain = sums->product / (sums->square + 1e-9);
    for (int i = 0; i < N; i++) {
        right[i] = gain * sums->moved[i] - sums->target[i];
        sums->matrix[i][i] += RIDGE;
    }
    solve(d, sums->matrix, right);
    bool arrived = true;
    for (int i = 0; i < N; i++) {
        d[i] = d[i] > GREATEST[i] ? GREATEST[i] : d[i] < -GREATEST[i] ? -GREATEST[i] : d[i];
        arrived &= fabs(d[i]) < ARRIVED[i];
    }
    const double old[N] = {map[0], map[1], map[2], map[3], map[4], map[5]};
    for (int k = 0; k < 2; k++) {
        map[k] = (1 + d[0]) * old[k] + d[1] * old[2 + k];
        map[2 + k] = d[2] * old[k] + (1 + d[3]) * old[2 + k];
    }
    map[4] = (1 + d[0]) * old[4] + d[1] * old[5] + d[4];
    map[5] = d[2] * old[4] + (1 + d[3]) * old[5] + d[5];
    return arrived;
}

static float register_pair(double map[N], const float *a, const float *b, const struct smri_registration *how) {
    double start[N], back[4];
    memcpy(start, map, sizeof start);
    struct sums sums;
    bool arrived = false;
    for (size_t step = 0;; step++) {
        if (!invert(back, map)) return 0;
        sum_pair(&sums, a, b, map, back, how);
        if (step == how->steps || arrived) break;
        arrived = follow(map, &sums);
        if (fabs(map[0] * map[3] - map[1] * map[2]) < 0.1) memcpy(map, start, sizeof start);
    }
    return (float)(fabs(sums.product) / sqrt(sums.square * sums.target_square + 1e-9));
}

void smri_register_affine(double *maps, float *match, const float *a, const float *b, const struct smri_registration *how) {
    const size_t plane = how->H * how->W;
    for (size_t p = 0; p < how->P; p++)
        match[p] = register_pair(maps + p * N, a + p * plane, b + p * plane, how);
}
