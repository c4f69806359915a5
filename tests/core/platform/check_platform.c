/* What only a C program can ask of csrc/platform. Run with the name of one check; 0 when it holds, else the line that does not. */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/affinity.h"
#include "smri/cpu.h"
#include "smri/pool.h"
#include "smri/rng.h"
#include "smri/status.h"

#define EXPECT(condition)              \
    do {                               \
        if (!(condition)) return __LINE__; \
    } while (0)

/* ---- jobs of more tasks than 32 bits count ---- */

static _Atomic uint64_t tasks_seen, sum_of_ends;

static void count_tasks(void *context, size_t begin, size_t end, size_t worker) {
    (void)context, (void)worker;
    atomic_fetch_add(&tasks_seen, end - begin);
    atomic_fetch_add(&sum_of_ends, end);
}

/* Whatever the ranges, they cover every task once, and ranges that meet share an end. */
static int many_tasks(void) {
    const size_t counts[] = {((size_t)1 << 32) - 1, (size_t)1 << 32, ((size_t)1 << 32) + 1, ((size_t)1 << 33) + 5};
    for (size_t threads = 0; threads < 4; threads++) {
        smri_pool *pool = NULL;
        if (threads > 0) EXPECT(smri_pool_create(&pool, threads) == SMRI_OK);
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
            for (int begins = 0; begins < 2; begins++) {
                atomic_store(&tasks_seen, 0);
                if (begins) smri_pool_begin_ranges(pool, counts[i], (size_t)1 << 24, count_tasks, NULL);
                else smri_pool_run_ranges(pool, counts[i], (size_t)1 << 24, count_tasks, NULL);
                smri_pool_finish(pool, smri_pool_begun(pool));
                EXPECT(atomic_load(&tasks_seen) == counts[i]);
            }
        smri_pool_run_ranges(pool, 3, SIZE_MAX, count_tasks, NULL); /* a range longer than all */
        smri_pool_destroy(pool);
    }
    return 0;
}

/* ---- signals ---- */

static void note_mask(void *context, size_t index, size_t worker) {
    (void)index;
    if (worker == 0) { /* leave the other tasks to the workers */
        for (volatile int wait = 0; wait < 2000000; wait++) {}
        return;
    }
    sigset_t *mask = context;
    pthread_sigmask(SIG_SETMASK, NULL, mask);
}

static int signals(void) {
    smri_pool *pool;
    sigset_t mask;
    sigemptyset(&mask);
    EXPECT(smri_pool_create(&pool, 2) == SMRI_OK);
    for (int i = 0; i < 200 && !sigismember(&mask, SIGINT); i++) smri_pool_run(pool, 8, note_mask, &mask);
    smri_pool_destroy(pool);
    EXPECT(sigismember(&mask, SIGINT) && sigismember(&mask, SIGTERM) && sigismember(&mask, SIGALRM));
    EXPECT(!sigismember(&mask, SIGSEGV) && !sigismember(&mask, SIGBUS) && !sigismember(&mask, SIGFPE));
    EXPECT(!sigismember(&mask, SIGILL) && !sigismember(&mask, SIGABRT));
    return 0;
}

/* ---- affinity ---- */

static void note_affinity(void *context, size_t index, size_t worker) {
    (void)index;
    if (worker == 0) {
        for (volatile int wait = 0; wait < 2000000; wait++) {}
        return;
    }
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) *(int *)context = CPU_COUNT(&set);
}

static int processors_of_a_worker(bool pins) {
    smri_pool *pool;
    int count = 0;
    smri_pool_set_pinning(pins);
    if (smri_pool_create(&pool, 2) != SMRI_OK) return -1;
    for (int i = 0; i < 200 && count == 0; i++) smri_pool_run(pool, 8, note_affinity, &count);
    smri_pool_destroy(pool);
    return count;
}

