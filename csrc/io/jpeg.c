/* JPEG by libjpeg-turbo, the one home of jpeglib.h: baseline, extended and progressive Huffman (ITU-T T.81), with the
 * library's default transform (accurate integer) and "fancy" chroma upsampling, which is what Pillow decodes too.
 *
 * A warning of the library means that it made pixels up: here it is an error, because a scan that ends in grey bands
 * would be learnt from. Two warnings that concern only the header's metadata pass, and one about bytes between the
 * header's segments, which is noted. CMYK (inverted, as Adobe writes it, whoever wrote it) becomes RGB as in Pillow. */
#include "io/raster.h"

#include <limits.h>
#include <setjmp.h>
#include <stdio.h> /* jpeglib.h needs size_t and FILE */
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "smri/build.h"

/* A progressive file may hold any number of scans, each of which costs a pass over the image. libjpeg writes 10, an
 * encoder that searches for the smallest file up to about 25. */
#define MAX_SCANS 64

struct reader {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    const char *name;
    smri_status status;
    bool extraneous;
    JSAMPLE *cmyk; /* one row of a CMYK file */
};

static struct reader *reader_of(j_common_ptr jpeg) { return jpeg->client_data; }

/* Files that are whole, of a kind that the library does not read; NULL for any other error. */
static const char *unsupported_kind(const struct jpeg_error_mgr *error) {
    const int code = error->msg_code, parameter = error->msg_parm.i[0];
    if (code == JERR_BAD_PRECISION) return parameter == 12 ? "a 12-bit JPEG" : "a JPEG of other than 8 bits a sample";
    if (code == JERR_SOF_UNSUPPORTED && (parameter == 0xC3 || parameter == 0xC7 || parameter == 0xCB || parameter == 0xCF))
        return "a lossless JPEG";
    if (code == JERR_UNKNOWN_MARKER && parameter == 0xF7) return "a JPEG-LS file";
    if (code == JERR_SOF_UNSUPPORTED) return "a hierarchical JPEG";
    if (code == JERR_ARITH_NOTIMPL) return "a JPEG with arithmetic coding";
    if (code == JERR_CONVERSION_NOTIMPL || code == JERR_CCIR601_NOTIMPL || code == JERR_FRACT_SAMPLE_NOTIMPL)
        return "a JPEG with an unusual colour sampling";
    return NULL;
}

static void fail_and_jump(j_common_ptr jpeg) {
    struct reader *reader = reader_of(jpeg);
    char text[JMSG_LENGTH_MAX];
    const int code = jpeg->err->msg_code;
    jpeg->err->format_message(jpeg, text);
    static const char prefix[] = "Corrupt JPEG data: "; /* ours says so already */
    const char *fact = strncmp(text, prefix, sizeof prefix - 1) == 0 ? text + sizeof prefix - 1 : text;
    const char *unsupported = unsupported_kind(jpeg->err);
    if (unsupported != NULL)
        reader->status = smri_fail(SMRI_DECODE, "%s: not supported: %s, expected a baseline or progressive one of 8 bits",
                                   reader->name, unsupported);
    else if (code == JERR_OUT_OF_MEMORY)
        reader->status = smri_fail(SMRI_MEMORY, "%s: memory refused while decoding", reader->name);
    else if (code == JERR_NO_BACKING_STORE) /* what would not fit into the memory that it may take */
        reader->status = smri_fail(SMRI_DECODE, "%s: needs more than %ld bytes to decode: raise max_pixels", reader->name,
                                   jpeg->mem->max_memory_to_use);
    else if (code == JWRN_JPEG_EOF || code == JERR_INPUT_EOF || code == JERR_INPUT_EMPTY)
        reader->status = smri_fail(SMRI_DECODE, "%s: truncated JPEG data (%s)", reader->name, fact);
    else
        reader->status = smri_fail(SMRI_DECODE, "%s: corrupt JPEG data (%s)", reader->name, fact);
    longjmp(reader->jump, 1);
}

static void on_message(j_common_ptr jpeg, int level) {
    const int code = jpeg->err->msg_code;
    struct reader *reader = reader_of(jpeg);
    const bool metadata_only = code == JWRN_JFIF_MAJOR || code == JWRN_ADOBE_XFORM;
    const bool in_header = code == JWRN_EXTRANEOUS_DATA && reader->jpeg.input_scan_number == 0;
    reader->extraneous |= in_header;
    if (level < 0 && !metadata_only && !in_header) fail_and_jump(jpeg);
}

static void on_output(j_common_ptr jpeg) { (void)jpeg; }

static void on_progress(j_common_ptr jpeg) {
    struct reader *reader = reader_of(jpeg);
    if (reader->jpeg.input_scan_number <= MAX_SCANS) return;
    reader->status = smri_fail(SMRI_DECODE, "%s: more than %d scans in a JPEG", reader->name, MAX_SCANS);
    longjmp(reader->jump, 1);
}

