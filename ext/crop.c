/* Faces out of camera frames: see kernels.h. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

/* On x86 the kernel is compiled twice, for any processor and for AVX2, which needs its helpers inlined
 * into either. It works on vectors of GNU C where the compiler has them, on single numbers elsewhere. */
#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

#if defined(__has_builtin) && !defined(FER_PORTABLE)
#if __has_builtin(__builtin_shufflevector) && __has_builtin(__builtin_convertvector)
#define WITH_VECTORS
#endif
#endif

#if defined(__x86_64__) && defined(__GNUC__) && !defined(FER_PORTABLE)
#define WITH_AVX2
#include <immintrin.h>
#endif

#if defined(WITH_VECTORS)
enum { LANES = 8 }; /* numbers that are worked on at once */
typedef uint8_t bytes __attribute__((vector_size(LANES)));
typedef uint16_t u16_lanes __attribute__((vector_size(2 * LANES)));
typedef uint32_t u32_lanes __attribute__((vector_size(4 * LANES)));
#define WIDENED(vector) __builtin_convertvector(vector, u32_lanes)
#define NARROWED(vector) __builtin_convertvector(vector, u16_lanes)
#else
enum { LANES = 1 };
typedef uint8_t bytes;
typedef uint16_t u16_lanes;
typedef uint32_t u32_lanes;
#define WIDENED(number) ((u32_lanes)(number))
#define NARROWED(number) ((u16_lanes)(number))
#endif

enum {
    WEIGHT_BITS = 15, /* weights fit 16 bits, and 8.8 samples times weights 32 */
    ONE = 1 << WEIGHT_BITS,
    GREY_BITS = 15,
    BLUE = 3735, /* BT.601 as in OpenCV's cvtColor; the sum is 2^GREY_BITS */
    GREEN = 19235,
    RED = 9798,
    ROUND_8_8 = 1 << (WEIGHT_BITS - 9), /* half of the last bit of an 8.8 sample, in 8.WEIGHT_BITS */
    ROTATION_BITS = 16, /* of the fraction of a place in a patch */
    PATCH_STEP = 8, /* sizes of patches are multiples, whatever LANES is, as their cells' places depend on it */
    PATCH_LIMIT = 200,
    SUM_ROWS = 128 /* rows of 8-bit samples whose sum fits 16 bits, even signed ones */
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

/* The mean over [start, stop), of which a sample is `density` of ONE. The samples between the ends share
 * one weight, rounded down, so that they can be added before they are weighed; the last one takes the rest. */
static span area_span(double start, double stop, double density, ptrdiff_t size)
{
    const ptrdiff_t first = floor_within(start, size);
    ptrdiff_t last = floor_within(stop, size);
    if ((double)last >= stop)
        last -= 1;
    if (last <= first)
        return single(first);

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

/* Four rows at a time, so that a sum is loaded and stored once for four samples. */
INLINE void sum_rows(uint16_t *restrict sum, const uint8_t *row, ptrdiff_t stride, ptrdiff_t rows, size_t n)
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
INLINE void weigh_short(uint16_t *restrict out, const uint8_t *restrict a, const uint8_t *restrict b,
                        const uint16_t *restrict middle, const span *s, size_t n)
{
    const uint16_t w_a = (uint16_t)s->w_first, w_b = (uint16_t)s->w_last, w_middle = (uint16_t)s->w_middle;
    for (size_t i = 0; i < n; i++)
        out[i] = (uint16_t)(((uint32_t)a[i] * w_a + (uint32_t)b[i] * w_b + (uint32_t)middle[i] * w_middle +
                             ROUND_8_8) >> (WEIGHT_BITS - 8));
}

/* The same with one row between, or none and `a` in its stead. As the weights sum to ONE, it is enough to
 * multiply the differences from the row between, which are 16-bit numbers. No weight may be ONE itself. */
INLINE void weigh_near(uint16_t *restrict out, const uint8_t *restrict a, const uint8_t *restrict middle,
                       const uint8_t *restrict b, const span *s, size_t n)
{
    const int16_t w_a = (int16_t)s->w_first, w_b = (int16_t)s->w_last;
    for (size_t i = 0; i < n; i++) {
        const int16_t from_a = (int16_t)(a[i] - middle[i]), from_b = (int16_t)(b[i] - middle[i]);
        const uint32_t part = (uint32_t)(from_a * w_a + from_b * w_b + ROUND_8_8);
        out[i] = (uint16_t)((uint32_t)(middle[i] << 8) + (part >> (WEIGHT_BITS - 8)));
    }
}

#if defined(WITH_AVX2)
#define AVX2 __attribute__((target("avx2")))

AVX2 static __m256i load_16(const uint8_t *p)
{
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)p));
}

/* Bits 7 to 22 of the weighed sum of a pair of differences. */
AVX2 static __m256i weigh_pairs(__m256i pairs, __m256i weights)
{
    const __m256i part = _mm256_add_epi32(_mm256_madd_epi16(pairs, weights), _mm256_set1_epi32(ROUND_8_8));
    return _mm256_srli_epi32(_mm256_slli_epi32(part, 24 - WEIGHT_BITS), 16);
}

