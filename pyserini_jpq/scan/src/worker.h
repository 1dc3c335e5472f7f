// One thread's part of a search.
#pragma once

#include <atomic>
#include <cstddef>
#include <vector>

#include "candidates.h"
#include "codes.h"

namespace jpq {

// Groups of documents, spread over all, and the rank of the sum among theirs that the best documents of all should reach.
struct Sample {
    std::size_t groups, rank;  // no groups where documents are too few, or hits too many
};

// Takes documents, some groups at once, and filters them for every query.
class Worker {
public:
    Worker(const Codes &codes, std::vector<Query> *queries, std::size_t hits, std::size_t groups);
    virtual ~Worker() = default;

    // Take documents until there are no more; workers that share the counter share the documents.
    void run(std::atomic<std::size_t> *next_start);

    // Find a threshold to begin with, for every query.
    void guess(const Sample &sample, std::vector<Query> *queries);

    std::vector<Candidates> candidates;  // of each query

protected:
    // Filter documents. Where `next` is below their number, it is the first that is filtered after these.
    virtual void filter(std::size_t start, std::size_t end, std::size_t next) = 0;

    Codes codes_;
    std::size_t groups_;  // at once
};

}  // namespace jpq
