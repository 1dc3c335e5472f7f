// The codes that are searched, in either of two layouts.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels.h"

namespace jpq {

struct Codes {
    const std::uint8_t *bytes;
    std::size_t documents, m;
    bool grouped;  // by groups of 512 documents, each m rows of 512 bytes, the last filled up; else documents x m

    // Where the first code of a document stands, and how far it is from one to the next.
    const std::uint8_t *of(std::size_t row) const { return grouped ? group(row) + row % kGroup : bytes + row * m; }
    std::size_t step() const { return grouped ? kFileStride : 1; }

    // The group of a document.
    const std::uint8_t *group(std::size_t row) const { return bytes + row / kGroup * kGroup * m; }
    std::size_t groups() const { return (documents + kGroup - 1) / kGroup; }
};

}  // namespace jpq
