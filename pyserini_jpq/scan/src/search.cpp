#include "search.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "by_query.h"
#include "lanes.h"
#include "prepared.h"
#include "worker.h"

namespace jpq {
namespace {

constexpr std::size_t kMostQueries = 32;          // of a batch: their tables must stay in the caches, too
constexpr std::size_t kPoolBytes = 512 << 20;     // of candidates; fewer queries at once where k is very large
constexpr std::size_t kSampled = 64;              // of so many groups one, but of few more
constexpr std::size_t kFewestSampled = 16;
constexpr std::size_t kWorth = 10, kLaneWorth = 80;  // sums that take as long as one exact score
constexpr std::size_t kThreadBytes = 2 << 20;     // of codes by queries: for less, starting a thread takes longer

using MakeWorker = std::function<std::unique_ptr<Worker>()>;

// Run work(0) to work(threads - 1) at once. Where the system starts no more threads, those that run share the work.
template <typename Work>
void run_all(std::size_t threads, const Work &work) {
    std::exception_ptr failure;
    std::mutex guard;
    const auto guarded = [&](std::size_t i) {
        try {
            work(i);
        } catch (...) {
            const std::lock_guard<std::mutex> lock(guard);
            failure = std::current_exception();
        }
    };
    std::vector<std::thread> others;
    others.reserve(threads);
    try {
        for (std::size_t i = 1; i < threads; ++i) others.emplace_back(guarded, i);
    } catch (const std::system_error &) {
    }
    guarded(0);
    for (std::thread &thread : others) thread.join();
    if (failure) std::rethrow_exception(failure);
}

// Write the best of all hits, best first, and fill up where there are fewer.
void write_best(std::vector<Hit> *all, std::size_t hits, float *scores, std::int64_t *rows) {
    const std::size_t found = std::min(hits, all->size());
    const auto end = all->begin() + static_cast<std::ptrdiff_t>(found);
    if (end != all->end()) std::nth_element(all->begin(), end, all->end(), better);
    std::sort(all->begin(), end, better);
    for (std::size_t i = 0; i < found; ++i) {
        scores[i] = (*all)[i].score;
        rows[i] = (*all)[i].row;
    }
    std::fill(scores + found, scores + hits, std::numeric_limits<float>::lowest());
    std::fill(rows + found, rows + hits, -1);
}

// What to look at first, so that fewer documents are scored exactly; nothing where that saves less than it takes. One exact
// score takes as long as `worth` sums.
Sample sample_of(const Codes &codes, std::size_t hits, std::size_t worth) {
    const std::size_t groups = std::max(kFewestSampled, codes.groups() / kSampled), size = groups * kGroup;
    const double most = static_cast<double>(codes.documents), wanted = static_cast<double>(hits);
    const double saved = wanted * std::log(most / wanted) * static_cast<double>(worth);
    const double expected = wanted * static_cast<double>(size) / most;
    const std::size_t rank = static_cast<std::size_t>(expected + 3 * std::sqrt(expected) + 3);
    if (8 * groups > codes.groups() || static_cast<double>(size) > saved || 8 * rank > size) return {0, 0};
    return {groups, rank};
}

// Search for some queries, and return which of them have to be searched for again, since the sample misled.
std::vector<std::size_t> search_some(const MakeWorker &make, const Codes &codes, const Sample &sample,
                                     std::vector<Query> *queries, std::size_t hits, std::size_t threads, float *scores,
                                     std::int64_t *rows) {
    if (sample.groups) make()->guess(sample, queries);
    std::vector<std::unique_ptr<Worker>> workers;
    const std::size_t worth = codes.documents * codes.m * queries->size() / kThreadBytes;
    threads = std::clamp<std::size_t>(worth, 1, std::max<std::size_t>(1, threads));
    for (std::size_t i = 0; i < threads; ++i) workers.push_back(make());
    std::atomic<std::size_t> next_start{0};
    run_all(threads, [&](std::size_t i) { workers[i]->run(&next_start); });
    std::vector<Hit> all;
    std::vector<std::size_t> again;
    for (std::size_t q = 0; q < queries->size(); ++q) {
        all.clear();
        for (const auto &worker : workers) {
            const std::vector<Hit> &best = worker->candidates[q].best();
            all.insert(all.end(), best.begin(), best.end());
        }
        write_best(&all, hits, scores + q * hits, rows + q * hits);
        if (!(*queries)[q].complete(all.size() < hits ? nullptr : &all[hits - 1])) again.push_back(q);
    }
    return again;
}

// Search the lists of one query.
void search_lists_of(const Kernel &kernel, const List *lists, std::size_t count, const Codes &like,
                     std::vector<Query> *query, std::size_t hits, float *scores, std::int64_t *rows) {
    const auto codes_of = [&](const List &list) { return Codes{list.codes, list.documents, like.m, false, like.bits}; };
    QueryWorker worker(kernel, like, query, hits);
    for (std::size_t i = 0; i < count; ++i) {
        worker.go_on(codes_of(lists[i]), lists[i].rows, lists[std::min(i + 1, count - 1)].codes);
        std::atomic<std::size_t> next_start{0};
        worker.run(&next_start);
    }
    std::vector<Hit> all = worker.candidates.front().best();
    write_best(&all, hits, scores, rows);
}

}  // namespace

void search(const Kernel &kernel, const Codes &codes, const Tables &tables, std::size_t hits, std::size_t threads,
            float *scores, std::int64_t *rows) {
    const std::size_t pool = std::max<std::size_t>(1, threads) * Candidates::most(hits) * sizeof(Hit);
    const std::size_t at_once = std::clamp<std::size_t>(kPoolBytes / pool, 1, std::min(kMostQueries, tables.queries));
    Prepared prepared(kernel, codes, tables, at_once);
    std::vector<Query> queries;
    const auto by_query = [&] { return std::make_unique<QueryWorker>(kernel, codes, &queries, hits); };
    const auto by_lanes = [&] { return std::make_unique<LaneWorker>(kernel, codes, prepared.lanes(), &queries, hits); };
    for (std::size_t start = 0, count; start < tables.queries; start += count) {
        count = std::min(at_once, tables.queries - start);
        const bool together = prepared.by_lanes(count);
        queries = together ? prepared.together(start, count) : prepared.one_by_one(start, count);
        const Sample sample = sample_of(codes, hits, together ? kLaneWorth : kWorth);
        float *best = scores + start * hits;
        const auto again = search_some(together ? MakeWorker(by_lanes) : MakeWorker(by_query), codes, sample, &queries,
                                       hits, threads, best, rows + start * hits);
        for (std::size_t q : again) {
            const float kth = best[(q + 1) * hits - 1];
            queries = prepared.one_by_one(start + q, 1);
            queries.front().raise(kth);
            search_some(by_query, codes, {0, 0}, &queries, hits, threads, best + q * hits, rows + (start + q) * hits);
        }
    }
}

void search_lists(const Kernel &kernel, const std::vector<List> &lists, std::size_t bits, const Tables &tables,
                  std::size_t hits, std::size_t threads, float *scores, std::int64_t *rows) {
    const std::size_t each = lists.size() / tables.queries;
    const Codes like{nullptr, 0, (tables.subspaces * bits + 7) / 8, false, bits};
    std::atomic<std::size_t> next_query{0};
    run_all(std::clamp<std::size_t>(threads, 1, tables.queries), [&](std::size_t) {
        Prepared prepared(kernel, like, tables, 1);
        for (std::size_t q = next_query++; q < tables.queries; q = next_query++) {
            std::vector<Query> query = prepared.one_by_one(q, 1);
            search_lists_of(kernel, lists.data() + q * each, each, like, &query, hits, scores + q * hits,
                            rows + q * hits);
        }
    });
}

}  // namespace jpq
