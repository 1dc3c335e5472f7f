// AVX2. Each function is compiled for it by an attribute, so that one library runs everywhere; nothing of the standard
// library may be used inside, since its templates would be compiled for AVX2 too, and the linker might keep those for all.
#include "kernels.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

namespace jpq {
namespace {

// Transpose 16 columns of 32 documents. Lane l of vector i starts as row 16 l + i; four times, within lanes, the first
// half of the vectors is interleaved with the second.
AVX2 inline void transpose_strip(const std::uint8_t *codes, std::size_t m, std::uint8_t *tile) {
    __m256i rows[16];
    for (int i = 0; i < 16; ++i) {
        const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i *>(codes + i * m));
        const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i *>(codes + (i + 16) * m));
        rows[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
    }
    for (int step = 0; step < 4; ++step) {
        __m256i mixed[16];
        for (int i = 0; i < 8; ++i) {
            mixed[2 * i] = _mm256_unpacklo_epi8(rows[i], rows[i + 8]);
            mixed[2 * i + 1] = _mm256_unpackhi_epi8(rows[i], rows[i + 8]);
        }
        for (int i = 0; i < 16; ++i) rows[i] = mixed[i];
    }
    for (int i = 0; i < 16; ++i) _mm256_storeu_si256(reinterpret_cast<__m256i *>(tile + i * kBufferStride), rows[i]);
}

AVX2 void transpose_avx2(const std::uint8_t *codes, std::size_t m, const std::uint8_t *ahead, std::uint8_t *tile) {
    fetch(ahead, m / 4);
    for (std::size_t start = 0; start < kTile; start += 32) {
        std::size_t j = 0;
        for (; j + 16 <= m; j += 16) transpose_strip(codes + start * m + j, m, tile + j * kBufferStride + start);
        for (; j < m; ++j)
            for (std::size_t d = start; d < start + 32; ++d) tile[j * kBufferStride + d] = codes[d * m + j];
    }
}

// For each byte b where the mask's highest bit is set, else a. As an instruction, since compilers turn the intrinsic into
// a comparison with zero and a choice, one instruction more.
AVX2 inline __m256i choose(__m256i a, __m256i b, __m256i mask) {
    __m256i chosen;
    asm("vpblendvb %3, %2, %1, %0" : "=x"(chosen) : "x"(a), "x"(b), "x"(mask));
    return chosen;
}

// Sixteen entries of a table, in both lanes.
AVX2 inline __m256i sixteen(const std::uint8_t *table, int which) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i *>(table) + which));
}

// The first half of a table is kept as its difference (XOR) from the second: a shuffle gives zero where the highest bit of
// a code is set, so that both halves are combined where it is not. That takes the place of eight choices, which have two
// of the four units only, and these have to serve the shuffles, too.
AVX2 void prepare(std::uint8_t *tables, std::size_t m) {
    for (std::size_t j = 0; j < m; ++j, tables += kTable)
        for (std::size_t c = 0; c < kTable / 2; ++c) tables[c] ^= tables[c + kTable / 2];
}

struct Two {
    __m256i of[2];
};

// Entries by the low four bits and the highest, for each of eight values of the three between.
AVX2 inline Two eighth(const std::uint8_t *table, int which, const Two &codes, const Two &low) {
    const __m256i first = sixteen(table, which), second = sixteen(table, which + 8);
    Two found;
    for (int v = 0; v < 2; ++v)
        found.of[v] = _mm256_xor_si256(_mm256_shuffle_epi8(second, low.of[v]), _mm256_shuffle_epi8(first, codes.of[v]));
    // Without this barrier compilers look all up before they choose, for which there are too few registers.
    asm("" : "+x"(found.of[0]), "+x"(found.of[1]));
    return found;
}

AVX2 inline Two choose(const Two &a, const Two &b, const Two &masks) {
    return {{choose(a.of[0], b.of[0], masks.of[0]), choose(a.of[1], b.of[1], masks.of[1])}};
}

