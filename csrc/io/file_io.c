/* Files as a whole: read into memory with a bound, and replaced in one step, so that a full disk or a killed process
 * leaves either the old file or the new one. Only regular files: a pipe would hang the caller, and renaming over a device
 * would remove it. */
#if !defined(_WIN32) /* file_io_windows.c */
#define _GNU_SOURCE
#include "smri/image.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/raster.h"

static const char *cause(int code, char *text, size_t n_bytes) {
#if defined(__GLIBC__)
    return strerror_r(code, text, n_bytes);
#else /* that of POSIX */
    return strerror_r(code, text, n_bytes) == 0 ? text : "unknown cause";
#endif
}

/* The message and errno of a refused call; `code` because closing and unlinking on the way may change errno. */
static smri_status refuse(const char *path, const char *what, int code) {
    char text[128];
    const smri_status kind = code == ENOMEM ? SMRI_MEMORY : SMRI_IO;
    const smri_status status = smri_fail(kind, "%s: %s: %s", message_name(path), what, cause(code, text, sizeof text));
    errno = code;
    return status;
}

static smri_status read_all(uint8_t **out, size_t *n_bytes, int fd, size_t size, const char *path) {
    uint8_t *bytes = malloc(size + 1);
    if (bytes == NULL) return smri_fail(SMRI_MEMORY, "%s: %zu bytes refused by the system", message_name(path), size);
    size_t n = 0;
    while (n < size) {
        const ssize_t got = read(fd, bytes + n, size - n);
        if (got < 0 && errno == EINTR) continue;
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
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer must not hang */
    if (fd < 0) return refuse(path, "cannot be opened", errno);
    struct stat about;
    smri_status status;
    if (fstat(fd, &about) != 0) status = refuse(path, "cannot be examined", errno);
    else if (S_ISDIR(about.st_mode)) status = refuse(path, "cannot be read", EISDIR);
    else if (!S_ISREG(about.st_mode)) status = refuse(path, "not a regular file", EINVAL);
    else if (about.st_size == 0) status = smri_fail(SMRI_DECODE, "%s: an empty file", message_name(path));
    else if ((uintmax_t)about.st_size > most)
        status = smri_fail(SMRI_DECODE, "%s: a file of %ju bytes, expected at most %zu: raise max_pixels", message_name(path),
                           (uintmax_t)about.st_size, most);
    else status = read_all(out, n_bytes, fd, (size_t)about.st_size, path);
    const int code = errno;
    close(fd);
    errno = code;
    return status;
}

/* Opens a new file "<path>.<process>-<counter>.tmp"; open() instead of mkstemp() because it honours the umask. */
static int open_temporary(char **name, const char *path) {
    static atomic_uint counter;
    for (int attempt = 0; attempt < 100; attempt++) {
        const unsigned number = atomic_fetch_add(&counter, 1);
        if (asprintf(name, "%s.%ld-%u.tmp", path, (long)getpid(), number) < 0) {
            *name = NULL;
            errno = ENOMEM;
            return -1;
        }
        const int fd = open(*name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) return fd;
        free(*name);
        *name = NULL;
    }
    return -1;
}

static int write_all(int fd, const uint8_t *bytes, size_t n) {
    while (n > 0) {
        const ssize_t put = write(fd, bytes, n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return -1;
        bytes += put;
        n -= (size_t)put;
    }
    return 0;
}

/* Makes the rename itself durable. A folder that cannot be opened or synced costs nothing but that. */
static void sync_folder(const char *path) {
    char *copy = strdup(path);
    if (copy == NULL) return;
    const int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    free(copy);
}

/* The file at the end of symbolic links, whether or not it exists: from malloc, or NULL with errno. */
static char *follow_links(const char *path) {
    char *name = strdup(path);
    for (int hops = 0; name != NULL && hops < 40; hops++) {
        char link[PATH_MAX];
        const ssize_t length = readlink(name, link, sizeof link - 1);
        if (length < 0) return name; /* no link; what else is wrong, opening it will tell */
        link[length] = '\0';
        char *next = NULL;
        const char *slash = strrchr(name, '/');
        const int folder = link[0] == '/' || slash == NULL ? 0 : (int)(slash + 1 - name);
        if (asprintf(&next, "%.*s%s", folder, name, link) < 0) next = NULL, errno = ENOMEM;
        free(name);
        name = next;
    }
    if (name != NULL) errno = ELOOP;
    free(name);
    return NULL;
}

/* Writes a new file with the permissions of the one that it replaces, if there is one. 0, or -1 with errno. */
static int write_temporary(char **temporary, const char *target, const struct stat *replaced, const void *bytes,
                           size_t n_bytes, bool sync) {
    const int fd = open_temporary(temporary, target);
    if (fd < 0) return -1;
    int failed = replaced != NULL && fchmod(fd, replaced->st_mode & 0777) != 0;
    failed = failed || write_all(fd, bytes, n_bytes) != 0 || (sync && fsync(fd) != 0);
    const int code = errno;
    if (close(fd) != 0 && !failed) return -1;
    errno = code;
    return failed ? -1 : 0;
}

smri_status smri_file_replace(const char *path, const void *bytes, size_t n_bytes, bool sync) {
    struct stat about;
    const bool exists = stat(path, &about) == 0;
    if (exists && !S_ISREG(about.st_mode))
        return S_ISDIR(about.st_mode) ? refuse(path, "cannot be written", EISDIR) : refuse(path, "not a regular file", EINVAL);
    char *target = follow_links(path), *temporary = NULL;
    if (target == NULL) return refuse(path, "cannot be written", errno);
    int failed = write_temporary(&temporary, target, exists ? &about : NULL, bytes, n_bytes, sync) != 0;
    failed = failed || rename(temporary, target) != 0;
    const int code = errno;
    if (failed && temporary != NULL) unlink(temporary);
    if (!failed && sync) sync_folder(target);
    free(temporary);
    free(target);
    return failed ? refuse(path, "cannot be written", code) : SMRI_OK;
}
#endif
