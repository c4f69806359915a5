/* Images in memory and in files: JPEG and PNG decoding, PNG encoding, whole folders on the pool.
 *
 * Pixels are [H][W][C], C = 1 (gray) or 3 (RGB), as uint8 or as float32 in [0, 1]. The format is told by the first bytes,
 * never by the name. Alpha is composited over black. Samples become round(255 (v - low) / (high - low)) as uint8 and the
 * same without the 255 and the rounding as float, cut to the range; low is 0 and high what the file's 8 or 16 bits can
 * hold unless another range is asked for. RGB becomes gray by ITU-R BT.601 luma, (19595 R + 38470 G + 7471 B + 2^15) >> 16
 * for uint8. Colour profiles, gamma and the EXIF orientation are ignored. `name` is used in messages only. */
#ifndef SMRI_IMAGE_H
#define SMRI_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smri/api.h"
#include "smri/pool.h"
#include "smri/status.h"

SMRI_API_BEGIN

/* Which of the file's values become black and white. */
enum smri_range {
    SMRI_RANGE_FULL,       /* 0 and 255, or 0 and 65535 in a file of 16 bits */
    SMRI_RANGE_GIVEN,      /* low and high */
    SMRI_RANGE_PERCENTILE, /* the image's own 1st and 99th percentile; FULL where they are equal */
};

/* What a decoder may be asked for. Zeroes mean: keep the file's channels, uint8, all of the range, the limits below. */
struct smri_decode {
    size_t channels; /* 0 keeps gray or RGB, 1 gray, 3 RGB */
    bool as_float;
    enum smri_range range;
    uint32_t low, high; /* of SMRI_RANGE_GIVEN: low < high < 2^16 */
    size_t max_side_px; /* 0 means SMRI_MAX_SIDE_PX */
    size_t max_pixels;  /* 0 means SMRI_MAX_PIXELS; the largest file and the most memory follow from it */
};

#define SMRI_MAX_SIDE_PX ((size_t)65500)   /* what a JPEG can hold */
#define SMRI_MAX_PIXELS ((size_t)16 << 20) /* 4096 x 4096, 16 times the largest slice of a scanner: a decompression bomb is
                                              refused before anything is allocated */

/* What the file is like: its bits (8 or 16), how many it says mean something (0: nothing said), the least and the greatest
 * sample (of 16-bit files; 0, 255 of others), and whether bytes that belong to nothing were passed over in its header. */
struct smri_image_facts {
    uint16_t bits, stated_bits, low, high, extraneous;
};

struct smri_image {
    size_t H, W, C;
    bool is_float;
    void *pixels; /* uint8_t or float; freed by smri_image_free */
    struct smri_image_facts facts;
};

/* Decodes a whole file held in memory. SMRI_DECODE for content that is corrupt, truncated, of another format or larger
 * than the limits; SMRI_MEMORY when the system refuses memory. On failure *out is empty. */
smri_status smri_image_decode(struct smri_image *out, const void *bytes, size_t n_bytes, const char *name,
                              const struct smri_decode *options);
/* The same from a path; SMRI_IO, with errno set, where the system refuses the file. */
smri_status smri_image_read(struct smri_image *out, const char *path, const struct smri_decode *options);
void smri_image_free(struct smri_image *image); /* an empty one is fine */

/* How an image of another shape fills the size asked for. */
enum smri_fit {
    SMRI_FIT_STRETCH, /* rows and columns each by their own factor */
    SMRI_FIT_PAD,     /* all of it, centred, with black beside it */
    SMRI_FIT_CROP,    /* its centre, as much as has the shape */
};

/* A list of files to become one array. */
struct smri_files {
    const char *const *paths;
    size_t n;
    size_t channels;   /* 0: the channels of the first file that can be decoded */
    enum smri_fit fit;
    enum smri_range range;
    uint32_t low, high; /* as in struct smri_decode */
    struct smri_image_facts *facts; /* [n], filled for files that can be decoded; or NULL */
    size_t rows, cols; /* resized to this, antialiased; 0, 0: the size of the first file that can be decoded */
    size_t max_pixels; /* as in smri_decode */
};

/* What went wrong with one file. */
struct smri_failure {
    smri_status status; /* SMRI_OK: nothing */
    int os_error;       /* errno of SMRI_IO */
    char *message;      /* NULL only if memory for it was refused */
};

/* The shape that smri_files_decode will fill: false, with 0 0 and `channels`, when no file can be decoded. */
bool smri_files_shape(size_t *H, size_t *W, size_t *C, const struct smri_files *files);

/* Decodes all files into out[n][H][W][C] and returns how many failed: failures[i] tells why, and its rows are zero. A file
 * of another size or number of channels, where none was asked for, is a failure too: SMRI_SHAPE. The caller zeroes
 * failures[n] before and passes it to smri_failures_free afterwards. */
size_t smri_files_decode(uint8_t *out, struct smri_failure *failures, size_t H, size_t W, size_t C,
                         const struct smri_files *files, smri_pool *pool);
void smri_failures_free(struct smri_failure *failures, size_t n);

/* What a PNG is made of: pixels[H][W][C], C = 1 or 3, bits = 8 (uint8_t) or, for gray only, 16 (uint16_t). */
struct smri_png {
    const void *pixels;
    size_t H, W, C;
    unsigned bits;
    int compression; /* zlib's 0 to 9 */
};

/* A PNG in memory; *out is freed by free(). */
smri_status smri_png_encode(uint8_t **out, size_t *n_bytes, const struct smri_png *png);
/* A PNG in a file, by smri_file_replace. */
smri_status smri_png_write(const char *path, const struct smri_png *png, bool sync);

/* Replaces the file `path` by these bytes, or leaves it as it was: a temporary file in the same folder, fsync, rename.
 * Without `sync` nothing waits for the disk, for files in thousands: sync them all once at the end.
 * SMRI_IO, with errno set, and no temporary file left, when the system refuses. Only regular files are replaced;
 * a symbolic link stays and its target is replaced, and the permissions stay. */
smri_status smri_file_replace(const char *path, const void *bytes, size_t n_bytes, bool sync);

/* The whole regular file in memory, freed by free(). SMRI_IO with errno set, SMRI_MEMORY, SMRI_DECODE when empty or larger
 * than `most` bytes. */
smri_status smri_file_read(uint8_t **out, size_t *n_bytes, const char *path, size_t most);

SMRI_API_END

#endif
