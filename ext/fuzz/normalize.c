/* libFuzzer target: exposure and contrast of faces. The definition in double arithmetic is met to a level, and all
 * kinds get the same levels. The kernel has no code for vector units, so its portable build is not compared. */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD = 2 };

static void check_definition(const uint8_t *before, const uint8_t *after)
{
    double sum = 0, squares = 0, count = 0;
    for (int y = 0; y < FER_FACE_SIZE; y++)
        for (int x = 0; x < FER_FACE_SIZE; x++) {
            const double across = (x + 0.5 - 24) / 13, down = (y + 0.5 - 27) / 16;
            if (across * across + down * down > 1)
                continue;
            const double level = before[y * FER_FACE_SIZE + x];
            sum += level;
            squares += level * level;
            count += 1;
        }
    const double mean = sum / count, variance = (count * squares - sum * sum) / (count * count);
    const double limit = FER_CONTRAST_GAIN / 4096.0, gain = fmin(FER_CONTRAST_DEVIATION / sqrt(variance), limit);
    for (int i = 0; i < FER_FACE_PIXELS; i++) {
        const double wanted = (before[i] - mean) * gain + FER_CONTRAST_MEAN;
        if (fabs(fmin(fmax(wanted, 0), 255) - after[i]) > 1)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= HEAD)
        return 0;
    uint8_t before[FER_FACE_PIXELS], levels[FER_FACE_PIXELS];
    int8_t numbers[FER_FACE_PIXELS];
    float floats[FER_FACE_PIXELS], wild[FER_FACE_PIXELS];
    memset(wild, 0, sizeof wild);
    for (size_t i = 0; i < FER_FACE_PIXELS; i++) {
        /* Weak contrast somewhere between black and white, too. */
        before[i] = (uint8_t)((data[HEAD + i % (size - HEAD)] >> (data[0] & 7)) + (data[0] & 7 ? data[1] >> 1 : 0));
        numbers[i] = (int8_t)(before[i] - 128);
        floats[i] = (float)(before[i] - 128) / 64.0f;
    }
    memcpy(levels, before, sizeof levels);
    fer_normalize_contrast(levels, 1, FER_GREY_UINT8);
    fer_normalize_contrast(numbers, 1, FER_GREY_INT8);
    fer_normalize_contrast(floats, 1, FER_GREY_FLOAT32);
    check_definition(before, levels);
    for (size_t i = 0; i < FER_FACE_PIXELS; i++)
        if (numbers[i] != levels[i] - 128 || floats[i] != (float)(levels[i] - 128) / 64.0f)
            abort();

    const size_t bytes = size < sizeof *wild ? size : sizeof *wild;
    for (size_t i = 0; i < FER_FACE_PIXELS; i++)
        memcpy(&wild[i], data + i % (size - bytes + 1), bytes);
    fer_normalize_contrast(wild, 1, FER_GREY_FLOAT32);
    for (size_t i = 0; i < FER_FACE_PIXELS; i++)
        if (!(wild[i] >= -2.0f && wild[i] <= 127 / 64.0f) || wild[i] * 64.0f != floorf(wild[i] * 64.0f))
            abort();
    return 0;
}
