/* The message lives in thread-local storage: no allocation, so it works when memory is what failed. */
#include "smri/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[512];

static char *own_message(void) {
    char *volatile own = message; /* volatile: asking for the address is what makes the system allocate it */
    return own;
}

/* Cuts off the beginning of a UTF-8 character whose rest is missing (10xxxxxx continues one, 11xxxxxx begins one). */
static void drop_incomplete(char *text) {
    const size_t end = strlen(text);
    size_t start = end;
    while (start > 0 && end - start < 3 && ((unsigned char)text[start - 1] & 0xC0) == 0x80) start--;
    if (start == 0 || (unsigned char)text[start - 1] < 0xC0) return;
    const unsigned char lead = (unsigned char)text[--start];
    const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (end - start < length) text[start] = '\0';
}

smri_status smri_fail(smri_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(own_message(), sizeof message, format, arguments);
    va_end(arguments);
    if (length >= (int)sizeof message) drop_incomplete(message);
    return status;
}

const char *smri_message(void) { return own_message(); }
