/* Faces out of camera frames: see kernels.h. */
#include "area.h"

#include <stdlib.h>

enum {
    GREY_BITS = 15,
    BLUE = 3735, /* BT.601 as in OpenCV's cvtColor; the sum is 2^GREY_BITS */
    GREEN = 19235,
    RED = 9798,
    ROTATION_BITS = 16, /* of the fraction of a place in a patch */
    PATCH_STEP = 8, /* sizes of patches are multiples, whatever LANES is, as their cells' places depend on it */
    PATCH_LIMIT = 200
};

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
    if (side < FER_FACE_SIZE) {
        for (int i = 0; i < FER_FACE_SIZE; i++)
            spans[i] = linear_span(origin + side * (i + 0.5) / FER_FACE_SIZE - 0.5, size);
        return;
    }
    const double density = ONE / (side / FER_FACE_SIZE);
    double start = origin;
    for (int i = 0; i < FER_FACE_SIZE; i++) {
        const double stop = origin + side * (i + 1) / FER_FACE_SIZE;
        spans[i] = area_span(start, stop, density, size);
        start = stop;
    }
}

/* In place. Rounds down: with the rounding at the end, an unscaled pixel is exactly cvtColor's. */
INLINE void grey_from_colours(u16_lanes *samples, size_t pixels, fer_order order)
{
    const uint32_t w_first = order == FER_ORDER_RGB ? RED : BLUE, w_third = RED + BLUE - w_first;
    for (size_t i = 0; i < pixels; i++) {
        const u32_lanes first = WIDENED(samples[3 * i]), green = WIDENED(samples[3 * i + 1]);
        const u32_lanes third = WIDENED(samples[3 * i + 2]);
        samples[i] = NARROWED((first * w_first + green * GREEN + third * w_third) >> GREY_BITS);
    }
}

INLINE void store(void *out, size_t base, const uint16_t *restrict grey, size_t n, fer_grey_kind kind)
{
    switch (kind) {
    case FER_GREY_UINT8:
        for (size_t i = 0; i < n; i++)
            ((uint8_t *)out)[base + i] = (uint8_t)grey[i];
        break;
    case FER_GREY_INT8:
        for (size_t i = 0; i < n; i++)
            ((int8_t *)out)[base + i] = (int8_t)(grey[i] - 128);
        break;
    case FER_GREY_FLOAT32:
        for (size_t i = 0; i < n; i++)
            ((float *)out)[base + i] = (float)(grey[i] - 128) / 64.0f;
        break;
    }
}

/* One face or patch to cut: where it is, what each axis gives, and scratch memory. */
typedef struct {
    const uint8_t *pixels; /* first row of the frame, from the column on that `across` counts from */
    ptrdiff_t row_stride;
    fer_order order;
    size_t columns, channels;
    int size; /* of the output, a multiple of LANES: FER_FACE_SIZE, or that of a patch */
    span across[PATCH_LIMIT], down[PATCH_LIMIT];
    void *scratch;       /* what the following point into */
    uint16_t *rows;   /* LANES rows, `pitch` samples apart */
    size_t pitch;     /* at least columns * channels, filled up to whole vectors */
    uint16_t *sum;    /* one row */
    u16_lanes *transposed;   /* pitch columns of LANES rows */
} crop_task;

INLINE void cut(const crop_task *j, weighers weigh, fer_grey_kind kind, void *out, size_t base)
{
    const size_t samples = j->columns * j->channels;
    const size_t size = (size_t)j->size;
    for (size_t y = 0; y < size; y += LANES) {
        for (int k = 0; k < LANES; k++)
            weigh_rows(j->pixels, j->row_stride, &j->down[y + (size_t)k], samples, weigh, j->sum,
                       j->rows + (size_t)k * j->pitch);
        for (size_t i = 0; i < samples; i += LANES)
            transpose(j->rows + i, j->pitch, j->transposed + i);
        if (j->order != FER_ORDER_GREY)
            grey_from_colours(j->transposed, j->columns, j->order);

        u16_lanes columns[PATCH_LIMIT];
        uint16_t rows[LANES * PATCH_LIMIT];
        for (size_t x = 0; x < size; x++)
            columns[x] = weigh_columns(j->transposed, 1, &j->across[x]);
        for (size_t x = 0; x < size; x += LANES) {
            u16_lanes square[LANES];
            transpose((const uint16_t *)&columns[x], LANES, square);
            for (size_t k = 0; k < LANES; k++)
                memcpy(rows + k * size + x, &square[k], sizeof square[k]);
        }
        store(out, base + y * size, rows, LANES * size, kind);
    }
}

