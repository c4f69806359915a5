/* Batch normalisation's panels cut into tiles, which its passes share (batchnorm2d.c, batchnorm2d_backward.c).
 *
 * A group's rows x C panel is cut into tiles of fixed size. A reduction leaves one partial result for each tile and
 * channel, in double; the partial results are merged in ascending order, so the bits do not depend on the pool. */
#pragma once

#include "kernels/kernels.h"
#include "smri/batchnorm2d.h"
#include "smri/memory.h"

/* A tile of a reduction is at most 256 columns wide (2 KiB of double sums stay in the first-level cache beside the rows) and
 * holds about 2^16 numbers: the partial results of smaller ones take long to merge, those of larger ones would not balance
 * threads on small layers. A tile of a map holds 2^15: it leaves nothing to merge. */
#define SMRI_BATCHNORM2D_TILE_COLUMNS ((size_t)256)
#define SMRI_BATCHNORM2D_TILE_SUMMED ((size_t)1 << 16)
#define SMRI_BATCHNORM2D_TILE_MAPPED ((size_t)1 << 15)
#define SMRI_BATCHNORM2D_MERGED_COLUMNS ((size_t)64) /* columns that one task merges */

static inline bool is_large(const struct smri_batchnorm2d *shape) {
    return smri_is_streamed(shape->groups * shape->rows * shape->C * smri_precision_bytes(shape->precision));
}

static inline const struct smri_batchnorm_kernels *kernels_of(const struct smri_batchnorm2d *shape) {
    return &smri_kernels_get()->batchnorm[shape->precision];
}

struct cut {
    size_t rows, row_tiles, column_tiles; /* rows of a tile; tiles of one group, at most */
    bool in_parts;                        /* tiles begin at multiples of `rows` of all rows, not of a group's */
};

static inline struct cut cut_for_sums(const struct smri_batchnorm2d *shape) {
    const size_t columns = shape->C < SMRI_BATCHNORM2D_TILE_COLUMNS ? shape->C : SMRI_BATCHNORM2D_TILE_COLUMNS;
    size_t rows = SMRI_BATCHNORM2D_TILE_SUMMED / columns;
    rows = rows < 8 ? 8 : rows / 8 * 8; /* the kernels take eight rows at a time */
    const size_t column_tiles = smri_chunk_count(shape->C, SMRI_BATCHNORM2D_TILE_COLUMNS);
    return (struct cut){rows, smri_chunk_count(shape->rows, rows), column_tiles, false};
}

/* The parts of whoever makes the panel: one that reaches from one group into the next is cut there, so that a group
 * may have one more of them. */
static inline struct cut cut_in_parts(const struct smri_batchnorm2d *shape, size_t part_rows) {
    return (struct cut){part_rows, smri_chunk_count(shape->rows, part_rows) + (shape->groups > 1), 1, true};
}

/* A reduction's: in parts of a given size, or, with 0, as suits itself. */
static inline struct cut cut_for(const struct smri_batchnorm2d *shape, size_t part_rows) {
    return part_rows > 0 ? cut_in_parts(shape, part_rows) : cut_for_sums(shape);
}

static inline struct cut cut_for_maps(const struct smri_batchnorm2d *shape) {
    const size_t rows = shape->C < SMRI_BATCHNORM2D_TILE_MAPPED ? SMRI_BATCHNORM2D_TILE_MAPPED / shape->C : 1;
    return (struct cut){rows, smri_chunk_count(shape->rows, rows), 1, false};
}

static inline size_t tile_count(const struct smri_batchnorm2d *shape, const struct cut *cut) {
    return shape->groups * cut->row_tiles * cut->column_tiles;
}

/* The rows of a group, counted from its first one, that row tile `index` of it holds. */
struct rows {
    size_t first, end;
};

static inline struct rows rows_of(const struct smri_batchnorm2d *shape, const struct cut *cut, size_t group, size_t index) {
    const size_t skipped = cut->in_parts ? group * shape->rows % cut->rows : 0; /* the first part began before the group */
    const size_t first = index * cut->rows, end = first + cut->rows - skipped;
    return (struct rows){first > skipped ? first - skipped : 0, end < shape->rows ? end : shape->rows};
}

/* The row tile in which a row of a group lies, and how many the group has. */
static inline size_t row_tile_of(const struct smri_batchnorm2d *shape, const struct cut *cut, size_t group, size_t row) {
    return ((cut->in_parts ? group * shape->rows % cut->rows : 0) + row) / cut->rows;
}

