/* Status codes and the message that goes with them.
 *
 * Everything a caller can get wrong, a file can contain or a machine can refuse returns an smri_status. The place that
 * knows the fact calls smri_fail(), which stores a sentence for smri_message() and returns the status, so that
 * `return smri_fail(SMRI_SHAPE, "expected 3 channels, got %zu", c);` is the whole idiom. */
#ifndef SMRI_STATUS_H
#define SMRI_STATUS_H

#include "smri/api.h"

SMRI_API_BEGIN

typedef enum smri_status {
    SMRI_OK = 0,
    SMRI_ARGUMENT,    /* a value is outside its documented range */
    SMRI_SHAPE,       /* sizes do not fit each other */
    SMRI_MEMORY,      /* the machine refused memory, or a size overflows */
    SMRI_IO,          /* the operating system refused a file: errno is in the message */
    SMRI_DECODE,      /* a file's content is not what its format says */
    SMRI_NUMERIC,     /* NaN or infinity in a loss or a gradient */
    SMRI_INTERRUPTED, /* the poll callback asked to stop */
    SMRI_UNSUPPORTED, /* valid, but this build or this CPU cannot do it */
} smri_status;

#if defined(__MINGW32__) && !defined(__clang__) /* %zu, which the C library of old Windows did not know */
#define SMRI_PRINTF gnu_printf
#else
#define SMRI_PRINTF printf
#endif

/* Stores the formatted message for this thread (at most 511 bytes) and returns `status`. */
smri_status smri_fail(smri_status status, const char *format, ...) __attribute__((format(SMRI_PRINTF, 2, 3)));

/* The message of this thread's latest failure; never NULL, valid until the next failure on this thread. */
const char *smri_message(void);

SMRI_API_END

#endif
