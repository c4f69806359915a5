/* How many processors this process may use: the affinity mask, cut down by the CPU quotas of its cgroup and of all above it,
 * the least of which holds. A container may see its own cgroup as the root, or the whole tree of the machine. Other systems
 * than Linux have neither: all processors. */
#define _GNU_SOURCE
#include "smri/pool.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#if defined(__linux__)
#include <sched.h>
#elif defined(_WIN32)
#include <windows.h>
#else
#include <unistd.h>
#endif

#define PATH_BYTES 1024
#define NO_LIMIT ((size_t)-1)

static bool read_numbers(long *numbers, int count, const char *folder, const char *name) {
    char path[PATH_BYTES + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    const int found = count == 2 ? fscanf(file, "%ld %ld", &numbers[0], &numbers[1]) : fscanf(file, "%ld", &numbers[0]);
    fclose(file);
    return found == count;
}

/* v2 keeps "<quota> <period>" or "max <period>" in one file, v1 the two numbers in two, -1 for no limit. */
static size_t quota_of(const char *folder) {
    long pair[2] = {-1, -1};
    if (!read_numbers(pair, 2, folder, "cpu.max") &&
        !(read_numbers(&pair[0], 1, folder, "cpu.cfs_quota_us") && read_numbers(&pair[1], 1, folder, "cpu.cfs_period_us")))
        return NO_LIMIT;
    if (pair[0] <= 0 || pair[1] <= 0) return NO_LIMIT;
    return pair[0] < pair[1] ? 1 : (size_t)(pair[0] / pair[1]);
}

/* The least quota of `path` below `mount` and of all above it, the mount included. */
static size_t least_quota(const char *mount, const char *path) {
    char folder[PATH_BYTES];
    size_t least = NO_LIMIT;
    const size_t root = strlen(mount);
    const int length = snprintf(folder, sizeof folder, "%s%s", mount, path);
    if (length < 0 || (size_t)length >= sizeof folder) snprintf(folder, sizeof folder, "%s", mount);
    for (;;) {
        const size_t quota = quota_of(folder);
        if (quota < least) least = quota;
        char *last = strrchr(folder, '/');
        if (last == NULL || (size_t)(last - folder) < root) return least;
        *last = '\0';
    }
}

static bool names_cpu(const char *controllers) {
    char list[128];
    snprintf(list, sizeof list, ",%s,", controllers);
    return strstr(list, ",cpu,") != NULL;
}

size_t smri_cgroup_cpus(const char *membership, const char *mount) {
    FILE *file = fopen(membership, "re");
    if (file == NULL) return NO_LIMIT;
    size_t least = NO_LIMIT;
    char line[PATH_BYTES];
    while (fgets(line, sizeof line, file) != NULL) { /* "<number>:<controllers>:<path>"; v2 names no controllers */
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL) continue;
        *path++ = '\0';
        controllers++;
        char folder[PATH_BYTES];
        const char *const places[] = {"", "/unified", "/cpu", "/cpu,cpuacct"};
        const bool is_v2 = controllers[0] == '\0';
        if (!is_v2 && !names_cpu(controllers)) continue;
        for (size_t i = is_v2 ? 0 : 2; i < (is_v2 ? 2 : 4); i++) {
            snprintf(folder, sizeof folder, "%s%s", mount, places[i]);
            const size_t quota = least_quota(folder, path);
            if (quota < least) least = quota;
        }
    }
    fclose(file);
    return least;
}

#if defined(__linux__)
static size_t processors(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (size_t)CPU_COUNT(&set) : 1;
}
#elif defined(_WIN32)
static size_t processors(void) { return GetActiveProcessorCount(ALL_PROCESSOR_GROUPS); }
#else
static size_t processors(void) {
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (size_t)n : 1;
}
#endif

size_t smri_cpu_count(void) {
    size_t count = processors();
    const size_t quota = smri_cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
    if (quota < count) count = quota;
    if (count > SMRI_MAX_THREADS) count = SMRI_MAX_THREADS;
    return count > 0 ? count : 1;
}
