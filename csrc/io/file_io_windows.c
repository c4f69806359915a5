/* What file_io.c does, by the calls of Windows: paths are UTF-8 here and UTF-16 there, and MoveFileExW replaces a file in one
 * step. Compiled by mingw-w64; not run so far. */
#if defined(_WIN32)
#include "smri/image.h"

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <process.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <windows.h>

#include "io/raster.h"

#define PIECE ((size_t)1 << 30) /* _read and _write count in int */

static smri_status refuse(const char *path, const char *what, int code) {
    char text[128];
    if (strerror_s(text, sizeof text, code) != 0) text[0] = '\0';
    const smri_status kind = code == ENOMEM ? SMRI_MEMORY : SMRI_IO;
    const smri_status status = smri_fail(kind, "%s: %s: %s", message_name(path), what, text);
    errno = code;
    return status;
}

/* From malloc; NULL with errno. */
static wchar_t *wide(const char *path) {
    const int n = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, NULL, 0);
    wchar_t *name = n > 0 ? malloc((size_t)n * sizeof *name) : NULL;
    if (name == NULL) errno = n > 0 ? ENOMEM : EINVAL;
    else MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, name, n);
    return name;
}

static smri_status read_all(uint8_t **out, size_t *n_bytes, int fd, size_t size, const char *path) {
    uint8_t *bytes = malloc(size + 1);
    if (bytes == NULL) return smri_fail(SMRI_MEMORY, "%s: %zu bytes refused by the system", message_name(path), size);
    size_t n = 0;
    while (n < size) {
        const int got = _read(fd, bytes + n, (unsigned)(size - n < PIECE ? size - n : PIECE));
        if (got < 0) {
            const int code = errno;
            free(bytes);
            return refuse(path, "cannot be read", code);
        }
        if (got == 0) break; /* it shrank meanwhile: the decoder will say what is missing */
        n += (size_t)got;
    }
    *out = bytes;
    *n_bytes = n;
    return SMRI_OK;
}

smri_status smri_file_read(uint8_t **out, size_t *n_bytes, const char *path, size_t most) {
    *out = NULL;
    *n_bytes = 0;
    wchar_t *name = wide(path);
    const int fd = name == NULL ? -1 : _wopen(name, _O_RDONLY | _O_BINARY | _O_NOINHERIT);
    const int code = errno;
    free(name);
    if (fd < 0) return refuse(path, "cannot be opened", code);
    struct _stat64 about;
    smri_status status;
    if (_fstat64(fd, &about) != 0) status = refuse(path, "cannot be examined", errno);
    else if ((about.st_mode & _S_IFMT) != _S_IFREG) status = refuse(path, "not a regular file", EINVAL);
    else if (about.st_size == 0) status = smri_fail(SMRI_DECODE, "%s: an empty file", message_name(path));
    else if ((uint64_t)about.st_size > most)
        status = smri_fail(SMRI_DECODE, "%s: a file of %lld bytes, expected at most %zu: raise max_pixels",
                           message_name(path), (long long)about.st_size, most);
    else status = read_all(out, n_bytes, fd, (size_t)about.st_size, path);
    const int after = errno;
    _close(fd);
    errno = after;
    return status;
}

/* Writes a new file and, if `sync`, flushes it to the disk. 0, or the errno. */
static int write_new(const wchar_t *name, const uint8_t *bytes, size_t n, bool sync) {
    const int fd = _wopen(name, _O_WRONLY | _O_CREAT | _O_EXCL | _O_BINARY | _O_NOINHERIT, _S_IREAD | _S_IWRITE);
    if (fd < 0) return errno;
    int code = 0;
    while (n > 0 && code == 0) {
        const int put = _write(fd, bytes, (unsigned)(n < PIECE ? n : PIECE));
        if (put < 0) code = errno;
        else bytes += put, n -= (size_t)put;
    }
    if (code == 0 && sync && _commit(fd) != 0) code = errno;
    if (_close(fd) != 0 && code == 0) code = errno;
    return code;
}

smri_status smri_file_replace(const char *path, const void *bytes, size_t n_bytes, bool sync) {
    static atomic_uint counter;
    wchar_t *target = wide(path);
    if (target == NULL) return refuse(path, "cannot be written", errno);
    const size_t length = wcslen(target) + 40;
    wchar_t *temporary = malloc(length * sizeof *temporary);
    int code = temporary == NULL ? ENOMEM : 0;
    if (code == 0) {
        _snwprintf(temporary, length, L"%ls.%d-%u.tmp", target, _getpid(), atomic_fetch_add(&counter, 1));
        const DWORD how = MOVEFILE_REPLACE_EXISTING | (sync ? MOVEFILE_WRITE_THROUGH : 0);
        code = write_new(temporary, bytes, n_bytes, sync);
        if (code == 0 && !MoveFileExW(temporary, target, how)) code = EACCES;
        if (code != 0 && code != EEXIST) _wunlink(temporary);
    }
    free(temporary);
    free(target);
    return code != 0 ? refuse(path, "cannot be written", code) : SMRI_OK;
}
#endif