static inline size_t row_tiles_of(const struct smri_batchnorm2d *shape, const struct cut *cut, size_t group) {
    return row_tile_of(shape, cut, group, shape->rows - 1) + 1;
}

/* One tile: its group, its rows and columns, and where it begins in x[groups][rows][C]. */
struct tile {
    size_t group, row_tile, rows, column, columns, offset;
};

/* Of a cut that is not in parts. */
static inline struct tile tile_at(const struct smri_batchnorm2d *shape, const struct cut *cut, size_t index) {
    struct tile tile;
    const size_t width = cut->column_tiles > 1 ? SMRI_BATCHNORM2D_TILE_COLUMNS : shape->C;
    tile.column = index % cut->column_tiles * width;
    tile.columns = shape->C - tile.column < width ? shape->C - tile.column : width;
    index /= cut->column_tiles;
    tile.row_tile = index % cut->row_tiles;
    tile.group = index / cut->row_tiles;
    const size_t first = tile.row_tile * cut->rows;
    tile.rows = smri_chunk_end(shape->rows, cut->rows, tile.row_tile) - first;
    tile.offset = (tile.group * shape->rows + first) * shape->C + tile.column;
    return tile;
}

/* Some columns of the rows of all groups from `first` on, up to `end` or the end of the first one's group. */
static inline struct tile tile_of_rows(const struct smri_batchnorm2d *shape, const struct cut *cut, size_t first, size_t end,
                                       size_t column, size_t columns) {
    const size_t group = first / shape->rows, group_end = (group + 1) * shape->rows;
    return (struct tile){group,  row_tile_of(shape, cut, group, first - group * shape->rows),
                         (end < group_end ? end : group_end) - first,
                         column, columns, first * shape->C + column};
}

/* The workspace: two partial sums for each row tile, group and channel, then the merged sums and the factors of dx. */
struct space {
    double *first, *second;         /* [groups][row_tiles][C] */
    double *sum_dy, *sum_dyx;       /* [groups][C] */
    float *dy_factor, *x_factor, *constant;
};

static inline struct space carve(void *workspace, const struct smri_batchnorm2d *shape, const struct cut *cut) {
    const size_t channels = shape->groups * shape->C, partial = channels * cut->row_tiles;
    struct space space;
    space.first = workspace;
    space.second = space.first + partial;
    space.sum_dy = space.second + partial;
    space.sum_dyx = space.sum_dy + channels;
    space.dy_factor = (float *)(space.sum_dyx + channels);
    space.x_factor = space.dy_factor + channels;
    space.constant = space.x_factor + channels;
    return space;
}

static inline size_t space_bytes(const struct smri_batchnorm2d *shape, struct cut cut) {
    const size_t channels = shape->groups * shape->C;
    return 2 * channels * (cut.row_tiles + 1) * sizeof(double) + 3 * channels * sizeof(float);
}

/* Where a tile's partial results go. */
static inline size_t partial_at(const struct smri_batchnorm2d *shape, const struct cut *cut, const struct tile *tile) {
    return (tile->group * cut->row_tiles + tile->row_tile) * shape->C + tile->column;
}

/* Some columns of one group, whose partial results one task merges. */
struct columns {
    size_t group, first, end;
    const double *sums, *others; /* [row_tiles][C], both */
    double *total, *other_total; /* [C], both */
};

static inline size_t merge_count(const struct smri_batchnorm2d *shape) {
    return shape->groups * smri_chunk_count(shape->C, SMRI_BATCHNORM2D_MERGED_COLUMNS);
}

static inline struct columns columns_at(const struct smri_batchnorm2d *shape, const struct cut *cut,
                                        const struct space *space, size_t index) {
    const size_t parts = smri_chunk_count(shape->C, SMRI_BATCHNORM2D_MERGED_COLUMNS), part = index % parts;
    const size_t group = index / parts;
    const size_t partial = group * cut->row_tiles * shape->C, channel = group * shape->C;
    return (struct columns){group,
                            part * SMRI_BATCHNORM2D_MERGED_COLUMNS,
                            smri_chunk_end(shape->C, SMRI_BATCHNORM2D_MERGED_COLUMNS, part),
                            space->first + partial,
                            space->second + partial,
                            space->sum_dy + channel,
                            space->sum_dyx + channel};
}
