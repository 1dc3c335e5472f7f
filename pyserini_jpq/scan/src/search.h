// Exact search for the k best documents by the sums of their lookup table entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "codes.h"
#include "kernels.h"

namespace jpq {

// Lookup tables of a batch. With codes of 8 bits a document has one for each subspace, with 4 bits two subspaces share a
// byte, and the last one has the low half of the last byte where their number is odd.
struct Tables {
    const float *values;  // queries x subspaces x k
    std::size_t queries, subspaces, k;
};

struct TablesNotFinite : std::runtime_error {
    explicit TablesNotFinite(std::size_t query) : std::runtime_error("tables not finite"), query(query) {}
    std::size_t query;
};

// Write the `hits` best documents of each query, best first and the earlier row first among equals; hits is at most the
// number of documents. Scores are added from the first subspace to the last in float32.
void search(const Kernel &kernel, const Codes &codes, const Tables &tables, std::size_t hits, std::size_t threads,
            float *scores, std::int64_t *rows);

// Documents that lie together, rows of m bytes, and their rows in the whole.
struct List {
    const std::uint8_t *codes;
    const std::int64_t *rows;
    std::size_t documents;
};

// Write the `hits` best documents of the lists that each query looks at, so many of them, one query's after the other's.
// Where there are fewer documents rows are -1 and scores the lowest of float32.
void search_lists(const Kernel &kernel, const std::vector<List> &lists, std::size_t bits, const Tables &tables,
                  std::size_t hits, std::size_t threads, float *scores, std::int64_t *rows);

}  // namespace jpq
