/* Triangle filter taps, computed in double: the window of an output is rounded to whole inputs and cut at the border
 * first, and normalised after that, so that a constant image stays constant up to its edge. */
#include "io/taps.h"

#include <math.h>

static double support_of(size_t n_in, size_t n_out) {
    const double scale = (double)n_in / (double)n_out;
    return scale > 1.0 ? scale : 1.0;
}

size_t taps_count(size_t n_in, size_t n_out) {
    const size_t count = 2 * (size_t)ceil(support_of(n_in, n_out)) + 1;
    return count < n_in ? count : n_in;
}

void taps_fill(int32_t *first, double *weights, size_t n_in, size_t n_out) {
    const double scale = (double)n_in / (double)n_out, support = support_of(n_in, n_out), inverse = 1.0 / support;
    const size_t taps = taps_count(n_in, n_out);
    for (size_t x = 0; x < n_out; x++) {
        double *row = weights + x * taps;
        const double centre = ((double)x + 0.5) * scale;
        const double low = centre - support + 0.5, high = centre + support + 0.5;
        const size_t begin = low > 0.0 ? (size_t)low : 0;
        const size_t end = (size_t)high < n_in ? (size_t)high : n_in;
        const size_t start = begin < n_in - taps ? begin : n_in - taps;
        double sum = 0.0;
        for (size_t t = 0; t < taps; t++) {
            const size_t i = start + t;
            const double distance = fabs(((double)i - centre + 0.5) * inverse);
            row[t] = i >= begin && i < end && distance < 1.0 ? 1.0 - distance : 0.0;
            sum += row[t];
        }
        for (size_t t = 0; t < taps; t++) row[t] /= sum;
        first[x] = (int32_t)start;
    }
}
