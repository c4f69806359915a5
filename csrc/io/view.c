/* One view: geometry, then brightness, contrast, gamma and blur.
 *
 * Without rotation and shift the view is the crop, resized by the separable antialiased filter of taps.h: what
 * torchvision's RandomResizedCrop computes. Otherwise one affine map is sampled linearly,
 *
 *     source = centre of the crop + shift + R(angle) (((j + 1/2) / cols - 1/2) width, ((i + 1/2) / rows - 1/2) height)
 *
 * and where the crop is larger than the view the whole image is first shrunk, by the same filter, to the scale at which a
 * view pixel is at most one image pixel wide: linear sampling of it then does not alias. Flips mirror the finished view,
 * so a flipped view is the mirror image of the other to the bit. */
#include "io/view.h"

#include <math.h>
#include <string.h>

#include "io/taps.h"
#include "smri/memory.h"

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

size_t blur_radius(float sigma) { return (size_t)ceilf(3.0f * sigma); }

enum { ROW, MIDDLE, IMAGE, PLANES, LINES, WEIGHTS, X_WEIGHTS, Y_WEIGHTS, AXIS_FIRST, X_FIRST, Y_FIRST, BLUR, PIECES };

/* The one table of the workspace. An axis of n_in samples shrunk or grown to n_out has n_out * taps weights, at most
 * n_out * (2 (n_in / n_out + 1) + 1) <= 2 n_in + 3 n_out. */
static smri_status piece_sizes(size_t bytes[PIECES], const struct view_shape *s, size_t max_radius) {
    const size_t across = larger(s->W, s->cols), down = larger(s->H, s->rows), C = s->C;
    const size_t taps = larger(2 * max_radius + 1, 2 * (s->H / s->rows + 1) + 1);
    const size_t factors[PIECES][4] = {
        [ROW] = {sizeof(float), across + 2 * max_radius, C, 1},
        [MIDDLE] = {sizeof(float), down, across, C},
        [IMAGE] = {sizeof(float), down, across, C},
        [PLANES] = {sizeof(float), s->H + 1, s->W + 1, C},
        [LINES] = {sizeof(float *), taps, 1, 1},
        [WEIGHTS] = {sizeof(double), 5, larger(across, down), 1},
        [X_WEIGHTS] = {sizeof(float), 5, across, C},
        [Y_WEIGHTS] = {sizeof(float), 5, down, 1},
        [AXIS_FIRST] = {sizeof(int32_t), larger(across, down), 1, 1},
        [X_FIRST] = {sizeof(int32_t), across, C, 1},
        [Y_FIRST] = {sizeof(int32_t), down, 1, 1},
        [BLUR] = {sizeof(float), 2 * max_radius + 1, 1, 1},
    };
    for (size_t i = 0; i < PIECES; i++) {
        const smri_status status = smri_size_product(&bytes[i], "augmentation workspace", 4, factors[i]);
        if (status != SMRI_OK) return status;
        if (bytes[i] > SIZE_MAX / 2) return smri_fail(SMRI_MEMORY, "augmentation workspace: the size overflows");
        bytes[i] = smri_align(bytes[i]);
    }
    return SMRI_OK;
}

smri_status view_workspace_bytes(size_t *bytes, const struct view_shape *shape, size_t max_radius) {
    size_t pieces[PIECES], sum = 0;
    const smri_status status = piece_sizes(pieces, shape, max_radius);
    if (status != SMRI_OK) return status;
    for (size_t i = 0; i < PIECES; i++)
        if (!smri_size_add(sum, pieces[i], &sum)) return smri_fail(SMRI_MEMORY, "augmentation workspace: the size overflows");
    *bytes = sum;
    return SMRI_OK;
}

void view_workspace_carve(struct view_workspace *out, void *block, const struct view_shape *shape, size_t max_radius) {
    size_t pieces[PIECES];
    void *at[PIECES];
    (void)piece_sizes(pieces, shape, max_radius); /* succeeded for the same shape in view_workspace_bytes */
    char *next = block;
    for (size_t i = 0; i < PIECES; next += pieces[i], i++) at[i] = next;
    *out = (struct view_workspace){at[ROW],       at[MIDDLE],    at[IMAGE],      at[PLANES],  at[LINES],   at[WEIGHTS],
                                   at[X_WEIGHTS], at[Y_WEIGHTS], at[AXIS_FIRST], at[X_FIRST], at[Y_FIRST], at[BLUR]};
}

/* A part of an image of bytes. */
struct window {
    const uint8_t *pixels;
    size_t height, width, row_bytes;
};