#if defined(WITH_AVX2)
AVX2 static void cut_avx2(const crop_task *j, fer_grey_kind kind, void *out, size_t base)
{
    const weighers weigh = {weigh_near_avx2, weigh_short_avx2};
    cut(j, weigh, kind, out, base);
}
#endif

static void cut_dispatched(const crop_task *j, fer_grey_kind kind, void *out, size_t base)
{
#if defined(WITH_AVX2)
    if (__builtin_cpu_supports("avx2")) {
        cut_avx2(j, kind, out, base);
        return;
    }
#endif
    const weighers weigh = {weigh_near, weigh_short};
    cut(j, weigh, kind, out, base);
}

/* Makes room for `samples` a row; returns -1 where there is none. */
static int allocate_scratch(crop_task *j, size_t samples)
{
    const size_t pitch = (samples + 31) / 32 * 32;
    if (pitch <= j->pitch)
        return 0;
    free(j->scratch);
    j->pitch = 0;
    j->scratch = malloc((2 * LANES + 1) * pitch * sizeof(uint16_t) + sizeof(u32_lanes));
    if (j->scratch == NULL)
        return -1;
    j->pitch = pitch;
    j->transposed = (u16_lanes *)(((uintptr_t)j->scratch + sizeof(u32_lanes) - 1) / sizeof(u32_lanes) * sizeof(u32_lanes));
    j->rows = (uint16_t *)(j->transposed + pitch);
    j->sum = j->rows + LANES * pitch;
    /* The samples that fill up the last vector are read, though they do not count. */
    for (size_t k = 1; k <= LANES; k++)
        memset(j->rows + k * pitch - 32, 0, 32 * sizeof *j->rows);
    return 0;
}

/* Cuts what the spans of `j` say, which count from the frame's first pixel. */
static int cut_spans(crop_task *j, const fer_frame *frame, fer_grey_kind kind, void *out, size_t base)
{
    const ptrdiff_t left = j->across[0].first;
    for (int x = 0; x < j->size; x++) {
        j->across[x].first -= left;
        j->across[x].last -= left;
    }
    j->pixels = frame->pixels + left * (ptrdiff_t)j->channels;
    j->columns = (size_t)(j->across[j->size - 1].last + 1);
    if (allocate_scratch(j, j->columns * j->channels) != 0)
        return -1;
    cut_dispatched(j, kind, out, base);
    return 0;
}

/* A rotated face takes two steps. The upright square around it becomes a patch of grey cells, as a face
 * would, with the same weights; then the patch is sampled along the rotated rows, linearly between the
 * centres of its cells. From a side of FER_FACE_SIZE on a cell is half an output pixel wide, and four
 * samples make a pixel: unrotated, they are the centres of the four cells that the pixel covers. Below,
 * cells are pixels of the frame, and one sample is enough. */
typedef struct {
    int fine;       /* samples of an output pixel on either axis */
    int32_t dx, dy; /* from a sample to the next in its row, in 2^-ROTATION_BITS cells; -dy, dx to the next row */
    int size;       /* cells of the patch on a side */
} rotation;

/* An even number, so that half the way over a row of samples is a whole one. */
static int32_t rotation_step(double length)
{
    const double half = (double)(1 << (ROTATION_BITS - 1)), least = length > -1.0 ? length : -1.0;
    return 2 * ((int32_t)((least < 1.0 ? least : 1.0) * half + (half + 0.5)) - (1 << (ROTATION_BITS - 1)));
}

static rotation rotation_of(double side, double cosine, double sine)
{
    rotation t;
    const double step = side < FER_FACE_SIZE ? side / FER_FACE_SIZE : 1.0;
    t.fine = side < FER_FACE_SIZE ? 1 : 2;
    t.dx = rotation_step(step * cosine);
    t.dy = rotation_step(step * sine);
    const int32_t widest = (t.dx < 0 ? -t.dx : t.dx) + (t.dy < 0 ? -t.dy : t.dy);
    const int32_t cells = (t.fine * FER_FACE_SIZE - 1) * widest >> ROTATION_BITS; /* between outermost samples */
    t.size = (cells + 3 + PATCH_STEP - 1) / PATCH_STEP * PATCH_STEP;
    return t;
}

/* The cells of one axis, for a square whose corner is at `origin`. Returns where its centre is, in
 * 2^-ROTATION_BITS cells from the centre of the first one. */
