/* The message lives in thread-local storage: no allocation, so it works when memory is what failed. */
#include "smri/status.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char message[512];

static char *own_message(void) {
    char *volatile own = message; /* volatile: asking for the address is what makes the system allocate it */
    return own;
}

smri_status smri_fail(smri_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(own_message(), sizeof message, format, arguments);
    va_end(arguments);
    return status;
}

const char *smri_message(void) { return own_message(); }