/* Taps of the columns, one list for each tap over all elements of a row: [taps][cols * C]. */
static void fill_columns(const struct view_workspace *ws, size_t width, size_t cols, size_t C) {
    const size_t taps = taps_count(width, cols);
    taps_fill(ws->axis_first, ws->weights, width, cols);
    for (size_t x = 0; x < cols; x++)
        for (size_t c = 0; c < C; c++) {
            ws->x_first[x * C + c] = (int32_t)((size_t)ws->axis_first[x] * C + c);
            for (size_t t = 0; t < taps; t++) ws->x_weights[(t * cols + x) * C + c] = (float)ws->weights[x * taps + t];
        }
}

static void fill_rows(const struct view_workspace *ws, size_t height, size_t rows) {
    const size_t taps = taps_count(height, rows);
    taps_fill(ws->y_first, ws->weights, height, rows);
    for (size_t i = 0; i < rows * taps; i++) ws->y_weights[i] = (float)ws->weights[i];
}

/* out[rows][cols][C] = the window / 255, resized; an axis whose size stays is taken as it is. */
static void resample(float *out, const struct window *in, size_t rows, size_t cols, size_t C,
                     const struct view_workspace *ws, const struct smri_pixel_kernels *kernels) {
    const size_t line = cols * C, x_taps = taps_count(in->width, cols), y_taps = taps_count(in->height, rows);
    float *wide = rows == in->height ? out : ws->middle;
    if (cols != in->width) fill_columns(ws, in->width, cols, C);
    for (size_t y = 0; y < in->height; y++) {
        const uint8_t *pixels = in->pixels + y * in->row_bytes;
        if (cols == in->width) {
            kernels->scale_u8(wide + y * line, pixels, line);
            continue;
        }
        kernels->scale_u8(ws->row, pixels, in->width * C);
        kernels->interpolate(wide + y * line, ws->row, ws->x_first, ws->x_weights, x_taps, C, line);
    }
    if (rows == in->height) return;
    fill_rows(ws, in->height, rows);
    for (size_t y = 0; y < rows; y++) {
        for (size_t t = 0; t < y_taps; t++) ws->lines[t] = wide + ((size_t)ws->y_first[y] + t) * line;
        kernels->combine(out + y * line, ws->lines, ws->y_weights + y * y_taps, y_taps, line);
    }
}

/* The planes of an interleaved image, the last row and column repeated. */
static void fill_planes(float *planes, const float *image, size_t H, size_t W, size_t C) {
    const size_t stride = W + 1;
    for (size_t c = 0; c < C; c++) {
        float *plane = planes + c * (H + 1) * stride;
        for (size_t y = 0; y < H; y++) {
            float *row = plane + y * stride;
            for (size_t x = 0; x < W; x++) row[x] = image[(y * W + x) * C + c];
            row[W] = row[W - 1];
        }
        memcpy(plane + H * stride, plane + (H - 1) * stride, stride * sizeof *plane);
    }
}

/* The side to which n image pixels shrink so that a view pixel spans at most one of them. */
static size_t shrunk(size_t n, size_t crop, size_t view) {
    return crop <= view ? n : (n * view + crop - 1) / crop;
}

static void render_affine(float *out, const uint8_t *image, const struct smri_view *view, const struct view_shape *s,
                          const struct view_workspace *ws, const struct smri_pixel_kernels *kernels) {
    const size_t H = shrunk(s->H, view->height, s->rows), W = shrunk(s->W, view->width, s->cols), C = s->C;
    const struct window whole = {image, s->H, s->W, s->W * C};
    resample(ws->image, &whole, H, W, C, ws, kernels);
    fill_planes(ws->planes, ws->image, H, W, C);

    const double to_x = (double)W / (double)s->W, to_y = (double)H / (double)s->H; /* image to shrunk image */
    const double width = (double)view->width, height = (double)view->height;
    const double centre_x = (double)view->left + width * (0.5 + (double)view->shift_x);
    const double centre_y = (double)view->top + height * (0.5 + (double)view->shift_y);
    const double angle = (double)view->rotation_deg * (3.141592653589793 / 180.0);
    const double step = width / (double)s->cols, start = 0.5 * step - 0.5 * width;
    const double cosine = cos(angle), sine = sin(angle);
    const float dx = (float)(step * cosine * to_x), dy = (float)(step * sine * to_y);
    for (size_t i = 0; i < s->rows; i++) {
        const double across = start, down = (((double)i + 0.5) / (double)s->rows - 0.5) * height;
        const double x = (centre_x + across * cosine - down * sine) * to_x - 0.5;
        const double y = (centre_y + across * sine + down * cosine) * to_y - 0.5;
        float *row = out + i * s->cols * C;
        for (size_t c = 0; c < C; c++) {
            const struct smri_plane plane = {ws->planes + c * (H + 1) * (W + 1), H, W, W + 1};
            float *target = C == 1 ? row : ws->row;
            kernels->sample(target, &plane, (float)x, (float)y, dx, dy, s->cols);
            for (size_t j = 0; C > 1 && j < s->cols; j++) row[j * C + c] = target[j];
        }
    }
}

