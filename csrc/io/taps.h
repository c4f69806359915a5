/* The weights of antialiased linear interpolation along one axis. Output x is centred at c = (x + 1/2) s in input
 * coordinates, s = n_in / n_out, and weighs input i by max(0, 1 - |i + 1/2 - c| / max(1, s)), normalised to sum 1. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The number of taps per output, at most n_in. */
size_t taps_count(size_t n_in, size_t n_out);

/* first[n_out], weights[n_out][taps]: output x is the sum over t of weights[x][t] * input[first[x] + t]. Always
 * first[x] + taps <= n_in; taps that the filter does not reach weigh 0. */
void taps_fill(int32_t *first, double *weights, size_t n_in, size_t n_out);
