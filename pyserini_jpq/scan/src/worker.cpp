#include "worker.h"

#include <algorithm>

namespace jpq {

Worker::Worker(const Codes &codes, std::vector<Query> *queries, std::size_t hits, std::size_t groups)
    : codes_(codes), groups_(groups) {
    for (Query &query : *queries) candidates.emplace_back(codes, &query, hits);
}

void Worker::run(std::atomic<std::size_t> *next_start) {
    const std::size_t size = groups_ * kGroup;
    const auto take = [&] { return next_start->fetch_add(1, std::memory_order_relaxed) * size; };
    for (std::size_t start = take(), next; start < codes_.documents; start = next) {
        next = take();
        filter(start, std::min(codes_.documents, start + size), next);
    }
    for (Candidates &of_query : candidates) of_query.settle();
}

void Worker::guess(const Sample &sample, std::vector<Query> *queries) {
    const auto start = [&](std::size_t i) { return (2 * i + 1) * codes_.groups() / (2 * sample.groups) * kGroup; };
    for (Candidates &of_query : candidates) of_query.begin_sample(sample.rank);
    for (std::size_t i = 0; i < sample.groups; ++i)
        filter(start(i), std::min(codes_.documents, start(i) + kGroup), start(std::min(i + 1, sample.groups - 1)));
    for (std::size_t q = 0; q < queries->size(); ++q) {
        Query &query = (*queries)[q];
        const std::uint32_t sum = candidates[q].end_sample(), gap = query.rounding.usual_gap();
        query.guess = static_cast<std::uint16_t>(sum > gap ? sum - gap : 0);
    }
}

}  // namespace jpq