static void mirror_columns(float *out, const struct view_shape *s, float *restrict scratch) {
    const size_t line = s->cols * s->C;
    for (size_t y = 0; y < s->rows; y++) {
        float *row = out + y * line;
        memcpy(scratch, row, line * sizeof *row);
        if (s->C == 1) { /* a loop of its own, which compilers turn into reversed vectors */
            for (size_t x = 0; x < s->cols; x++) row[x] = scratch[s->cols - 1 - x];
            continue;
        }
        for (size_t x = 0; x < s->cols; x++)
            for (size_t c = 0; c < s->C; c++) row[x * s->C + c] = scratch[(s->cols - 1 - x) * s->C + c];
    }
}

static void mirror_rows(float *out, const struct view_shape *s, float *scratch) {
    const size_t line = s->cols * s->C;
    for (size_t y = 0; y < s->rows / 2; y++) {
        float *upper = out + y * line, *lower = out + (s->rows - 1 - y) * line;
        memcpy(scratch, upper, line * sizeof *upper);
        memcpy(upper, lower, line * sizeof *upper);
        memcpy(lower, scratch, line * sizeof *upper);
    }
}

/* In place: columns first, row by row through a copy with its ends repeated, then rows by way of `image`. */
static void blur(float *out, float sigma, const struct view_shape *s, const struct view_workspace *ws,
                 const struct smri_pixel_kernels *kernels) {
    const size_t radius = blur_radius(sigma), taps = 2 * radius + 1, C = s->C, line = s->cols * C;
    double sum = 0.0;
    for (size_t t = 0; t < taps; t++) {
        const double distance = ((double)t - (double)radius) / (double)sigma;
        sum += exp(-0.5 * distance * distance);
    }
    for (size_t t = 0; t < taps; t++) {
        const double distance = ((double)t - (double)radius) / (double)sigma;
        ws->blur_weights[t] = (float)(exp(-0.5 * distance * distance) / sum);
    }
    for (size_t t = 0; t < taps; t++) ws->lines[t] = ws->row + t * C;
    for (size_t y = 0; y < s->rows; y++) {
        const float *row = out + y * line;
        for (size_t x = 0; x < radius; x++)
            for (size_t c = 0; c < C; c++) {
                ws->row[x * C + c] = row[c];
                ws->row[(radius + s->cols + x) * C + c] = row[line - C + c];
            }
        memcpy(ws->row + radius * C, row, line * sizeof *row);
        kernels->combine(ws->image + y * line, ws->lines, ws->blur_weights, taps, line);
    }
    for (size_t y = 0; y < s->rows; y++) {
        for (size_t t = 0; t < taps; t++) {
            const size_t below = y + t < radius ? 0 : y + t - radius;
            ws->lines[t] = ws->image + (below < s->rows ? below : s->rows - 1) * line;
        }
        kernels->combine(out + y * line, ws->lines, ws->blur_weights, taps, line);
    }
}

void view_render(float *out, const uint8_t *image, const struct smri_view *view, const struct view_shape *s,
                 const struct view_workspace *ws, const struct smri_pixel_kernels *kernels) {
    const size_t n = s->rows * s->cols * s->C;
    if (view->rotation_deg == 0.0f && view->shift_x == 0.0f && view->shift_y == 0.0f) {
        const uint8_t *corner = image + (view->top * s->W + view->left) * s->C;
        const struct window crop = {corner, view->height, view->width, s->W * s->C};
        resample(out, &crop, s->rows, s->cols, s->C, ws, kernels);
    } else render_affine(out, image, view, s, ws, kernels);
    if (view->flip_horizontal) mirror_columns(out, s, ws->row);
    if (view->flip_vertical) mirror_rows(out, s, ws->row);
    if (view->brightness != 1.0f) kernels->adjust(out, n, view->brightness, 0.0f);
    if (view->contrast != 1.0f) {
        const float mean = (float)(kernels->sum(out, n) / (double)n);
        kernels->adjust(out, n, view->contrast, mean - view->contrast * mean);
    }
    if (view->gamma != 1.0f) kernels->power(out, n, view->gamma);
    if (view->blur_sigma > 0.0f) blur(out, view->blur_sigma, s, ws, kernels);
}