// Codes shifted, so that the next lower bit is the highest.
AVX2 inline Two shifted(const Two &codes) {
    return {{_mm256_add_epi8(codes.of[0], codes.of[0]), _mm256_add_epi8(codes.of[1], codes.of[1])}};
}

// Look 64 codes up: in sixteenths of the table by the low four bits, then choose bit by bit.
AVX2 inline Two look_up(const std::uint8_t *table, const Two &codes) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const Two low = {{_mm256_and_si256(codes.of[0], nibble), _mm256_and_si256(codes.of[1], nibble)}};
    const Two bit5 = shifted(shifted(codes)), bit4 = shifted(bit5);
    Two halves[2];
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
        Two quarters[2];
#pragma GCC unroll 2
        for (int quarter = 0; quarter < 2; ++quarter) {
            const int which = 4 * half + 2 * quarter;
            const Two even = eighth(table, which, codes, low);
            quarters[quarter] = choose(even, eighth(table, which + 1, codes, low), bit4);
        }
        halves[half] = choose(quarters[0], quarters[1], bit5);
    }
    return choose(halves[0], halves[1], shifted(codes));
}

// Look 64 pairs of codes of 4 bits up, and add the two entries of each pair, which fit a byte together.
AVX2 inline Two look_up_pairs(const std::uint8_t *table, const Two &codes) {
    const __m256i nibble = _mm256_set1_epi8(15), first = sixteen(table, 0), second = sixteen(table, 1);
    Two found;
    for (int v = 0; v < 2; ++v) {
        const __m256i low = _mm256_and_si256(codes.of[v], nibble);
        const __m256i high = _mm256_and_si256(_mm256_srli_epi16(codes.of[v], 4), nibble);
        found.of[v] = _mm256_add_epi8(_mm256_shuffle_epi8(first, low), _mm256_shuffle_epi8(second, high));
    }
    return found;
}

AVX2 inline std::uint32_t at_least(const std::uint16_t *values, __m256i limit) {
    const __m256i *vectors = reinterpret_cast<const __m256i *>(values);
    const __m256i first = _mm256_load_si256(vectors), second = _mm256_load_si256(vectors + 1);
    const __m256i hits = _mm256_packs_epi16(_mm256_cmpeq_epi16(_mm256_max_epu16(first, limit), first),
                                            _mm256_cmpeq_epi16(_mm256_max_epu16(second, limit), second));
    return static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_permute4x64_epi64(hits, 0xd8)));
}

// The columns of a tile lie a row apart, of which the processor fetches none by itself: with each, the one that the next
// tile wants is fetched into the first-level cache, and a line from `ahead` on into the second.
template <std::size_t stride, Entries entries>
AVX2 bool add_up(const Rows &rows, const std::uint8_t *tables, const std::uint8_t *ahead, std::uint16_t threshold,
                 Sums *sums) {
    const __m256i limit = _mm256_set1_epi16(static_cast<short>(threshold));
    constexpr std::size_t kSize = entries == Entries::bytes ? kTable : kPairTable;
    const std::size_t share = fetched(stride) * rows.count / kTilesInGroup;
    const std::size_t step = ahead ? 64 * fetched(stride) / kTilesInGroup : 0;
    std::uint32_t any = 0;
    for (std::size_t t = 0; t < kTilesInGroup; ++t) {
        const std::uint8_t *tile = rows.codes + t * kTile;
        const std::size_t to_next = t + 1 < kTilesInGroup ? kTile : rows.count * stride - t * kTile;
        __m256i all[2], odd[2];
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) {
            const __m256i *even = reinterpret_cast<const __m256i *>(sums->values[2 * t]) + v;
            const __m256i *of_odd = reinterpret_cast<const __m256i *>(sums->values[2 * t + 1]) + v;
            odd[v] = rows.first ? _mm256_setzero_si256() : _mm256_load_si256(of_odd);
            all[v] = rows.first ? odd[v] : _mm256_add_epi16(_mm256_load_si256(even), _mm256_slli_epi16(odd[v], 8));
        }
        const std::uint8_t *from = tile, *table = tables, *further = ahead ? ahead + 64 * share * t : tile;
#pragma GCC unroll 2
        for (std::size_t j = 0; j < rows.count; ++j, from += stride, table += kSize, further += step) {
            fetch<1, Cache::first>(from + to_next, 1);
            fetch(further, 1);
            const __m256i *vectors = reinterpret_cast<const __m256i *>(from);
            const Two codes = {{_mm256_loadu_si256(vectors), _mm256_loadu_si256(vectors + 1)}};
            const Two found = entries == Entries::bytes ? look_up(table, codes) : look_up_pairs(table, codes);
            for (int v = 0; v < 2; ++v) {
                all[v] = _mm256_add_epi16(all[v], found.of[v]);
                odd[v] = _mm256_add_epi16(odd[v], _mm256_srli_epi16(found.of[v], 8));
            }
        }
        for (int v = 0; v < 2; ++v) {
            const __m256i even = _mm256_sub_epi16(all[v], _mm256_slli_epi16(odd[v], 8));
            _mm256_store_si256(reinterpret_cast<__m256i *>(sums->values[2 * t]) + v, even);
            _mm256_store_si256(reinterpret_cast<__m256i *>(sums->values[2 * t + 1]) + v, odd[v]);
        }
        for (std::size_t half = 2 * t; half < 2 * t + 2; ++half)
            any |= sums->hits[half] = at_least(sums->values[half], limit);
    }
    return rows.last && any != 0;
}

