/* Faces out of camera frames: see preprocess.h. */
#include "preprocess.h"

#include <stdlib.h>
#include <string.h>

enum {
    WEIGHT_BITS = 15, /* weights fit 16 bits, and 8.8 samples times weights 32 */
    ONE = 1 << WEIGHT_BITS,
    GREY_BITS = 15,
    BLUE = 3735, /* BT.601 as in OpenCV's cvtColor; the sum is 2^GREY_BITS */
    GREEN = 19235,
    RED = 9798,
    ROUND_8_8 = 1 << (WEIGHT_BITS - 9), /* half of the last bit of an 8.8 sample, in 8.WEIGHT_BITS */
    SUM_ROWS = 256 /* rows of 8-bit samples whose sum fits 16 bits */
};

/* What one output pixel takes from one axis: samples first to last, those between with equal weight. */
typedef struct {
    ptrdiff_t first, last;
    uint32_t w_first, w_middle, w_last; /* w_first + (last - first - 1) * w_middle + w_last == ONE */
} span;

static span single(ptrdiff_t index)
{
    const span s = {index, index, ONE, 0, 0};
    return s;
}

static ptrdiff_t floor_within(double t, ptrdiff_t size)
{
    if (!(t > 0.0))
        return 0;
    return t >= (double)size ? size - 1 : (ptrdiff_t)t;
}

/* The mean over [start, stop), which is `scale` >= 1 samples wide. The samples between the ends share one
 * weight, rounded down, so that they can be added before they are weighed; the last one takes the rest. */
static span area_span(double start, double stop, double scale, ptrdiff_t size)
{
    const ptrdiff_t first = floor_within(start, size);
    ptrdiff_t last = floor_within(stop, size);
    if ((double)last >= stop)
        last -= 1;
    if (last <= first)
        return single(first);

    const double density = ONE / scale;
    const int64_t between = last - first - 1;
    int64_t middle = (int64_t)density;
    if (between * middle > ONE)
        middle = ONE / between;
    const double head = ((double)(first + 1) - start) * density + 0.5;
    const int64_t rest = ONE - between * middle;
    const int64_t w_first = head >= (double)rest ? rest : (int64_t)head;
    const span s = {first, last, (uint32_t)w_first, (uint32_t)middle, (uint32_t)(rest - w_first)};
    return s;
}

/* Linear between the centres of the two samples around `centre`. */
static span linear_span(double centre, ptrdiff_t size)
{
    if (!(centre > 0.0))
        return single(0);
    if (centre >= (double)(size - 1))
        return single(size - 1);
    const ptrdiff_t first = (ptrdiff_t)centre;
    const uint32_t w_last = (uint32_t)((centre - (double)first) * ONE + 0.5);
    const span s = {first, first + 1, ONE - w_last, 0, w_last};
    return s;
}

static void axis_spans(double origin, double side, ptrdiff_t size, span spans[FER_FACE_SIZE])
{
    for (int i = 0; i < FER_FACE_SIZE; i++) {
        if (side >= FER_FACE_SIZE)
            spans[i] = area_span(origin + side * i / FER_FACE_SIZE, origin + side * (i + 1) / FER_FACE_SIZE,
                                 side / FER_FACE_SIZE, size);
        else
            spans[i] = linear_span(origin + side * (i + 0.5) / FER_FACE_SIZE - 0.5, size);
    }
}

/* Four rows at a time, so that a sum is loaded and stored once for four samples. */
static void sum_rows(uint16_t *restrict sum, const uint8_t *row, ptrdiff_t stride, ptrdiff_t rows, size_t n)
{
    memset(sum, 0, n * sizeof *sum);
    for (; rows >= 4; rows -= 4, row += 4 * stride) {
        const uint8_t *const b = row + stride, *const c = b + stride, *const d = c + stride;
        for (size_t i = 0; i < n; i++)
            sum[i] = (uint16_t)(sum[i] + row[i] + b[i] + c[i] + d[i]);
    }
    for (; rows > 0; rows--, row += stride)
        for (size_t i = 0; i < n; i++)
            sum[i] = (uint16_t)(sum[i] + row[i]);
}

/* 8.8 samples of 8-bit rows a and b and the sum of the rows between. */
static void weigh_short(uint16_t *restrict out, const uint8_t *restrict a, const uint8_t *restrict b,
                        const uint16_t *restrict middle, const span *s, size_t n)
{
    const uint16_t w_a = (uint16_t)s->w_first, w_b = (uint16_t)s->w_last, w_middle = (uint16_t)s->w_middle;
    for (size_t i = 0; i < n; i++)
        out[i] = (uint16_t)(((uint32_t)a[i] * w_a + (uint32_t)b[i] * w_b + (uint32_t)middle[i] * w_middle +
                             ROUND_8_8) >> (WEIGHT_BITS - 8));
}

