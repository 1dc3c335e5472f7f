// Memory that begins at a cache line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

namespace jpq {

struct Free {
    void operator()(std::uint8_t *memory) const { ::operator delete[](memory, std::align_val_t(64)); }
};
using Bytes = std::unique_ptr<std::uint8_t[], Free>;

inline Bytes zeros(std::size_t size) {
    Bytes memory(static_cast<std::uint8_t *>(::operator new[](size, std::align_val_t(64))));
    std::memset(memory.get(), 0, size);
    return memory;
}

}  // namespace jpq
