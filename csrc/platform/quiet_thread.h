/* Threads that leave signals to others. */
#pragma once

#include <pthread.h>

/* As pthread_create without attributes. Signals from outside go to other threads; those that the thread's own instructions
 * raise, such as SIGSEGV, do not, so that a handler can say where. Windows has no such signals. */
int smri_thread_start(pthread_t *thread, void *(*run)(void *), void *argument);
