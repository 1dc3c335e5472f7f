// One thread's part of a search.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "bytes.h"
#include "candidates.h"
#include "codes.h"
#include "kernels.h"

namespace jpq {

// Takes documents and filters them for every query, after turning their codes round where they do not lie in blocks.
class Worker {
public:
    Worker(const Kernel &kernel, const Codes &codes, std::vector<Query> *queries, std::size_t hits);

    // Go on with other rows of bytes, after which those at `after` come; see Candidates.
    void go_on(const Codes &codes, const std::int64_t *rows, const std::uint8_t *after);

    // Take documents until there are no more; workers that share the counter share the documents.
    void run(std::atomic<std::size_t> *next_start);

    std::vector<Candidates> candidates;  // of each query

private:
    void filter(std::size_t start, std::size_t end);
    void turn_and_filter(std::size_t start, std::size_t end, const std::uint8_t *ahead);
    void turn(std::size_t start, std::size_t end, const std::uint8_t *ahead, std::uint8_t *tile);
    std::uint8_t *turned(std::size_t group) const { return turned_.get() + group * codes_.m * kBufferStride; }

    const Kernel &kernel_;
    Codes codes_;
    const std::uint8_t *after_ = codes_.bytes;
    std::size_t groups_;         // at once
    std::vector<Sums> waiting_;  // for the next strip; groups of a block by query
    Bytes turned_;
    std::vector<std::uint8_t> padded_;
    std::vector<const std::uint8_t *> bytes_;
};

}  // namespace jpq
