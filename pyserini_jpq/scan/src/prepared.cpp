#include "prepared.h"

#include <algorithm>

namespace jpq {
namespace {

constexpr std::size_t kLaneBytes = 64 << 20;  // most that tables of a batch may take

}  // namespace

Prepared::Prepared(const Kernel &kernel, const Codes &codes, const Tables &tables, std::size_t most)
    : kernel_(kernel),
      m_(codes.m),
      bits_(codes.bits),
      tables_(tables),
      pairs_(codes.bits == 4 && kernel.add_pairs_in_file),
      bytes_(zeros((by_lanes(most) ? kernel.fewest_together - 1 : most) * m_ * kTable)),
      lanes_(m_, by_lanes(most) ? most : 0),
      padded_(tables.subspaces * tables.k == m_ * codes.table() ? 0 : most * m_ * codes.table()) {}

bool Prepared::by_lanes(std::size_t queries) const {
    return kernel_.add_lanes[0] && queries >= kernel_.fewest_together && LaneTables::size(m_, queries) <= kLaneBytes;
}

std::vector<Query> Prepared::one_by_one(std::size_t start, std::size_t count) {
    std::vector<Query> queries = exact(start, count);
    for (std::size_t q = 0; q < count; ++q) {
        std::uint8_t *bytes = bytes_.get() + q * m_ * kTable;
        fit(&queries[q], start + q, pairs_ ? Whole::pairs : Whole::bytes);
        write_bytes(queries[q], lookup(start + q), bytes);
        queries[q].bytes = bytes;
    }
    return queries;
}

std::vector<Query> Prepared::together(std::size_t start, std::size_t count) {
    std::vector<Query> queries = exact(start, count);
    std::vector<Lookup> lookups;
    for (std::size_t q = 0; q < count; ++q) {
        fit(&queries[q], start + q, Whole::words);
        lookups.push_back(lookup(start + q));
    }
    lanes_.fill(lookups, queries, bits_);
    return queries;
}

// Queries and their exact tables, with as many entries for each byte of codes as `Candidates` expects.
std::vector<Query> Prepared::exact(std::size_t start, std::size_t count) {
    std::vector<Query> queries(count);
    const std::size_t size = m_ * (bits_ == 8 ? kTable : kPairTable), k = tables_.k;
    for (std::size_t q = 0; q < count; ++q) {
        const float *values = lookup(start + q).values;
        queries[q].exact = values;
        if (padded_.empty()) continue;
        float *wide = padded_.data() + q * size;
        const std::size_t entries = bits_ == 8 ? kTable : kPairTable / 2;
        for (std::size_t j = 0; j < tables_.subspaces; ++j) std::copy_n(values + j * k, k, wide + j * entries);
        queries[q].exact = wide;
    }
    return queries;
}

Lookup Prepared::lookup(std::size_t query) const {
    return {tables_.values + query * tables_.subspaces * tables_.k, tables_.subspaces, tables_.k};
}

void Prepared::fit(Query *query, std::size_t number, Whole whole) const {
    if (!query->rounding.fit(lookup(number), 8 / bits_, whole)) throw TablesNotFinite(number);
}

void Prepared::write_bytes(const Query &query, const Lookup &lookup, std::uint8_t *bytes) const {
    if (pairs_) {
        for (std::size_t j = 0; j < lookup.subspaces; ++j)
            query.rounding.round(lookup, j, bytes + j * (kPairTable / 2));
        return;
    }
    for (std::size_t j = 0; j < m_; ++j) {
        if (bits_ == 8) query.rounding.round(lookup, j, bytes + j * kTable);
        else query.rounding.round_pair(lookup, 2 * j, bytes + j * kTable);
    }
    if (kernel_.prepare) kernel_.prepare(bytes, m_);
}

}  // namespace jpq