static int32_t patch_spans(double origin, double side, ptrdiff_t frame, int size, span spans[PATCH_LIMIT])
{
    const double middle = origin + side / 2;
    if (side >= FER_FACE_SIZE) {
        /* So large a cell is wider than any frame, and a larger one would overflow. */
        const double cell = (side < 1e300 ? side : 1e300) / (2 * FER_FACE_SIZE);
        for (int i = 0; i < size; i++)
            spans[i] = area_span(middle + cell * (i - size / 2), middle + cell * (i + 1 - size / 2), ONE / cell,
                                 frame);
        return (int32_t)(size - 1) * (1 << (ROTATION_BITS - 1));
    }
    /* Farther out there is nothing but the edge. */
    const double least = middle > -PATCH_LIMIT ? middle : -PATCH_LIMIT;
    const double limit = (double)(frame + PATCH_LIMIT), centre = (least < limit ? least : limit) - 0.5;
    const ptrdiff_t first = (ptrdiff_t)(centre + 2 * PATCH_LIMIT) - 2 * PATCH_LIMIT - (size / 2 - 1);
    for (int i = 0; i < size; i++)
        spans[i] = single(floor_within((double)(first + i), frame));
    return (int32_t)((centre - (double)first) * (1 << ROTATION_BITS) + 0.5);
}

INLINE int32_t sample(const uint8_t *patch, int32_t size, int32_t x, int32_t y)
{
    const uint8_t *const p = patch + (y >> ROTATION_BITS) * size + (x >> ROTATION_BITS), *const q = p + size;
    const int32_t right = x >> (ROTATION_BITS - 8) & 255, down = y >> (ROTATION_BITS - 8) & 255;
    const int32_t above = p[0] * 256 + (p[1] - p[0]) * right, below = q[0] * 256 + (q[1] - q[0]) * right;
    return above * 256 + (below - above) * down;
}

static void sample_patch(const uint8_t *patch, const rotation *t, int32_t x0, int32_t y0, fer_grey_kind kind,
                         void *out, size_t base)
{
    const int shift = t->fine == 2 ? 18 : 16;
    for (int y = 0; y < FER_FACE_SIZE; y++) {
        int32_t sums[FER_FACE_SIZE] = {0};
        for (int k = 0; k < t->fine; k++, x0 -= t->dy, y0 += t->dx) {
            int32_t at_x = x0, at_y = y0;
            for (int x = 0; x < FER_FACE_SIZE; x++)
                for (int l = 0; l < t->fine; l++, at_x += t->dx, at_y += t->dy)
                    sums[x] += sample(patch, t->size, at_x, at_y);
        }
        uint16_t row[FER_FACE_SIZE];
        for (int x = 0; x < FER_FACE_SIZE; x++)
            row[x] = (uint16_t)((sums[x] + (1 << (shift - 1))) >> shift);
        store(out, base + (size_t)(y * FER_FACE_SIZE), row, FER_FACE_SIZE, kind);
    }
}

static int crop_upright(crop_task *j, const fer_frame *frame, const double square[3], fer_grey_kind kind, void *out,
                        size_t base)
{
    j->size = FER_FACE_SIZE;
    axis_spans(square[0], square[2], frame->width, j->across);
    axis_spans(square[1], square[2], frame->height, j->down);
    return cut_spans(j, frame, kind, out, base);
}

static int crop_rotated(crop_task *j, const fer_frame *frame, const double square[3], const double direction[2],
                       fer_grey_kind kind, void *out, size_t base)
{
    uint8_t patch[PATCH_LIMIT * PATCH_LIMIT];
    const rotation t = rotation_of(square[2], direction[0], direction[1]);
    const int32_t x = patch_spans(square[0], square[2], frame->width, t.size, j->across);
    const int32_t y = patch_spans(square[1], square[2], frame->height, t.size, j->down);
    j->size = t.size;
    if (cut_spans(j, frame, FER_GREY_UINT8, patch, 0) != 0)
        return -1;
    const int32_t half = t.fine * FER_FACE_SIZE - 1;
    sample_patch(patch, &t, x - half * ((t.dx - t.dy) / 2), y - half * ((t.dx + t.dy) / 2), kind, out, base);
    return 0;
}

int fer_crop_faces(const fer_frame *frame, const double *squares, const double *rotations, size_t count,
                   fer_grey_kind kind, void *out)
{
    crop_task j;
    int status = 0;
    j.row_stride = frame->row_stride;
    j.order = frame->order;
    j.channels = frame->order == FER_ORDER_GREY ? 1 : 3;
    j.scratch = NULL;
    j.pitch = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        const double *const direction = rotations != NULL ? rotations + 2 * i : NULL;
        const size_t base = i * FER_FACE_PIXELS;
        if (direction == NULL || (direction[0] == 1.0 && direction[1] == 0.0))
            status = crop_upright(&j, frame, squares + 3 * i, kind, out, base);
        else
            status = crop_rotated(&j, frame, squares + 3 * i, direction, kind, out, base);
    }
    free(j.scratch);
    return status;
}
