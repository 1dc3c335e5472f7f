// Lookup tables as the scan wants them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bytes.h"
#include "candidates.h"
#include "codes.h"
#include "kernels.h"
#include "lanes.h"
#include "search.h"

namespace jpq {

// The tables of some queries, rounded and exact.
class Prepared {
public:
    // For codes like these, of which no more than their subspaces and bits matter, and for up to `most` queries at once.
    Prepared(const Kernel &kernel, const Codes &codes, const Tables &tables, std::size_t most);

    // Whether so many queries take less time together than one after the other.
    bool by_lanes(std::size_t queries) const;

    // Queries from `start` on, with tables for either way; what they point to is there until the next call.
    std::vector<Query> one_by_one(std::size_t start, std::size_t count);
    std::vector<Query> together(std::size_t start, std::size_t count);

    const LaneTables &lanes() const { return lanes_; }

private:
    std::vector<Query> exact(std::size_t start, std::size_t count);
    Lookup lookup(std::size_t query) const;
    void fit(Query *query, std::size_t number, Whole whole) const;
    void write_bytes(const Query &query, const Lookup &lookup, std::uint8_t *bytes) const;

    const Kernel &kernel_;
    std::size_t m_, bits_;
    const Tables &tables_;
    bool pairs_;                 // whether codes of 4 bits are looked up as such
    Bytes bytes_;
    LaneTables lanes_;
    std::vector<float> padded_;  // so that no code reads beyond its table
};

}  // namespace jpq
