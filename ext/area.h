/* What crop.c and shrink.c share: means over areas of a frame, in integers, a few rows at a time. */
#ifndef FER_EDGE_AREA_H
#define FER_EDGE_AREA_H

#include "kernels.h"

#include <string.h>

/* On x86 the kernels are compiled twice, for any processor and for AVX2, which needs its helpers inlined
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
    ROUND_8_8 = 1 << (WEIGHT_BITS - 9), /* half of the last bit of an 8.8 sample, in 8.WEIGHT_BITS */
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

/* The mean over the columns of `s`, which are `step` apart. */
INLINE u16_lanes weigh_columns(const u16_lanes *samples, size_t step, const span *s)
{
    u32_lanes sum = WIDENED(samples[(size_t)s->first * step]) * s->w_first +
                    WIDENED(samples[(size_t)s->last * step]) * s->w_last + (1u << (WEIGHT_BITS + 7));
    if (s->last - s->first > 1) {
        u32_lanes middle = WIDENED(samples[(size_t)(s->first + 1) * step]);
        for (ptrdiff_t i = s->first + 2; i < s->last; i++)
            middle += WIDENED(samples[(size_t)i * step]);
        sum += middle * s->w_middle;
    }
    return NARROWED(sum >> (WEIGHT_BITS + 8));
}

#endif
