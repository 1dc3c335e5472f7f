// The codes that are searched, in either of two layouts.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels.h"

namespace jpq {

constexpr std::size_t kGroupsInBlock = 16;
constexpr std::size_t kBlock = kGroup * kGroupsInBlock;
constexpr std::size_t kStrip = 32;  // most subspaces of a strip; layout.py says why

// Subspaces that are added up together.
struct Strip {
    std::size_t first, count;
};

struct Codes {
    const std::uint8_t *bytes;
    std::size_t documents, m;
    bool in_blocks;  // as layout.py describes; else documents x m
    std::size_t bits = 8;  // of a code: with 4 a byte holds those of two subspaces, the first in its low half

    std::size_t groups() const { return (documents + kGroup - 1) / kGroup; }

    // The strip that begins with a subspace; rows of bytes are one strip.
    Strip strip(std::size_t first) const { return {first, std::min(width(), m - first)}; }
    bool one_strip() const { return width() == m; }

    // Where a document's codes of a strip begin, and how far it is from one to the next.
    const std::uint8_t *of(std::size_t row, Strip strip) const {
        if (!in_blocks) return bytes + row * m + strip.first;
        const std::size_t block = row / kBlock;
        const std::size_t in_block = std::min(kGroupsInBlock, groups() - block * kGroupsInBlock);
        const std::size_t line =
            block * kGroupsInBlock * m + in_block * strip.first + row / kGroup % kGroupsInBlock * strip.count;
        return bytes + line * kGroup + row % kGroup;
    }
    std::size_t step() const { return in_blocks ? kFileStride : 1; }

    // Exact table entries for each byte of codes.
    std::size_t table() const { return bits == 8 ? kTable : kPairTable; }

private:
    std::size_t width() const {
        if (!in_blocks) return m;
        const std::size_t strips = (m + kStrip - 1) / kStrip;
        return (m + strips - 1) / strips;
    }
};

inline std::size_t trailing_zeros(std::uint32_t bits) {
#if defined(__GNUC__) || defined(__clang__)
    return static_cast<std::size_t>(__builtin_ctz(bits));
#else
    std::size_t count = 0;
    for (; !(bits & 1); bits >>= 1) ++count;
    return count;
#endif
}

}  // namespace jpq
