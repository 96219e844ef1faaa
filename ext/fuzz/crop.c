/* libFuzzer target: faces out of a frame. The vector code and the portable code have to agree, within bounds. */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int portable_crop_faces(const fer_frame *frame, const double *squares, const double *rotations, size_t count,
                        fer_grey_kind kind, void *out);

enum { HEAD = 5, SQUARE = 3 * sizeof(double) };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD + SQUARE)
        return 0;
    const ptrdiff_t height = 1 + data[0] * (data[3] & 16 ? 40 : 1), width = 1 + data[1];
    const fer_order order = (fer_order)((data[2] & 3) % 3);
    const ptrdiff_t channels = order == FER_ORDER_GREY ? 1 : 3, stride = width * channels + (data[2] >> 2 & 7);
    const fer_grey_kind kind = (fer_grey_kind)((data[3] & 3) % 3);
    double square[3];
    memcpy(square, data + HEAD, sizeof square);
    if (data[3] & 4) /* near the frame, which the bits of a double seldom are */
        for (int i = 0; i < 3; i++)
            square[i] = (double)data[HEAD + 2 * i] * (i == 2 ? 4 : 1) + data[HEAD + 2 * i + 1] / 256.0 - (i < 2 ? 64 : 0);
    if (!isfinite(square[0]) || !isfinite(square[1]) || !isfinite(square[2]) || !(square[2] > 0))
        return 0;
    const double angle = data[4] / 20.0;
    double direction[2] = {cos(angle), sin(angle)};
    if (data[3] & 64) /* no direction at all: any bytes will do, within bounds */
        memcpy(direction, square, sizeof direction);
    const double *const turn = data[3] & 32 ? direction : NULL;

    const size_t bytes = (size_t)((height - 1) * stride + width * channels);
    uint8_t *const pixels = malloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        pixels[i] = data[3] & 8 ? data[i % size] : (uint8_t)(data[i % size] & 1 ? 255 : 0);
    const int upside_down = data[2] & 32;
    const fer_frame frame = {upside_down ? pixels + (height - 1) * stride : pixels, height, width,
                             upside_down ? -stride : stride, order};
    const size_t face = FER_FACE_PIXELS * (kind == FER_GREY_FLOAT32 ? sizeof(float) : 1);
    void *const out[2] = {malloc(face), malloc(face)};
    if (fer_crop_faces(&frame, square, turn, 1, kind, out[0]) != 0 ||
        portable_crop_faces(&frame, square, turn, 1, kind, out[1]) != 0 || memcmp(out[0], out[1], face) != 0)
        abort();
    free(out[0]);
    free(out[1]);
    free(pixels);
    return 0;
}