static int affinity(void) {
    cpu_set_t all;
    EXPECT(sched_getaffinity(0, sizeof all, &all) == 0);
    EXPECT(processors_of_a_worker(false) == CPU_COUNT(&all));
    if (CPU_COUNT(&all) > 1) EXPECT(processors_of_a_worker(true) < CPU_COUNT(&all));
    return 0;
}

/* Asked by a process of its own. */
static int claimed_by_another(const cpu_set_t *set) {
    const pid_t child = fork();
    if (child == 0) _exit(smri_affinity_claim(set));
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Processors that there are not, so that nothing else on this machine wants them at the same time. */
static int claims(void) {
    const size_t first = 512 + 4 * (size_t)(getpid() % 100);
    cpu_set_t two, second, other;
    CPU_ZERO(&two);
    CPU_SET(first, &two);
    CPU_SET(first + 1, &two);
    CPU_ZERO(&second);
    CPU_SET(first + 1, &second);
    CPU_ZERO(&other);
    CPU_SET(first + 2, &other);
    EXPECT(claimed_by_another(&two) == 1); /* until it ends */
    EXPECT(smri_affinity_claim(&second) && smri_affinity_claim(&second));
    EXPECT(claimed_by_another(&two) == 0 && claimed_by_another(&second) == 0 && claimed_by_another(&other) == 1);
    return 0;
}

/* ---- random numbers ---- */

static int between(void) {
    const float bounds[][2] = {{0.1f, 0.3f}, {1.0f, 2.0f}, {-1.0f, 1e-3f}, {0.5f, 0.5f}, {16777216.0f, 16777218.0f}, {-3e38f, 0.0f}};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        for (uint32_t word = 0; word < 3; word++) {
            struct smri_rng rng = {.block = {UINT32_MAX - (word << 8)}, .used = 0};
            const float low = bounds[i][0], high = bounds[i][1], value = smri_rng_between(&rng, low, high);
            EXPECT(value >= low && (value < high || low == high));
        }
    return 0;
}

/* ---- messages ---- */

/* A message that is too long ends with a whole character, however long its characters are. */
static int messages(void) {
    const char *const characters[] = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\xA7\xA0"};
    for (size_t i = 0; i < 4; i++)
        for (size_t lead = 0; lead < 4; lead++) {
            char text[1200] = "";
            for (size_t k = 0; k < lead; k++) strcat(text, "x");
            while (strlen(text) < 1000) strcat(text, characters[i]);
            smri_fail(SMRI_ARGUMENT, "%s", text);
            const size_t length = strlen(smri_message());
            EXPECT(length > 507 && length < 512 && (length - lead) % strlen(characters[i]) == 0);
            smri_fail(SMRI_ARGUMENT, "%s", characters[i]);
            EXPECT(strcmp(smri_message(), characters[i]) == 0);
        }
    return 0;
}

/* ---- races (built with the thread sanitizer) ---- */

static void *ask(void *unused) {
    (void)unused;
    return (void *)(uintptr_t)(strlen(smri_cpu_name()) + (size_t)smri_isa_selected() + smri_cpu_has_fast_bf16_dot2());
}

static int races(void) {
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++) EXPECT(pthread_create(&threads[i], NULL, ask, NULL) == 0);
    void *first = NULL, *other = NULL;
    for (size_t i = 0; i < 8; i++) pthread_join(threads[i], i == 0 ? &first : &other);
    EXPECT(first == other);
    return 0;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(void);
    } checks[] = {{"many_tasks", many_tasks}, {"signals", signals},   {"affinity", affinity}, {"claims", claims},
                  {"between", between},       {"messages", messages}, {"races", races}};
    for (size_t i = 0; argc == 2 && i < sizeof checks / sizeof *checks; i++) {
        if (strcmp(argv[1], checks[i].name) != 0) continue;
        const int line = checks[i].run();
        if (line != 0) printf("check_platform.c:%d does not hold\n", line);
        return line != 0;
    }
    return 2;
}
