/* The prologue of a convolution on some pixels, for the methods that apply it to what they are about to multiply. */
#include "kernels/kernels.h"
#include "layers/conv2d/methods.h"

#define NUMBERS 4096 /* taken together: 16 KiB, which a first-level cache holds while the kernel goes through its columns */
#define PIXELS 64

void smri_conv2d_activate(void *out, size_t out_stride, const void *const *pixels, size_t count,
                          const struct smri_conv2d_prologue *prologue, const struct smri_conv2d *shape, size_t image,
                          size_t channel, size_t channels) {
    const size_t group = image / (shape->N / prologue->groups), parameters = group * shape->C + channel;
    smri_kernels_get()->batchnorm[shape->precision].activate(out, out_stride, pixels, count, prologue->scale + parameters,
                                                        prologue->shift + parameters, channels);
}

void smri_conv2d_activate_run(void *out, const void *x, const struct smri_conv2d_prologue *prologue,
                              const struct smri_conv2d *shape, size_t first, size_t count) {
    const size_t C = shape->C, image_pixels = shape->H * shape->W, end = first + count;
    const size_t most = C > NUMBERS ? 1 : NUMBERS / C < PIXELS ? NUMBERS / C : PIXELS;
    while (first < end) {
        const void *pixels[PIXELS];
        const size_t image = first / image_pixels, image_end = (image + 1) * image_pixels;
        size_t n = 0;
        for (; n < most && first < end && first < image_end; first++)
            pixels[n++] = smri_elem_const(x, first * C, shape->precision);
        smri_conv2d_activate(out, C, pixels, n, prologue, shape, image, 0, C);
        out = smri_elem(out, n * C, shape->precision);
    }
}
