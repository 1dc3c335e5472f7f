#include "kernels.h"

#include "kernels_plain.h"

namespace jpq {
namespace {

void transpose(const std::uint8_t *codes, std::size_t m, const std::uint8_t *ahead, std::uint8_t *tile) {
    fetch(ahead, m / 4);
    for (std::size_t d = 0; d < kTile; ++d)
        for (std::size_t j = 0; j < m; ++j) tile[j * kBufferStride + d] = codes[d * m + j];
}

template <std::size_t stride, Entries entries>
bool add_up(const Rows &rows, const std::uint8_t *tables, const std::uint8_t *ahead, std::uint16_t threshold,
            Sums *sums) {
    bool any = false;
    const std::size_t share = fetched(stride) * rows.count / kTilesInGroup;
    for (std::size_t t = 0; t < kTilesInGroup; ++t) {
        std::uint16_t totals[kTile] = {};
        if (!rows.first)
            for (std::size_t d = 0; d < kTile; ++d) totals[d] = sums->values[2 * t + d % 2][d / 2];
        if (ahead) fetch(ahead + 64 * share * t, share);
        for (std::size_t j = 0; j < rows.count; ++j) {
            const std::uint8_t *codes = rows.codes + j * stride + t * kTile;
            if (entries == Entries::bytes) {
                const std::uint8_t *table = tables + j * kTable;
                for (std::size_t d = 0; d < kTile; ++d) totals[d] += table[codes[d]];
            } else {
                const std::uint8_t *low = tables + j * kPairTable, *high = low + kPairTable / 2;
                for (std::size_t d = 0; d < kTile; ++d) totals[d] += low[codes[d] & 15] + high[codes[d] >> 4];
            }
        }
        for (std::size_t half = 0; half < 2; ++half) {
            std::uint32_t hits = 0;
            for (std::size_t i = 0; i < kTile / 2; ++i) {
                const std::uint16_t sum = totals[2 * i + half];
                sums->values[2 * t + half][i] = sum;
                hits |= static_cast<std::uint32_t>(sum >= threshold) << i;
            }
            sums->hits[2 * t + half] = hits;
            any |= hits != 0;
        }
    }
    return rows.last && any;
}

constexpr Kernel kPlain = {"plain",
                           transpose,
                           add_up<kBufferStride, Entries::bytes>,
                           add_up<kFileStride, Entries::bytes>,
                           nullptr,
                           add_up<kBufferStride, Entries::pairs>,
                           add_up<kFileStride, Entries::pairs>,
                           {add_lanes<kLanes>, add_lanes<kMostLanes>}};

std::vector<Kernel> all_kernels() {
    std::vector<Kernel> found;
    append_avx512_kernels(&found);
    append_avx2_kernel(&found);
    append_neon_kernel(&found);
    found.push_back(kPlain);
    return found;
}

}  // namespace

const std::vector<Kernel> &kernels() {
    static const std::vector<Kernel> found = all_kernels();
    return found;
}

}  // namespace jpq