/* weigh_near in half the instructions that compilers make of it, as they do not see vpmaddwd in it. */
AVX2 static void weigh_near_avx2(uint16_t *restrict out, const uint8_t *restrict a,
                                 const uint8_t *restrict middle, const uint8_t *restrict b, const span *s,
                                 size_t n)
{
    const __m256i weights = _mm256_set1_epi32((int)(s->w_first | s->w_last << 16));
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m256i from = load_16(middle + i);
        const __m256i from_a = _mm256_sub_epi16(load_16(a + i), from);
        const __m256i from_b = _mm256_sub_epi16(load_16(b + i), from);
        const __m256i low = weigh_pairs(_mm256_unpacklo_epi16(from_a, from_b), weights);
        const __m256i high = weigh_pairs(_mm256_unpackhi_epi16(from_a, from_b), weights);
        const __m256i sum = _mm256_add_epi16(_mm256_packus_epi32(low, high), _mm256_slli_epi16(from, 8));
        _mm256_storeu_si256((__m256i *)(out + i), sum);
    }
    weigh_near(out + i, a + i, middle + i, b + i, s, n - i);
}

/* weigh_short likewise; the sum of at most 128 rows is a signed 16-bit number, too. */
AVX2 static void weigh_short_avx2(uint16_t *restrict out, const uint8_t *restrict a,
                                  const uint8_t *restrict b, const uint16_t *restrict middle, const span *s,
                                  size_t n)
{
    const __m256i w_ends = _mm256_set1_epi32((int)(s->w_first | s->w_last << 16));
    const __m256i w_middle = _mm256_set1_epi32((int)(s->w_middle | (uint32_t)ROUND_8_8 << 16));
    const __m256i one = _mm256_set1_epi16(1);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m256i first = load_16(a + i), last = load_16(b + i);
        const __m256i sum = _mm256_loadu_si256((const __m256i *)(middle + i));
        const __m256i low = _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpacklo_epi16(first, last), w_ends),
                                             _mm256_madd_epi16(_mm256_unpacklo_epi16(sum, one), w_middle));
        const __m256i high = _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpackhi_epi16(first, last), w_ends),
                                              _mm256_madd_epi16(_mm256_unpackhi_epi16(sum, one), w_middle));
        const __m256i samples = _mm256_packus_epi32(_mm256_srli_epi32(low, WEIGHT_BITS - 8),
                                                    _mm256_srli_epi32(high, WEIGHT_BITS - 8));
        _mm256_storeu_si256((__m256i *)(out + i), samples);
    }
    weigh_short(out + i, a + i, b + i, middle + i, s, n - i);
}
#endif

INLINE void copy_row(uint16_t *restrict out, const uint8_t *restrict row, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint16_t)(row[i] << 8);
}

/* The same where the sum of the rows between needs more than 16 bits. */
INLINE void weigh_long(uint16_t *restrict out, const uint8_t *first, ptrdiff_t stride, ptrdiff_t between,
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

/* The two functions that have a variant for a processor. */
typedef struct {
    void (*near)(uint16_t *restrict out, const uint8_t *restrict a, const uint8_t *restrict middle,
                 const uint8_t *restrict b, const span *s, size_t n);
    void (*far)(uint16_t *restrict out, const uint8_t *restrict a, const uint8_t *restrict b,
                const uint16_t *restrict middle, const span *s, size_t n);
} weighers;

/* The samples of one output row, before the columns are weighed; s counts rows from `pixels`. */
INLINE void weigh_rows(const uint8_t *pixels, ptrdiff_t stride, const span *s, size_t n,
                       weighers weigh, uint16_t *restrict sum, uint16_t *restrict out)
{
    const uint8_t *const first = pixels + s->first * stride;
    const uint8_t *const last = pixels + s->last * stride;
    const ptrdiff_t between = s->last - s->first - 1;
    if (s->w_first == ONE || s->w_last == ONE) {
        copy_row(out, s->w_first == ONE ? first : last, n);
    } else if (between > SUM_ROWS) {
        weigh_long(out, first, stride, between, s, n);
    } else if (between > 1) {
        sum_rows(sum, first + stride, stride, between, n);
        weigh.far(out, first, last, sum, s, n);
    } else {
        weigh.near(out, first, between == 1 ? first + stride : first, last, s, n);
    }
}

/* Turn the corner of LANES x LANES numbers at `in`, whose rows are `pitch` apart, over its diagonal. */
#if defined(WITH_VECTORS)
INLINE void transpose(const uint16_t *in, size_t pitch, u16_lanes out[LANES])
{
    u16_lanes row[LANES];
    for (int i = 0; i < LANES; i++)
        memcpy(&row[i], in + (size_t)i * pitch, sizeof row[i]);
    /* Zipping row i with row i + 4 rotates the bits of a number's place by one: three of six. */
    for (int round = 0; round < 3; round++) {
        u16_lanes zipped[LANES];
        for (int i = 0; i < LANES / 2; i++) {
            zipped[2 * i] = __builtin_shufflevector(row[i], row[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
            zipped[2 * i + 1] = __builtin_shufflevector(row[i], row[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
        }
        memcpy(row, zipped, sizeof row);
    }
    memcpy(out, row, sizeof row);
}
#else
INLINE void transpose(const uint16_t *in, size_t pitch, u16_lanes out[LANES])
{
    (void)pitch;
    out[0] = in[0];
}
#endif

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

INLINE u16_lanes weigh_columns(const u16_lanes *grey, const span *s)
{
    u32_lanes sum = WIDENED(grey[s->first]) * s->w_first + WIDENED(grey[s->last]) * s->w_last +
                (1u << (WEIGHT_BITS + 7));
    if (s->last - s->first > 1) {
        u32_lanes middle = WIDENED(grey[s->first + 1]);
        for (ptrdiff_t i = s->first + 2; i < s->last; i++)
            middle += WIDENED(grey[i]);
        sum += middle * s->w_middle;
    }
    return NARROWED(sum >> (WEIGHT_BITS + 8));
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
            columns[x] = weigh_columns(j->transposed, &j->across[x]);
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
