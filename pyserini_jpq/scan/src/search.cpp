#include "search.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "candidates.h"

namespace jpq {
namespace {

constexpr std::size_t kSharedBytes = 128 << 10;   // of codes that all queries of a batch share, in the second cache
constexpr std::size_t kSharedGroups = 8;          // that they share strip by strip; a block has a multiple of it
constexpr std::size_t kStreamBytes = 1 << 20;     // of a file that one query reads on end: smaller, two threads take longer
constexpr std::size_t kMostQueries = 32;          // of a batch: their tables must stay in the caches, too
constexpr std::size_t kAhead = 16 << 10;          // of the file, how far in front of what is added up it is fetched
constexpr std::size_t kPoolBytes = 512 << 20;     // of candidates; fewer queries at once where k is very large
constexpr std::size_t kThreadBytes = 2 << 20;     // of codes by queries: for less, starting a thread takes longer

struct Free {
    void operator()(std::uint8_t *memory) const { ::operator delete[](memory, std::align_val_t(64)); }
};
using Bytes = std::unique_ptr<std::uint8_t[], Free>;

Bytes zeros(std::size_t size) {
    Bytes memory(static_cast<std::uint8_t *>(::operator new[](size, std::align_val_t(64))));
    std::memset(memory.get(), 0, size);
    return memory;
}

// One thread: takes documents and filters them for every query, after turning their codes round where they do not lie in
// blocks.
class Worker {
public:
    Worker(const Kernel &kernel, const Codes &codes, std::vector<Query> *queries, std::size_t hits)
        : kernel_(kernel), codes_(codes), groups_(groups_at_once(codes, queries->size())) {
        if (!codes.in_blocks) {
            turned_ = zeros(groups_ * codes.m * kBufferStride);
            padded_.resize(kTile * codes.m);
        }
        if (!codes.one_strip()) waiting_.resize(queries->size() * kGroupsInBlock);
        for (Query &query : *queries) {
            bytes_.push_back(query.bytes);
            candidates.emplace_back(codes, &query, hits);
        }
    }

    // One query reads a file on end; or it turns round and adds up by turns, so in small steps. Several queries share
    // what is in the second cache, with their sums where these wait for another strip.
    static std::size_t groups_at_once(const Codes &codes, std::size_t queries) {
        const std::size_t group = kGroup * codes.m;
        if (queries > 1 && !codes.one_strip()) return kSharedGroups;
        if (queries > 1) return std::max<std::size_t>(1, kSharedBytes / group);
        if (!codes.in_blocks) return 1;
        return std::max<std::size_t>(1, kStreamBytes / (kGroupsInBlock * group)) * kGroupsInBlock;
    }

    // Go on with other rows of bytes, after which those at `after` come; see Candidates.
    void go_on(const Codes &codes, const std::int64_t *rows, const std::uint8_t *after) {
        codes_ = codes;
        after_ = after;
        for (Candidates &of_query : candidates) of_query.go_on(codes, rows);
    }

    void run(std::atomic<std::size_t> *next_start) {
        const std::size_t size = groups_ * kGroup;
        const auto take = [&] { return next_start->fetch_add(1, std::memory_order_relaxed) * size; };
        for (std::size_t start = take(), next; start < codes_.documents; start = next) {
            next = take();
            const std::size_t end = std::min(codes_.documents, start + size);
            if (codes_.in_blocks)
                for (std::size_t row = start; row < end; row += kBlock) filter(row, std::min(end, row + kBlock));
            else
                turn_and_filter(start, end, next < codes_.documents ? codes_.of(next, codes_.strip(0)) : after_);
        }
    }

    std::vector<Candidates> candidates;

private:
    // Filter documents of a block where they lie, strip by strip, and meanwhile fetch what follows in the file.
    void filter(std::size_t start, std::size_t end) {
        const bool wait = !codes_.one_strip();
        Sums whole;
        for (Strip strip = codes_.strip(0); strip.count > 0; strip = codes_.strip(strip.first + strip.count)) {
            const bool first = strip.first == 0, last = strip.first + strip.count == codes_.m;
            for (std::size_t q = 0; q < candidates.size(); ++q) {
                const std::uint8_t *tables = bytes_[q] + strip.first * kTable;
                Sums *sums = wait ? &waiting_[q * kGroupsInBlock] : &whole;
                for (std::size_t row = start; row < end; row += kGroup, sums += wait) {
                    const Rows rows{codes_.of(row, strip), strip.count, first, last, wait ? sums + 1 : nullptr};
                    if (kernel_.add_up_in_file(rows, tables, q == 0 ? rows.codes + kAhead : nullptr,
                                               candidates[q].threshold(), sums))
                        candidates[q].take(*sums, row, end);
                }
                if (last) candidates[q].settle();
            }
        }
    }

    // Turn a block round and filter it, and meanwhile fetch the one that comes next.
    void turn_and_filter(std::size_t start, std::size_t end, const std::uint8_t *ahead) {
        const std::size_t groups = (end - start + kGroup - 1) / kGroup;
        const std::size_t quarter = kGroup * codes_.m / 4;  // turning round fetches one, adding up the other three
        for (std::size_t group = 0; group < groups; ++group)
            turn(start + group * kGroup, end, ahead + 4 * group * quarter, turned(group));
        Sums sums;
        for (std::size_t q = 0; q < candidates.size(); ++q) {
            for (std::size_t group = 0; group < groups; ++group) {
                const std::uint8_t *rest = q == 0 ? ahead + (4 * group + 1) * quarter : nullptr;
                if (kernel_.add_up_in_buffer({turned(group), codes_.m}, bytes_[q], rest, candidates[q].threshold(),
                                             &sums))
                    candidates[q].take(sums, start + group * kGroup, end);
            }
            candidates[q].settle();
        }
    }

    std::uint8_t *turned(std::size_t group) const { return turned_.get() + group * codes_.m * kBufferStride; }

    void turn(std::size_t start, std::size_t end, const std::uint8_t *ahead, std::uint8_t *tile) {
        for (std::size_t row = start; row < end && row < start + kGroup; row += kTile) {
            const std::uint8_t *rows = codes_.of(row, codes_.strip(0));
            if (end - row < kTile) {
                std::memcpy(padded_.data(), rows, (end - row) * codes_.m);
                rows = padded_.data();
            }
            kernel_.transpose(rows, codes_.m, ahead, tile);
            ahead += kTile * codes_.m / 4;
            tile += kTile;
        }
    }

    const Kernel &kernel_;
    Codes codes_;
    const std::uint8_t *after_ = codes_.bytes;
    std::size_t groups_;  // at once
    std::vector<Sums> waiting_;  // for the next strip; groups of a block by query
    Bytes turned_;
    std::vector<std::uint8_t> padded_;
    std::vector<const std::uint8_t *> bytes_;
};

// Run work(0) to work(threads - 1) at once.
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
    for (std::size_t i = 1; i < threads; ++i) others.emplace_back(guarded, i);
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
