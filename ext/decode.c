/* Faces out of the outputs of YuNet: see kernels.h. */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    STRIDE = 8,     /* of the first output; of every further one twice as much */
    LANDMARKS = 10, /* numbers */
    BOX = 2,        /* channels of an output: logits of class and objectness, then those of box and landmarks */
    POINTS = 6,
    SCORE = 14 /* of a face: box, landmarks, score */
};

typedef struct {
    float score;
    uint32_t place; /* among the candidates */
} rank;

/* In double arithmetic without any library's exponential, whose last bits differ between machines: e^x is 2^n e^r,
 * and e^r, with r at most half of ln 2, the sum of a series. From 88 on single precision has no number. */
static double exponential(float number)
{
    static const double terms[] = {1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                                   1.0 / 5040,      1.0 / 720,      1.0 / 120,     1.0 / 24,     1.0 / 6,
                                   0.5,             1.0,            1.0};
    if (!(number <= 88.0f))
        return number > 88.0f ? (double)INFINITY : (double)NAN;
    const double x = number > -88.0f ? (double)number : -88.0;
    const double n = floor(x * 1.4426950408889634 + 0.5);
    const double r = x - n * 0.693145751953125 - n * 1.4286068203094173e-06;
    double sum = terms[0];
    for (size_t i = 1; i < sizeof terms / sizeof *terms; i++)
        sum = sum * r + terms[i];
    const uint64_t bits = (uint64_t)(1023 + (int64_t)n) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return sum * power;
}

/* Whether the candidate is a face: of the least score, all numbers finite, with a size. */
static int decode(const fer_output *output, ptrdiff_t cell, ptrdiff_t columns, float stride, float min_score,
                  float face[FER_FACE_NUMBERS])
{
    const float *const at = output->values + cell * output->cell_stride;
    const ptrdiff_t step = output->channel_stride;
    const float x = (float)(cell % columns) * stride, y = (float)(cell / columns) * stride;
    face[SCORE] = (float)sqrt(1.0 / ((1.0 + exponential(-at[0])) * (1.0 + exponential(-at[step]))));
    face[2] = (float)exponential(at[(BOX + 2) * step]) * stride;
    face[3] = (float)exponential(at[(BOX + 3) * step]) * stride;
    face[0] = x + at[BOX * step] * stride - face[2] / 2.0f;
    face[1] = y + at[(BOX + 1) * step] * stride - face[3] / 2.0f;
    for (ptrdiff_t i = 0; i < LANDMARKS; i += 2) {
        face[4 + i] = at[(POINTS + i) * step] * stride + x;
        face[5 + i] = at[(POINTS + i + 1) * step] * stride + y;
    }
    for (int i = 0; i < FER_FACE_NUMBERS; i++)
        if (!isfinite(face[i]))
            return 0;
    return face[SCORE] >= min_score;
}

static int likely(const fer_output *output, ptrdiff_t cell, float min_logit)
{
    const float *const at = output->values + cell * output->cell_stride;
    return at[0] >= min_logit && at[output->channel_stride] >= min_logit;
}

static int better_first(const void *one, const void *other)
{
    const rank *const a = one, *const b = other;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return a->place < b->place ? -1 : 1;
}

/* Of boxes that lost their fractions, as OpenCV has it. */
static int overlap_much(const float *one, const float *other)
{
    float starts[2][2], ends[2][2], areas[2];
    for (int i = 0; i < 2; i++) {
        const float *const face = i == 0 ? one : other;
        const float width = truncf(face[2]), height = truncf(face[3]);
        starts[i][0] = truncf(face[0]);
        starts[i][1] = truncf(face[1]);
        ends[i][0] = starts[i][0] + width;
        ends[i][1] = starts[i][1] + height;
        areas[i] = width * height;
    }
    float shared[2];
    for (int axis = 0; axis < 2; axis++) {
        const float end = ends[0][axis] < ends[1][axis] ? ends[0][axis] : ends[1][axis];
        const float start = starts[0][axis] > starts[1][axis] ? starts[0][axis] : starts[1][axis];
        shared[axis] = end - start > 0.0f ? end - start : 0.0f;
    }
    const float overlap = shared[0] * shared[1];
    return !(overlap <= 0.3f * (areas[0] + areas[1] - overlap));
}

/* The best of `count` faces, without those that overlap a better one. */
static size_t keep_best(const float *faces, rank *ranks, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        ranks[i].score = faces[i * FER_FACE_NUMBERS + SCORE];
        ranks[i].place = (uint32_t)i;
    }
    qsort(ranks, count, sizeof *ranks, better_first);
    size_t kept = 0;
    for (size_t i = 0; i < count && i < FER_FACES_LIMIT; i++) {
        const float *const face = faces + ranks[i].place * FER_FACE_NUMBERS;
        size_t better = 0;
        while (better < kept && !overlap_much(out + better * FER_FACE_NUMBERS, face))
            better++;
        if (better < kept)
            continue;
        memcpy(out + kept * FER_FACE_NUMBERS, face, FER_FACE_NUMBERS * sizeof *face);
        kept++;
    }
    return kept;
}

ptrdiff_t fer_decode_faces(const fer_output outputs[FER_OUTPUTS], ptrdiff_t height, ptrdiff_t width, float min_logit,
                           float min_score, float *out)
{
    size_t candidates = 0;
    for (int i = 0; i < FER_OUTPUTS; i++)
        for (ptrdiff_t cell = 0; cell < (height / (STRIDE << i)) * (width / (STRIDE << i)); cell++)
            candidates += (size_t)likely(&outputs[i], cell, min_logit);
    if (candidates == 0)
        return 0;
    float *const faces = malloc(candidates * (FER_FACE_NUMBERS * sizeof *faces + sizeof(rank)));
    if (faces == NULL)
        return -1;
    size_t count = 0;
    for (int i = 0; i < FER_OUTPUTS; i++) {
        const ptrdiff_t stride = STRIDE << i, columns = width / stride;
        for (ptrdiff_t cell = 0; cell < height / stride * columns; cell++)
            if (likely(&outputs[i], cell, min_logit))
                count += (size_t)decode(&outputs[i], cell, columns, (float)stride, min_score,
                                        faces + count * FER_FACE_NUMBERS);
    }
    rank *const ranks = (rank *)(void *)(faces + candidates * FER_FACE_NUMBERS);
    const size_t kept = keep_best(faces, ranks, count, out);
    free(faces);
    return (ptrdiff_t)kept;
}
