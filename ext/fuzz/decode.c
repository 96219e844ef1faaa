/* libFuzzer target: faces out of the detector's outputs, within bounds. There is no code for vector units, but the
 * portable build has to agree, and the outputs may lie in either order. */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

ptrdiff_t portable_decode_faces(const fer_output outputs[FER_OUTPUTS], ptrdiff_t height, ptrdiff_t width,
                                float min_logit, float min_score, float *out);

enum { HEAD = 4, CHANNELS = 16 };

static float number(const uint8_t *data, size_t size, size_t i, int any)
{
    float value;
    if (any) {
        memcpy(&value, data + HEAD + i * sizeof value % (size - HEAD - sizeof value + 1), sizeof value);
        return value;
    }
    return (float)(int8_t)data[HEAD + i % (size - HEAD)] / 16.0f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD + sizeof(float))
        return 0;
    const ptrdiff_t height = 32 * (data[0] & 3), width = 32 * (data[0] >> 2 & 3);
    const float min_score = data[1] / 255.0f, min_logit = data[2] & 1 ? -INFINITY : (float)(int8_t)data[3] / 16.0f;
    fer_output rows[FER_OUTPUTS], planes[FER_OUTPUTS];
    float *memory[2 * FER_OUTPUTS];
    for (int k = 0; k < FER_OUTPUTS; k++) {
        const size_t cells = (size_t)((height / (8 << k)) * (width / (8 << k)));
        float *const row = malloc(cells * CHANNELS * sizeof *row), *const plane = malloc(cells * CHANNELS * sizeof *row);
        for (size_t i = 0; i < cells * CHANNELS; i++) {
            row[i] = number(data, size, i, data[2] & 2);
            plane[i % CHANNELS * cells + i / CHANNELS] = row[i];
        }
        const fer_output by_cells = {row, CHANNELS, 1}, by_channels = {plane, 1, (ptrdiff_t)cells};
        rows[k] = by_cells;
        planes[k] = by_channels;
        memory[2 * k] = row;
        memory[2 * k + 1] = plane;
    }
    const size_t bytes = FER_FACES_LIMIT * FER_FACE_NUMBERS * sizeof(float);
    float *const one = calloc(1, bytes), *const other = calloc(1, bytes);
    const ptrdiff_t count = fer_decode_faces(rows, height, width, min_logit, min_score, one);
    if (count < 0 || count > FER_FACES_LIMIT || memcmp(one + count * FER_FACE_NUMBERS, other, bytes - (size_t)count * FER_FACE_NUMBERS * sizeof *one) != 0)
        abort();
    if (portable_decode_faces(planes, height, width, min_logit, min_score, other) != count ||
        memcmp(one, other, bytes) != 0)
        abort();
    for (ptrdiff_t i = 0; i < count; i++) {
        const float score = one[i * FER_FACE_NUMBERS + FER_FACE_NUMBERS - 1];
        if (!(score >= min_score && score <= 1.0f) || (i && one[(i - 1) * FER_FACE_NUMBERS + FER_FACE_NUMBERS - 1] < score))
            abort();
    }
    free(one);
    free(other);
    for (int k = 0; k < 2 * FER_OUTPUTS; k++)
        free(memory[k]);
    return 0;
}
