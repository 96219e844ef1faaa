/* How sharp faces are: see kernels.h. */
#include "kernels.h"

#include <string.h>

enum {
    LEFT = 10, /* of the part, with a pixel around what is measured */
    TOP = 10,
    WIDTH = 28,
    HEIGHT = 34,
    MEASURED = (WIDTH - 2) * (HEIGHT - 2)
};

static void read_part(const void *face, fer_grey_kind kind, int16_t part[HEIGHT][WIDTH])
{
    for (int y = 0; y < HEIGHT; y++) {
        const size_t first = (size_t)(TOP + y) * FER_FACE_SIZE + LEFT;
        for (int x = 0; x < WIDTH; x++) {
            if (kind == FER_GREY_FLOAT32) {
                /* 2^17, whose last bit is a 64th, and the 2 of level 128 */
                const float sum = ((const float *)face)[first + (size_t)x] + 131074.0f;
                uint32_t bits;
                memcpy(&bits, &sum, sizeof bits);
                part[y][x] = (uint8_t)bits;
            } else {
                const uint8_t level = ((const uint8_t *)face)[first + (size_t)x];
                part[y][x] = (uint8_t)(kind == FER_GREY_INT8 ? level ^ 0x80 : level);
            }
        }
    }
}

/* MEASURED times the sum of squared deviations from the mean: a whole number below 2^38. */
static int64_t spread(int32_t sum, int32_t squares)
{
    return (int64_t)MEASURED * squares - (int64_t)sum * sum;
}

static double sharpness(const void *face, fer_grey_kind kind)
{
    int16_t part[HEIGHT][WIDTH];
    read_part(face, kind, part);
    int32_t sums[3] = {0}, squares[3] = {0};
    for (int y = 1; y < HEIGHT - 1; y++)
        for (int x = 1; x < WIDTH - 1; x++) {
            const int16_t level = part[y][x];
            const int16_t across = (int16_t)(2 * level - part[y][x - 1] - part[y][x + 1]);
            const int16_t down = (int16_t)(2 * level - part[y - 1][x] - part[y + 1][x]);
            sums[0] += level;
            squares[0] += level * level;
            sums[1] += across;
            squares[1] += across * across;
            sums[2] += down;
            squares[2] += down * down;
        }
    const int64_t contrast = spread(sums[0], squares[0]);
    const int64_t across = spread(sums[1], squares[1]), down = spread(sums[2], squares[2]);
    return contrast != 0 ? (double)(across < down ? across : down) / (double)contrast : 0.0;
}

void fer_measure_sharpness(const void *faces, size_t count, fer_grey_kind kind, double *out)
{
    const size_t bytes = FER_FACE_PIXELS * (kind == FER_GREY_FLOAT32 ? sizeof(float) : 1);
    for (size_t i = 0; i < count; i++)
        out[i] = sharpness((const uint8_t *)faces + i * bytes, kind);
}