// Sums of one document for 16 or 32 queries.
template <int vectors>
AVX2 void add_lanes(const LaneRows &rows) {
    constexpr std::size_t kLanes = 16 * vectors;
    const __m256i *limits = reinterpret_cast<const __m256i *>(rows.thresholds);
    for (std::size_t d = 0; d < rows.documents; ++d) {
        const std::uint8_t *codes = rows.codes + d * rows.next_document;
        __m256i *sums = reinterpret_cast<__m256i *>(rows.sums + d * kLanes), totals[vectors];
        fetch(rows.ahead + d * rows.next_ahead, 1);
        for (int v = 0; v < vectors; ++v) totals[v] = rows.first ? _mm256_setzero_si256() : _mm256_load_si256(sums + v);
        const std::uint16_t *table = rows.tables;
#pragma GCC unroll 8
        for (std::size_t j = 0; j < rows.count; ++j, table += kTable * kLanes) {
            const __m256i *entries = reinterpret_cast<const __m256i *>(table + codes[j * rows.next_row] * kLanes);
            for (int v = 0; v < vectors; ++v) totals[v] = _mm256_add_epi16(totals[v], _mm256_load_si256(entries + v));
        }
        for (int v = 0; v < vectors; ++v) _mm256_store_si256(sums + v, totals[v]);
        if (!rows.last) continue;
        __m256i reached[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        for (int v = 0; v < vectors; ++v)
            reached[v] = _mm256_cmpeq_epi16(_mm256_max_epu16(totals[v], _mm256_load_si256(limits + v)), totals[v]);
        const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi16(reached[0], reached[1]), 0xd8);
        rows.hits[d] = static_cast<std::uint32_t>(_mm256_movemask_epi8(packed));
    }
}

constexpr Kernel kKernel = {"avx2",
                            transpose_avx2,
                            add_up<kBufferStride, Entries::bytes>,
                            add_up<kFileStride, Entries::bytes>,
                            prepare,
                            add_up<kBufferStride, Entries::pairs>,
                            add_up<kFileStride, Entries::pairs>,
                            {add_16_lanes_avx2, add_32_lanes_avx2}};

}  // namespace

AVX2 void add_16_lanes_avx2(const LaneRows &rows) { add_lanes<1>(rows); }
AVX2 void add_32_lanes_avx2(const LaneRows &rows) { add_lanes<2>(rows); }

void append_avx2_kernel(std::vector<Kernel> *kernels) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) kernels->push_back(kKernel);
}

}  // namespace jpq

#else

namespace jpq {
void append_avx2_kernel(std::vector<Kernel> *) {}
}  // namespace jpq

#endif
