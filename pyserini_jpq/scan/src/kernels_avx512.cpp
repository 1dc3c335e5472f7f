// AVX-512 with and without VBMI. Each function is compiled for its own instruction set by an attribute, so that one
// library runs everywhere; nothing of the standard library may be used inside, since its templates would be compiled
// for that set too, and the linker might keep those for all.
#include "kernels.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl")))
#define VBMI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi")))

namespace jpq {
namespace {

// ---- What both kinds share

// Turn up to 16 columns of 64 documents round, as for AVX2 with four lanes.
template <bool whole>
AVX512 inline void transpose_strip_512(const std::uint8_t *codes, std::size_t m, std::size_t columns,
                                       std::uint8_t *tile) {
    const __mmask16 mask = static_cast<__mmask16>((1u << columns) - 1);
    __m512i rows[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
        const std::uint8_t *row = codes + i * m;
        __m128i lanes[4];
        for (int lane = 0; lane < 4; ++lane) {
            const std::uint8_t *from = row + 16 * lane * m;
            lanes[lane] = whole ? _mm_loadu_si128(reinterpret_cast<const __m128i *>(from))
                                : _mm_maskz_loadu_epi8(mask, from);
        }
        // Two halves, then both: insertions from memory into the whole register took longer.
        const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(lanes[0]), lanes[1], 1);
        const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(lanes[2]), lanes[3], 1);
        rows[i] = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    }
#pragma GCC unroll 4
    for (int step = 0; step < 4; ++step) {
        __m512i mixed[16];
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) {
            mixed[2 * i] = _mm512_unpacklo_epi8(rows[i], rows[i + 8]);
            mixed[2 * i + 1] = _mm512_unpackhi_epi8(rows[i], rows[i + 8]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) rows[i] = mixed[i];
    }
#pragma GCC unroll 16
    for (std::size_t i = 0; i < 16; ++i)
        if (whole || i < columns) _mm512_store_si512(tile + i * kBufferStride, rows[i]);
}

AVX512 void transpose_512(const std::uint8_t *codes, std::size_t m, const std::uint8_t *ahead, std::uint8_t *tile) {
    const std::uint8_t *next = codes + kTile * m;
    const std::size_t near = m < 32 ? 16 : 32;
    std::size_t j = 0;
    for (; j + 16 <= m; j += 16) {
        fetch(ahead + 16 * j, 4);
        fetch<1, Cache::first>(next + 4 * near * j, near);
        transpose_strip_512<true>(codes + j, m, 16, tile + j * kBufferStride);
    }
    if (j < m) {
        fetch(ahead + 16 * j, (m - j) / 4);
        transpose_strip_512<false>(codes + j, m, m - j, tile + j * kBufferStride);
    }
}

// Start the sums of a group's documents: of even and odd ones as words, and of odd ones alone.
AVX512 inline void start(const Rows &rows, const Sums *sums, __m512i *all, __m512i *odd) {
#pragma GCC unroll 8
    for (std::size_t t = 0; t < kTilesInGroup; ++t) {
        odd[t] = rows.first ? _mm512_setzero_si512() : _mm512_load_si512(sums->values[2 * t + 1]);
        all[t] = rows.first ? odd[t]
                            : _mm512_add_epi16(_mm512_load_si512(sums->values[2 * t]), _mm512_slli_epi16(odd[t], 8));
    }
}

