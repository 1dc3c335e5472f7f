#include "search.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "worker.h"

namespace jpq {
namespace {

constexpr std::size_t kMostQueries = 32;          // of a batch: their tables must stay in the caches, too
constexpr std::size_t kPoolBytes = 512 << 20;     // of candidates; fewer queries at once where k is very large
constexpr std::size_t kThreadBytes = 2 << 20;     // of codes by queries: for less, starting a thread takes longer

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

// Tables of some queries, rounded and exact, as the scan wants them.
class Prepared {
public:
    Prepared(const Tables &tables, std::size_t m, std::size_t most)
        : tables_(tables), m_(m), bytes_(zeros(most * m * kTable)), padded_(tables.k == kTable ? 0 : most * m * kTable) {}

    // Those of queries from `start` on; they are there until the next call.
    std::vector<Query> queries(std::size_t start, std::size_t count) {
        const std::size_t size = m_ * kTable;
        std::vector<Query> found(count);
        for (std::size_t q = 0; q < count; ++q) {
            const float *values = tables_.values + (start + q) * m_ * tables_.k;
            std::uint8_t *rounded = bytes_.get() + q * size;
            if (!found[q].rounding.round_up(values, m_, tables_.k, rounded)) throw TablesNotFinite(start + q);
            found[q].bytes = rounded;
            found[q].exact = values;
            if (tables_.k == kTable) continue;
            float *wide = padded_.data() + q * size;  // so that no code reads beyond its table
            for (std::size_t j = 0; j < m_; ++j) std::copy_n(values + j * tables_.k, tables_.k, wide + j * kTable);
            found[q].exact = wide;
        }
        return found;
    }

private:
    const Tables &tables_;
    std::size_t m_;
    Bytes bytes_;
    std::vector<float> padded_;
};

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

void search_some(const Kernel &kernel, const Codes &codes, std::vector<Query> *queries, std::size_t hits,
                 std::size_t threads, float *scores, std::int64_t *rows) {
    std::vector<std::unique_ptr<Worker>> workers;
    const std::size_t worth = codes.documents * codes.m * queries->size() / kThreadBytes;
    threads = std::clamp<std::size_t>(worth, 1, std::max<std::size_t>(1, threads));
    for (std::size_t i = 0; i < threads; ++i)
        workers.push_back(std::make_unique<Worker>(kernel, codes, queries, hits));
    std::atomic<std::size_t> next_start{0};
    run_all(threads, [&](std::size_t i) { workers[i]->run(&next_start); });
    std::vector<Hit> all;
    for (std::size_t q = 0; q < queries->size(); ++q) {
        all.clear();
        for (const auto &worker : workers) {
            const std::vector<Hit> &best = worker->candidates[q].best();
            all.insert(all.end(), best.begin(), best.end());
        }
        write_best(&all, hits, scores + q * hits, rows + q * hits);
    }
}

// Search the lists of one query.
void search_lists_of(const Kernel &kernel, const List *lists, std::size_t count, std::size_t m,
                     std::vector<Query> *query, std::size_t hits, float *scores, std::int64_t *rows) {
    Worker worker(kernel, {nullptr, 0, m, false}, query, hits);
    for (std::size_t i = 0; i < count; ++i) {
        const List &list = lists[i], &next = lists[std::min(i + 1, count - 1)];
        worker.go_on({list.codes, list.documents, m, false}, list.rows, next.codes);
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
    Prepared prepared(tables, codes.m, at_once);
    for (std::size_t start = 0; start < tables.queries; start += at_once) {
        std::vector<Query> queries = prepared.queries(start, std::min(at_once, tables.queries - start));
        search_some(kernel, codes, &queries, hits, threads, scores + start * hits, rows + start * hits);
    }
}

void search_lists(const Kernel &kernel, const std::vector<List> &lists, std::size_t m, const Tables &tables,
                  std::size_t hits, std::size_t threads, float *scores, std::int64_t *rows) {
    const std::size_t each = lists.size() / tables.queries;
    std::atomic<std::size_t> next_query{0};
    run_all(std::clamp<std::size_t>(threads, 1, tables.queries), [&](std::size_t) {
        Prepared prepared(tables, m, 1);
        for (std::size_t q = next_query++; q < tables.queries; q = next_query++) {
            std::vector<Query> query = prepared.queries(q, 1);
            search_lists_of(kernel, lists.data() + q * each, each, m, &query, hits, scores + q * hits, rows + q * hits);
        }
    });
}

}  // namespace jpq
