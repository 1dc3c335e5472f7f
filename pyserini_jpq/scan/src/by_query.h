// Sums of one query after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bytes.h"
#include "kernels.h"
#include "worker.h"

namespace jpq {

// Filters documents query by query, after transposing their codes where they do not lie in blocks.
class QueryWorker : public Worker {
public:
    QueryWorker(const Kernel &kernel, const Codes &codes, std::vector<Query> *queries, std::size_t hits);

    // Go on with other rows of bytes, after which those at `after` come; see Candidates.
    void go_on(const Codes &codes, const std::int64_t *rows, const std::uint8_t *after);

protected:
    void filter(std::size_t start, std::size_t end, std::size_t next) override;

private:
    void filter_block(std::size_t start, std::size_t end);
    void transpose_and_filter(std::size_t start, std::size_t end, const std::uint8_t *ahead);
    void transpose(std::size_t start, std::size_t end, const std::uint8_t *ahead, std::uint8_t *tile);
    std::uint8_t *transposed(std::size_t group) const { return transposed_.get() + group * codes_.m * kBufferStride; }

    const Kernel &kernel_;
    AddUp *add_up_;
    std::size_t table_;  // entries for each byte of codes
    const std::uint8_t *after_ = codes_.bytes;
    std::vector<Sums> waiting_;  // for the next strip; groups of a block by query
    Bytes transposed_;
    std::vector<std::uint8_t> padded_;
    std::vector<const std::uint8_t *> bytes_;
};

}  // namespace jpq