// Take the sums of even and odd documents apart and compare them, after the last rows; write them where they are needed.
AVX512 inline bool finish(const Rows &rows, const __m512i *all, const __m512i *odd, std::uint16_t threshold,
                          Sums *sums) {
    const __m512i limit = _mm512_set1_epi16(static_cast<short>(threshold));
    __m512i even[kTilesInGroup];
    std::uint32_t hits[2 * kTilesInGroup], any = 0;
#pragma GCC unroll 8
    for (std::size_t t = 0; t < kTilesInGroup; ++t) {
        even[t] = _mm512_sub_epi16(all[t], _mm512_slli_epi16(odd[t], 8));
        any |= hits[2 * t] = _mm512_cmpge_epu16_mask(even[t], limit);
        any |= hits[2 * t + 1] = _mm512_cmpge_epu16_mask(odd[t], limit);
    }
    if (rows.last && any == 0) return false;
    for (std::size_t t = 0; t < kTilesInGroup; ++t) {
        _mm512_store_si512(sums->values[2 * t], even[t]);
        _mm512_store_si512(sums->values[2 * t + 1], odd[t]);
        sums->hits[2 * t] = hits[2 * t];
        sums->hits[2 * t + 1] = hits[2 * t + 1];
    }
    return rows.last;
}

// ---- AVX-512 without VBMI: 16-bit permutations fetch pairs of entries, of which the code's highest bit chooses one

// Put the entries of codes c and c + 128 side by side: 128 words, which the lower seven bits of a code name.
void prepare(std::uint8_t *tables, std::size_t m) {
    std::uint8_t pairs[kTable];
    for (std::size_t j = 0; j < m; ++j, tables += kTable) {
        for (std::size_t c = 0; c < kTable; ++c) pairs[2 * c % kTable + 2 * c / kTable] = tables[c];
        for (std::size_t c = 0; c < kTable; ++c) tables[c] = pairs[c];
    }
}

// Words by the lower six bits of each, of the first 64 or, as the mask says, of the last; other bits do not matter.
AVX512 inline __m512i look_up_words(const __m512i *table, __m512i codes, __mmask32 last) {
    const __m512i of_first = _mm512_permutex2var_epi16(table[0], codes, table[1]);
    return _mm512_mask_blend_epi16(last, of_first, _mm512_permutex2var_epi16(table[2], codes, table[3]));
}

AVX512 inline __mmask32 with_bit(__m512i words, int bit) {
    return _mm512_test_epi16_mask(words, _mm512_set1_epi16(static_cast<short>(1 << bit)));
}

// Look 64 codes up. Instructions are what costs time here: words of even and of odd codes become bytes at once, where a
// shift for each code and two masks took five more.
AVX512 inline __m512i look_up(const __m512i *table, __m512i codes) {
    const __m512i odd_codes = _mm512_srli_epi16(codes, 8);
    const __m512i even = look_up_words(table, codes, with_bit(codes, 6));
    const __m512i odd = look_up_words(table, odd_codes, with_bit(odd_codes, 6));
    const __mmask32 first_of_odd = _mm512_testn_epi16_mask(odd_codes, _mm512_set1_epi16(1 << 7));
    return _mm512_mask_blend_epi8(0xAAAAAAAAAAAAAAAA, _mm512_mask_srli_epi16(even, with_bit(codes, 7), even, 8),
                                  _mm512_mask_slli_epi16(odd, first_of_odd, odd, 8));
}

// Look 64 pairs of codes of 4 bits up, and add the two entries of each pair, which fit a byte together.
AVX512 inline __m512i look_up_pairs(const __m512i *table, __m512i codes) {
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i low = _mm512_and_si512(codes, nibble), high = _mm512_and_si512(_mm512_srli_epi16(codes, 4), nibble);
    return _mm512_add_epi8(_mm512_shuffle_epi8(table[0], low), _mm512_shuffle_epi8(table[1], high));
}

