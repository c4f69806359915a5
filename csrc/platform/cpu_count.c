/* How many processors this process may use: the affinity mask, cut down by the cgroup's CPU quota. */
#define _GNU_SOURCE
#include "smri/pool.h"

#include <sched.h>
#include <stdio.h>

/* cgroup v2: "<quota> <period>" or "max <period>"; v1 keeps the two numbers in two files. SIZE_MAX without a limit. */
static size_t cgroup_quota(void) {
    long quota = -1, period = -1;
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (file != NULL) {
        if (fscanf(file, "%ld %ld", &quota, &period) != 2) quota = -1;
        fclose(file);
    } else {
        if ((file = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "re")) != NULL) {
            if (fscanf(file, "%ld", &quota) != 1) quota = -1;
            fclose(file);
        }
        if ((file = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "re")) != NULL) {
            if (fscanf(file, "%ld", &period) != 1) period = -1;
            fclose(file);
        }
    }
    if (quota <= 0 || period <= 0) return (size_t)-1;
    return quota < period ? 1 : (size_t)(quota / period);
}

size_t smri_cpu_count(void) {
    size_t count = 1;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) count = (size_t)CPU_COUNT(&set);
    const size_t quota = cgroup_quota();
    if (quota < count) count = quota;
    if (count > SMRI_MAX_THREADS) count = SMRI_MAX_THREADS;
    return count > 0 ? count : 1;
}
