/* Put in front of the C library (LD_PRELOAD), refuses chosen allocations and writes of the thread that asks for it, so that
 * tests can try what happens when the machine has no more memory or the disk is full.
 *
 *     refuse_allocation(n)  the n-th allocation from now on and all after it fail
 *     refuse_once(n)        only the n-th one fails
 *     sched_yield()         no more refusals: a call that Python makes without an allocation of its own
 *     allocations()         how many there were between one of the first two and that
 *     refuse_write(n)       writes fail with ENOSPC once n more bytes have been written (-1: none) */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <sys/types.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static __thread long first, count, most;
static __thread int counts;
static long bytes_left = -1;

static void begin(long n, long last) { first = n, most = last, count = 0, counts = 1; }
void refuse_allocation(long n) { begin(n, __LONG_MAX__); }
void refuse_once(long n) { begin(n, n); }
int sched_yield(void) { return counts = 0; }
long allocations(void) { return count; }
void refuse_write(long n) { bytes_left = n; }

static int refused(void) {
    if (!counts || ++count < first || count > most) return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t n) { return refused() ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return refused() ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return refused() ? NULL : __libc_realloc(p, n); }
void *aligned_alloc(size_t alignment, size_t n) { return refused() ? NULL : __libc_memalign(alignment, n); }

int posix_memalign(void **out, size_t alignment, size_t n) {
    void *p = refused() ? NULL : __libc_memalign(alignment, n);
    if (p == NULL) return ENOMEM;
    *out = p;
    return 0;
}

ssize_t write(int fd, const void *bytes, size_t n) {
    static ssize_t (*real)(int, const void *, size_t);
    if (real == NULL) real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (bytes_left < 0 || fd <= 2) return real(fd, bytes, n);
    if (bytes_left == 0) {
        errno = ENOSPC;
        return -1;
    }
    const ssize_t put = real(fd, bytes, (long)n < bytes_left ? n : (size_t)bytes_left);
    if (put > 0) bytes_left -= put;
    return put;
}
