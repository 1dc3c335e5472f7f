// Sums for all queries of a batch in plain C++, which compilers turn into vectors of 16 bytes where there are such.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels.h"

namespace jpq {

#if defined(__GNUC__) || defined(__clang__)
using Words = std::uint16_t __attribute__((vector_size(16)));
#else
struct Words {
    std::uint16_t values[8];
    Words &operator+=(const Words &other) {
        for (int i = 0; i < 8; ++i) values[i] = static_cast<std::uint16_t>(values[i] + other.values[i]);
        return *this;
    }
};
#endif

template <std::size_t lanes>
void add_lanes(const LaneRows &rows) {
    constexpr std::size_t kVectors = lanes * sizeof(std::uint16_t) / sizeof(Words);
    for (std::size_t d = 0; d < rows.documents; ++d) {
        const std::uint8_t *codes = rows.codes + d * rows.next_document;
        std::uint16_t *sums = rows.sums + d * lanes;
        Words totals[kVectors] = {};
        fetch(rows.ahead + d * rows.next_ahead, 1);
        if (!rows.first) std::memcpy(totals, sums, sizeof totals);
        const std::uint16_t *table = rows.tables;
        for (std::size_t j = 0; j < rows.count; ++j, table += kTable * lanes) {
            Words entries[kVectors];
            std::memcpy(entries, table + codes[j * rows.next_row] * lanes, sizeof entries);
            for (std::size_t v = 0; v < kVectors; ++v) totals[v] += entries[v];
        }
        std::memcpy(sums, totals, sizeof totals);
        if (!rows.last) continue;
        std::uint32_t hits = 0;
        for (std::size_t q = 0; q < lanes; ++q) hits |= static_cast<std::uint32_t>(sums[q] >= rows.thresholds[q]) << q;
        rows.hits[d] = hits;
    }
}

}  // namespace jpq
