// NEON, which every 64-bit Arm processor has.
#include "kernels.h"
#include "kernels_plain.h"

#if defined(__aarch64__) && defined(__ARM_NEON)

#include <arm_neon.h>

namespace jpq {
namespace {

// Transpose 16 rows of 16 bytes: four times, byte by byte, the first half of the rows is zipped with the second.
void transpose_16(uint8x16_t rows[16]) {
    for (int step = 0; step < 4; ++step) {
        uint8x16_t zipped[16];
        for (int i = 0; i < 8; ++i) {
            zipped[2 * i] = vzip1q_u8(rows[i], rows[i + 8]);
            zipped[2 * i + 1] = vzip2q_u8(rows[i], rows[i + 8]);
        }
        for (int i = 0; i < 16; ++i) rows[i] = zipped[i];
    }
}

void transpose(const std::uint8_t *codes, std::size_t m, const std::uint8_t *ahead, std::uint8_t *tile) {
    fetch(ahead, m / 4);
    for (std::size_t start = 0; start < kTile; start += 16) {
        std::size_t j = 0;
        for (; j + 16 <= m; j += 16) {
            uint8x16_t rows[16];
            for (std::size_t i = 0; i < 16; ++i) rows[i] = vld1q_u8(codes + (start + i) * m + j);
            transpose_16(rows);
            for (std::size_t i = 0; i < 16; ++i) vst1q_u8(tile + (j + i) * kBufferStride + start, rows[i]);
        }
        for (; j < m; ++j)
            for (std::size_t i = 0; i < 16; ++i) tile[j * kBufferStride + start + i] = codes[(start + i) * m + j];
    }
}

// Look four times 16 codes up. A lookup takes a quarter of the table; what is out of its range leaves the entry as it is.
inline void look_up(const std::uint8_t *table, uint8x16_t *codes, uint8x16_t *entries) {
    for (int v = 0; v < 4; ++v) entries[v] = vdupq_n_u8(0);
    for (int quarter = 0; quarter < 4; ++quarter) {
        const uint8x16x4_t part = vld1q_u8_x4(table + 64 * quarter);
        for (int v = 0; v < 4; ++v) {
            entries[v] = vqtbx4q_u8(entries[v], part, codes[v]);
            codes[v] = vsubq_u8(codes[v], vdupq_n_u8(64));
        }
    }
}

// Look four times 16 pairs of codes of 4 bits up, and add the two entries of each pair, which fit a byte together.
inline void look_up_pairs(const std::uint8_t *table, const uint8x16_t *codes, uint8x16_t *entries) {
    const uint8x16_t low = vld1q_u8(table), high = vld1q_u8(table + 16);
    for (int v = 0; v < 4; ++v)
        entries[v] = vaddq_u8(vqtbl1q_u8(low, vandq_u8(codes[v], vdupq_n_u8(15))),
                              vqtbl1q_u8(high, vshrq_n_u8(codes[v], 4)));
}

template <std::size_t stride, Entries kind>
bool add_up(const Rows &rows, const std::uint8_t *tables, const std::uint8_t *ahead, std::uint16_t threshold,
            Sums *sums) {
    const uint16x8_t limit = vdupq_n_u16(threshold);
    uint16x8_t reached = vdupq_n_u16(0);
    const std::size_t share = fetched(stride) * rows.count / kTilesInGroup;
    for (std::size_t t = 0; t < kTilesInGroup; ++t) {
        const std::uint8_t *tile = rows.codes + t * kTile;
        if (ahead) fetch(ahead + 64 * share * t, share);
        uint16x8_t all[4], odd[4];
        for (int v = 0; v < 4; ++v) {
            odd[v] = rows.first ? vdupq_n_u16(0) : vld1q_u16(sums->values[2 * t + 1] + 8 * v);
            all[v] = rows.first ? odd[v] : vaddq_u16(vld1q_u16(sums->values[2 * t] + 8 * v), vshlq_n_u16(odd[v], 8));
        }
        for (std::size_t j = 0; j < rows.count; ++j) {
            uint8x16_t codes[4], entries[4];
            for (int v = 0; v < 4; ++v) codes[v] = vld1q_u8(tile + j * stride + 16 * v);
            if (kind == Entries::bytes) look_up(tables + j * kTable, codes, entries);
            else look_up_pairs(tables + j * kPairTable, codes, entries);
            for (int v = 0; v < 4; ++v) {
                const uint16x8_t words = vreinterpretq_u16_u8(entries[v]);
                all[v] = vaddq_u16(all[v], words);
                odd[v] = vsraq_n_u16(odd[v], words, 8);
            }
        }
        for (int v = 0; v < 4; ++v) {
            const uint16x8_t even = vsubq_u16(all[v], vshlq_n_u16(odd[v], 8));
            vst1q_u16(sums->values[2 * t] + 8 * v, even);
            vst1q_u16(sums->values[2 * t + 1] + 8 * v, odd[v]);
            reached = vorrq_u16(reached, vorrq_u16(vcgeq_u16(even, limit), vcgeq_u16(odd[v], limit)));
        }
    }
    if (!rows.last || vmaxvq_u16(reached) == 0) return false;
    for (std::size_t half = 0; half < 2 * kTilesInGroup; ++half) {
        std::uint32_t hits = 0;
        for (std::size_t i = 0; i < kTile / 2; ++i)
            hits |= static_cast<std::uint32_t>(sums->values[half][i] >= threshold) << i;
        sums->hits[half] = hits;
    }
    return true;
}

constexpr Kernel kKernel = {"neon",
                            transpose,
                            add_up<kBufferStride, Entries::bytes>,
                            add_up<kFileStride, Entries::bytes>,
                            nullptr,
                            add_up<kBufferStride, Entries::pairs>,
                            add_up<kFileStride, Entries::pairs>,
                            {add_lanes<kLanes>, add_lanes<kMostLanes>}};

}  // namespace

void append_neon_kernel(std::vector<Kernel> *kernels) { kernels->push_back(kKernel); }

}  // namespace jpq

#else

namespace jpq {
void append_neon_kernel(std::vector<Kernel> *) {}
}  // namespace jpq

#endif