/* The same where the sum of the rows between needs more than 16 bits. */
static void weigh_long(uint16_t *restrict out, const uint8_t *first, ptrdiff_t stride, ptrdiff_t between,
                       const span *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *sample = first + i;
        uint32_t sum = *sample * s->w_first, middle = 0;
        for (ptrdiff_t row = 0; row < between; row++)
            middle += *(sample += stride);
        sum += middle * s->w_middle + sample[stride] * s->w_last;
        out[i] = (uint16_t)((sum + ROUND_8_8) >> (WEIGHT_BITS - 8));
    }
}

/* Rounds down: with the rounding at the end, an unscaled pixel is exactly cvtColor's. */
static void grey_from_bgr(uint16_t *restrict out, const uint16_t *restrict bgr, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        out[i] = (uint16_t)((bgr[3 * i] * (uint32_t)BLUE + bgr[3 * i + 1] * (uint32_t)GREEN +
                             bgr[3 * i + 2] * (uint32_t)RED) >> GREY_BITS);
}

static uint8_t weigh_columns(const uint16_t *grey, const span *s)
{
    uint32_t middle = 0;
    for (ptrdiff_t i = s->first + 1; i < s->last; i++)
        middle += grey[i];
    const uint32_t sum = grey[s->first] * s->w_first + grey[s->last] * s->w_last + middle * s->w_middle;
    return (uint8_t)((sum + (1u << (WEIGHT_BITS + 7))) >> (WEIGHT_BITS + 8));
}

static void store_row(void *out, size_t base, const uint8_t grey[FER_FACE_SIZE], fer_grey_kind kind)
{
    switch (kind) {
    case FER_GREY_UINT8:
        memcpy((uint8_t *)out + base, grey, FER_FACE_SIZE);
        break;
    case FER_GREY_INT8:
        for (int x = 0; x < FER_FACE_SIZE; x++)
            ((int8_t *)out)[base + (size_t)x] = (int8_t)(grey[x] - 128);
        break;
    case FER_GREY_FLOAT32:
        for (int x = 0; x < FER_FACE_SIZE; x++)
            ((float *)out)[base + (size_t)x] = (float)(grey[x] - 128) / 64.0f;
        break;
    }
}

/* Each has room for one row of samples. */
typedef struct {
    uint16_t *samples;
    uint16_t *other; /* the sum of the rows between, then the grey of the samples */
} scratch;

/* The samples of one output row, before the columns are weighed; s counts rows from `pixels`. */
static void weigh_rows(const uint8_t *pixels, ptrdiff_t stride, const span *s, size_t n, const scratch *room)
{
    const uint8_t *const first = pixels + s->first * stride;
    const ptrdiff_t between = s->last - s->first - 1;
    if (between > SUM_ROWS) {
        weigh_long(room->samples, first, stride, between, s, n);
    } else {
        sum_rows(room->other, first + stride, stride, between, n);
        weigh_short(room->samples, first, pixels + s->last * stride, room->other, s, n);
    }
}

/* `pixels` is the first row of the frame from the column on that `across` counts from. */
static void crop_face(const fer_frame *frame, const uint8_t *pixels, const span *across, const span *down,
                      const scratch *room, fer_grey_kind kind, void *out, size_t base)
{
    const size_t columns = (size_t)(across[FER_FACE_SIZE - 1].last + 1);
    const int colour = frame->channels == 3;
    const uint16_t *const grey = colour ? room->other : room->samples;
    for (int y = 0; y < FER_FACE_SIZE; y++) {
        uint8_t face_row[FER_FACE_SIZE];
        weigh_rows(pixels, frame->row_stride, &down[y], columns * (size_t)frame->channels, room);
        if (colour)
            grey_from_bgr(room->other, room->samples, columns);
        for (int x = 0; x < FER_FACE_SIZE; x++)
            face_row[x] = weigh_columns(grey, &across[x]);
        store_row(out, base + (size_t)y * FER_FACE_SIZE, face_row, kind);
    }
}

int fer_crop_faces(const fer_frame *frame, const double *squares, size_t count, fer_grey_kind kind,
                   void *out)
{
    size_t room_for = 0;
    scratch room = {NULL, NULL};
    for (size_t i = 0; i < count; i++) {
        const double *const square = squares + 3 * i;
        span across[FER_FACE_SIZE], down[FER_FACE_SIZE];
        axis_spans(square[0], square[2], frame->width, across);
        axis_spans(square[1], square[2], frame->height, down);

        const ptrdiff_t left = across[0].first;
        for (int x = 0; x < FER_FACE_SIZE; x++) {
            across[x].first -= left;
            across[x].last -= left;
        }
        const size_t samples = (size_t)((across[FER_FACE_SIZE - 1].last + 1) * frame->channels);
        if (samples > room_for) {
            free(room.samples);
            room.samples = malloc(2 * samples * sizeof *room.samples);
            if (room.samples == NULL)
                return -1;
            room.other = room.samples + samples;
            room_for = samples;
        }
        crop_face(frame, frame->pixels + left * frame->channels, across, down, &room, kind, out,
                  i * FER_FACE_PIXELS);
    }
    free(room.samples);
    return 0;
}