static smri_status start(struct reader *reader, struct raster *out, const uint8_t *bytes, size_t n,
                         const struct limits *limits) {
    struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    jpeg_mem_src(jpeg, bytes, (unsigned long)n);
    jpeg_read_header(jpeg, TRUE);
    const smri_status status = raster_check(jpeg->image_height, jpeg->image_width, limits, reader->name);
    if (status != SMRI_OK) return status;
    switch (jpeg->jpeg_color_space) {
    case JCS_GRAYSCALE: jpeg->out_color_space = JCS_GRAYSCALE; break;
    case JCS_RGB:
    case JCS_YCbCr: jpeg->out_color_space = JCS_RGB; break;
    case JCS_CMYK:
    case JCS_YCCK: jpeg->out_color_space = JCS_CMYK; break;
    default:
        return smri_fail(SMRI_DECODE, "%s: a JPEG of %d components in an unknown colour space, expected gray or RGB",
                         reader->name, jpeg->num_components);
    }
    jpeg_start_decompress(jpeg);
    out->H = jpeg->output_height;
    out->W = jpeg->output_width;
    out->C = jpeg->output_components == 4 ? 3 : (size_t)jpeg->output_components;
    out->bits = 8;
    if (jpeg->output_components == 4 && (reader->cmyk = malloc(4 * out->W)) == NULL)
        return smri_fail(SMRI_MEMORY, "%s: memory refused while decoding", reader->name);
    return raster_alloc(out, reader->name);
}

/* round(a b / 255) */
static int product_255(int a, int b) {
    const int product = a * b + 128;
    return ((product >> 8) + product) >> 8;
}

/* Inverted CMYK, 255 for no ink: R = K C / 255 up to rounding, which is Pillow's. */
static void cmyk_to_rgb(uint8_t *restrict rgb, const JSAMPLE *restrict cmyk, size_t W) {
    for (size_t x = 0; x < W; x++)
        for (size_t c = 0; c < 3; c++) {
            const int black = cmyk[4 * x + 3], ink = 255 - cmyk[4 * x + c];
            const int value = black - product_255(ink, black);
            rgb[3 * x + c] = (uint8_t)(value < 0 ? 0 : value);
        }
}

static void read_row(struct reader *reader, uint8_t *out, size_t W) {
    JSAMPROW row = reader->cmyk != NULL ? reader->cmyk : out;
    jpeg_read_scanlines(&reader->jpeg, &row, 1);
    if (reader->cmyk != NULL) cmyk_to_rgb(out, reader->cmyk, W);
}

/* Everything that changes after setjmp lives behind pointers, so that longjmp finds it as it was left. */
static smri_status decode(struct reader *reader, struct raster *out, const uint8_t *bytes, size_t n,
                          const struct limits *limits) {
    if (setjmp(reader->jump)) return reader->status;
    jpeg_create_decompress(&reader->jpeg);
    reader->jpeg.mem->max_memory_to_use = limits->bytes < LONG_MAX ? (long)limits->bytes : LONG_MAX;
    reader->jpeg.progress = &reader->progress;
    const smri_status status = start(reader, out, bytes, n, limits);
    if (status != SMRI_OK) return status;
    while (reader->jpeg.output_scanline < reader->jpeg.output_height)
        read_row(reader, (uint8_t *)out->samples + (size_t)reader->jpeg.output_scanline * out->W * out->C, out->W);
    jpeg_finish_decompress(&reader->jpeg); /* reads to the end marker: a file cut after the last row is found too */
    return SMRI_OK;
}

smri_status jpeg_decode(struct raster *out, const uint8_t *bytes, size_t n, const char *name, const struct limits *limits) {
    struct reader reader = {.name = name};
    out->samples = NULL;
    reader.jpeg.err = jpeg_std_error(&reader.errors);
    reader.jpeg.client_data = &reader;
    reader.errors.error_exit = fail_and_jump;
    reader.errors.emit_message = on_message;
    reader.errors.output_message = on_output;
    reader.progress.progress_monitor = on_progress;
    const smri_status status = decode(&reader, out, bytes, n, limits);
    jpeg_destroy_decompress(&reader.jpeg);
    free(reader.cmyk);
    out->extraneous = reader.extraneous;
    if (status != SMRI_OK) {
        free(out->samples);
        out->samples = NULL;
    }
    return status;
}

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

const char *smri_jpeg_name(void) {
#ifdef LIBJPEG_TURBO_VERSION
    return "libjpeg-turbo " TEXT(LIBJPEG_TURBO_VERSION);
#else
    return "libjpeg " TEXT(JPEG_LIB_VERSION);
#endif
}
