/* libFuzzer target: frames made smaller. The vector code and the portable code have to agree, within bounds. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

int portable_shrink(const fer_frame *frame, const fer_picture *out);
int portable_shrink_yuv(const fer_frame *luma, const fer_chroma *chroma, const fer_picture *out);

enum { HEAD = 8 };

static uint8_t *filled(size_t bytes, const uint8_t *data, size_t size)
{
    uint8_t *const samples = malloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        samples[i] = data[0] & 64 ? data[i % size] : (uint8_t)(data[i % size] & 1 ? 255 : 0);
    return samples;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD)
        return 0;
    const int yuv = data[0] & 4, upside_down = data[0] & 8;
    const fer_order order = yuv ? FER_ORDER_GREY : (fer_order)((data[0] & 3) % 3);
    const ptrdiff_t channels = order == FER_ORDER_GREY ? 1 : 3;
    const ptrdiff_t height = 1 + data[1] * (data[0] & 128 ? 4 : 1), width = 1 + data[2];
    const ptrdiff_t rows = 1 + data[3] % height, columns = 1 + data[4] % width;
    const ptrdiff_t stride = width * channels + (data[5] & 7);
    const size_t bytes = (size_t)((height - 1) * stride + width * channels);
    uint8_t *const pixels = filled(bytes, data, size);
    const fer_frame frame = {upside_down ? pixels + (height - 1) * stride : pixels, height, width,
                             upside_down ? -stride : stride, order};

    /* Half as large, as cameras have it, or of any size; planes apart, or sample by sample in either order. */
    const int half = data[5] & 8;
    fer_chroma chroma = {NULL, NULL, half ? (height + 1) / 2 : 1 + data[6], half ? (width + 1) / 2 : 1 + data[7], 0,
                         data[5] & 16 ? 2 : 1};
    chroma.row_stride = chroma.width * chroma.step + (data[5] >> 6);
    const ptrdiff_t plane = (chroma.height - 1) * chroma.row_stride + chroma.width * chroma.step;
    uint8_t *const colours = filled((size_t)(chroma.step == 1 ? 2 * plane : plane), data, size);
    chroma.u = colours + (data[5] & 32 ? (chroma.step == 1 ? plane : 1) : 0);
    chroma.v = colours + (data[5] & 32 ? 0 : (chroma.step == 1 ? plane : 1));

    fer_picture out[2];
    uint8_t *memory[2];
    const fer_picture_kind kind =
        data[0] & 16 ? FER_PICTURE_FLOAT32 : data[5] & 128 ? FER_PICTURE_INT8 : FER_PICTURE_UINT8;
    const ptrdiff_t item = kind == FER_PICTURE_FLOAT32 ? (ptrdiff_t)sizeof(float) : 1, samples = rows * columns;
    const int planar = data[0] & 32 ? 1 : 0;
    for (int i = 0; i < 2; i++) {
        memory[i] = malloc((size_t)(3 * samples * item));
        const fer_picture picture = {memory[i], rows, columns, (planar ? 1 : 3) * columns * item, samples * item,
                                     planar, kind};
        out[i] = picture;
    }
    const int failed = yuv ? fer_shrink_yuv(&frame, &chroma, &out[0]) || portable_shrink_yuv(&frame, &chroma, &out[1])
                           : fer_shrink(&frame, &out[0]) || portable_shrink(&frame, &out[1]);
    if (failed || memcmp(memory[0], memory[1], (size_t)(3 * samples * item)) != 0)
        abort();
    free(memory[0]);
    free(memory[1]);
    free(colours);
    free(pixels);
    return 0;
}