template <std::size_t stride, Entries entries>
AVX512 bool add_up_avx512(const Rows &rows, const std::uint8_t *tables, const std::uint8_t *ahead,
                          std::uint16_t threshold, Sums *sums) {
    constexpr bool in_file = stride == kFileStride;
    constexpr std::size_t lines = fetched(stride);
    __m512i all[kTilesInGroup], odd[kTilesInGroup];
    start(rows, sums, all, odd);
    std::size_t j = 0;
    do {  // a loop that may run no time at all keeps two copies of the sums, more than there are registers
        __m512i table[4];
        if (ahead) fetch<in_file ? 2 : 1, in_file ? Cache::first : Cache::second>(ahead + 64 * lines * j, lines);
        fetch_sums(rows, j);
        if (entries == Entries::bytes) {
#pragma GCC unroll 4
            for (int part = 0; part < 4; ++part) table[part] = _mm512_loadu_si512(tables + j * kTable + 64 * part);
        } else {
#pragma GCC unroll 2
            for (int part = 0; part < 2; ++part)
                table[part] = _mm512_broadcast_i32x4(
                    _mm_loadu_si128(reinterpret_cast<const __m128i *>(tables + j * kPairTable) + part));
        }
#pragma GCC unroll 8
        for (std::size_t t = 0; t < kTilesInGroup; ++t) {
            const __m512i codes = _mm512_loadu_si512(rows.codes + j * stride + t * kTile);
            const __m512i found = entries == Entries::bytes ? look_up(table, codes) : look_up_pairs(table, codes);
            all[t] = _mm512_add_epi16(all[t], found);
            odd[t] = _mm512_add_epi16(odd[t], _mm512_srli_epi16(found, 8));
            asm("" : "+v"(all[t]), "+v"(odd[t]));  // else compilers mix tiles, for which there are too few registers
        }
    } while (++j < rows.count);
    return finish(rows, all, odd, threshold, sums);
}

// ---- AVX-512 VBMI: two permutations of bytes hold the whole table in four registers

template <std::size_t stride>
VBMI bool add_up_vbmi(const Rows &rows, const std::uint8_t *tables, const std::uint8_t *ahead, std::uint16_t threshold,
                      Sums *sums) {
    __m512i all[kTilesInGroup], odd[kTilesInGroup];
    start(rows, sums, all, odd);
    std::size_t j = 0;
    do {  // as above
        const std::uint8_t *table = tables + j * kTable;
        if (ahead) fetch<stride == kFileStride ? 4 : 1>(ahead + 64 * fetched(stride) * j, fetched(stride));
        fetch_sums(rows, j);
        const __m512i first = _mm512_loadu_si512(table), second = _mm512_loadu_si512(table + 64),
                      third = _mm512_loadu_si512(table + 128), fourth = _mm512_loadu_si512(table + 192);
#pragma GCC unroll 8
        for (std::size_t t = 0; t < kTilesInGroup; ++t) {
            const __m512i codes = _mm512_loadu_si512(rows.codes + j * stride + t * kTile);
            const __m512i low = _mm512_permutex2var_epi8(first, codes, second);
            const __m512i high = _mm512_permutex2var_epi8(third, codes, fourth);
            const __m512i entries = _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), low, high);
            all[t] = _mm512_add_epi16(all[t], entries);
            odd[t] = _mm512_add_epi16(odd[t], _mm512_srli_epi16(entries, 8));
        }
    } while (++j < rows.count);
    return finish(rows, all, odd, threshold, sums);
}

}  // namespace

void append_avx512_kernels(std::vector<Kernel> *kernels) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
        if (__builtin_cpu_supports("avx512vbmi"))
            kernels->push_back({"avx512vbmi", transpose_512, add_up_vbmi<kBufferStride>, add_up_vbmi<kFileStride>});
        kernels->push_back({"avx512",
                            transpose_512,
                            add_up_avx512<kBufferStride, Entries::bytes>,
                            add_up_avx512<kFileStride, Entries::bytes>,
                            prepare,
                            add_up_avx512<kBufferStride, Entries::pairs>,
                            add_up_avx512<kFileStride, Entries::pairs>,
                            {add_16_lanes_avx2, add_32_lanes_avx2},
                            12,
                            4 << 10});
    }
}

}  // namespace jpq

#else

namespace jpq {
void append_avx512_kernels(std::vector<Kernel> *) {}
}  // namespace jpq

#endif
