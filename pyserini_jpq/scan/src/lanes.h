// Sums of all queries of a batch at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bytes.h"
#include "kernels.h"
#include "rounding.h"
#include "worker.h"

namespace jpq {

// Tables of a batch: for each byte of codes 256 entries, of each query, side by side.
class LaneTables {
public:
    // Room for batches of up to so many queries.
    LaneTables(std::size_t m, std::size_t most);

    // Write the rounded tables of a batch; codes have so many bits.
    void fill(const std::vector<Lookup> &lookups, const std::vector<Query> &queries, std::size_t bits);

    // Bytes that the tables of a batch take.
    static std::size_t size(std::size_t m, std::size_t queries) {
        return m * kTable * lanes(queries) * sizeof(std::uint16_t);
    }

    const std::uint16_t *of(std::size_t j) const { return tables() + j * kTable * lanes_; }
    std::size_t lanes() const { return lanes_; }

private:
    static std::size_t lanes(std::size_t queries) { return queries > kLanes ? kMostLanes : kLanes; }
    std::uint16_t *tables() const { return reinterpret_cast<std::uint16_t *>(bytes_.get()); }

    std::size_t m_, lanes_ = kMostLanes;
    Bytes bytes_;
};

// Filters documents for all queries at once, where their codes lie.
class LaneWorker : public Worker {
public:
    LaneWorker(const Kernel &kernel, const Codes &codes, const LaneTables &tables, std::vector<Query> *queries,
               std::size_t hits);

protected:
    void filter(std::size_t start, std::size_t end, std::size_t next) override;

private:
    // Some rows of one group, so many as have their tables in the second-level cache.
    struct Part {
        std::size_t row, first, count;
        Strip strip;
    };

    std::vector<Part> parts(std::size_t start, std::size_t end) const;
    void add_up(const Part &part, std::size_t start, std::size_t end, const std::uint8_t *ahead);
    void take(std::size_t row, const LaneRows &rows);
    const std::uint8_t *codes_of(const Part &part) const;

    const LaneTables &tables_;
    AddLanes *add_lanes_;
    Bytes sums_;
    std::vector<std::uint32_t> hits_;
    alignas(64) std::uint16_t thresholds_[kMostLanes];
};

}  // namespace jpq
