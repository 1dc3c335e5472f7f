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

constexpr std::size_t kBlockBytes = 128 << 10;    // of codes that all queries of a batch share, in the second cache
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

// One thread: takes blocks of documents and filters them for every query, after turning their codes round where they do
// not lie in groups.
class Worker {
public:
    Worker(const Kernel &kernel, const Codes &codes, std::vector<Query> *queries, std::size_t hits)
        : kernel_(kernel), codes_(codes), groups_(groups_in_block(codes, queries->size())) {
        if (!codes.grouped) {
            turned_ = zeros(groups_ * codes.m * kBufferStride);
            padded_.resize(kTile * codes.m);
        }
        for (Query &query : *queries) {
            bytes_.push_back(query.bytes);
            candidates.emplace_back(codes, &query, hits);
        }
    }

    // One query reads a file on end; or it turns round and adds up by turns, so in small steps. Several queries share
    // what is in the second cache, as much as fits.
    static std::size_t groups_in_block(const Codes &codes, std::size_t queries) {
        if (queries == 1 && !codes.grouped) return 1;
        return std::max<std::size_t>(1, (queries == 1 ? kStreamBytes : kBlockBytes) / (kGroup * codes.m));
    }

    void run(std::atomic<std::size_t> *next_block) {
        const std::size_t size = groups_ * kGroup;
        const auto take = [&] { return next_block->fetch_add(1, std::memory_order_relaxed) * size; };
        for (std::size_t start = take(), next; start < codes_.documents; start = next) {
            next = take();
            const std::size_t end = std::min(codes_.documents, start + size);
            if (codes_.grouped)
                filter(start, end);
            else
                turn_and_filter(start, end, next < codes_.documents ? next : start);
        }
    }

    std::vector<Candidates> candidates;

private:
    // Filter a block of groups where they lie, and meanwhile fetch what follows in the file.
    void filter(std::size_t start, std::size_t end) {
        Sums sums;
        for (std::size_t q = 0; q < candidates.size(); ++q) {
            for (std::size_t row = start; row < end; row += kGroup) {
                const std::uint8_t *group = codes_.group(row);
                if (kernel_.add_up_in_file(group, codes_.m, bytes_[q], q == 0 ? group + kAhead : nullptr,
                                           candidates[q].threshold(), &sums))
                    candidates[q].take(sums, row, end);
            }
            candidates[q].settle();
        }
    }

    // Turn a block round and filter it, and meanwhile fetch the one that comes next.
    void turn_and_filter(std::size_t start, std::size_t end, std::size_t next) {
        const std::size_t groups = (end - start + kGroup - 1) / kGroup;
        const std::uint8_t *ahead = codes_.of(next);
        const std::size_t quarter = kGroup * codes_.m / 4;  // turning round fetches one, adding up the other three
        for (std::size_t group = 0; group < groups; ++group)
            turn(start + group * kGroup, end, ahead + 4 * group * quarter, turned(group));
        Sums sums;
        for (std::size_t q = 0; q < candidates.size(); ++q) {
            for (std::size_t group = 0; group < groups; ++group) {
                const std::uint8_t *rest = q == 0 ? ahead + (4 * group + 1) * quarter : nullptr;
                if (kernel_.add_up_in_buffer(turned(group), codes_.m, bytes_[q], rest, candidates[q].threshold(),
                                             &sums))
                    candidates[q].take(sums, start + group * kGroup, end);
            }
            candidates[q].settle();
        }
    }

    std::uint8_t *turned(std::size_t group) const { return turned_.get() + group * codes_.m * kBufferStride; }

    void turn(std::size_t start, std::size_t end, const std::uint8_t *ahead, std::uint8_t *tile) {
        for (std::size_t row = start; row < end && row < start + kGroup; row += kTile) {
            const std::uint8_t *rows = codes_.of(row);
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
    std::size_t groups_;
    Bytes turned_;
    std::vector<std::uint8_t> padded_;
    std::vector<const std::uint8_t *> bytes_;
};

void run_all(std::vector<std::unique_ptr<Worker>> *workers) {
    std::atomic<std::size_t> next_block{0};
    std::exception_ptr failure;
    std::mutex guard;
    auto work = [&](Worker *worker) {
        try {
            worker->run(&next_block);
        } catch (...) {
            const std::lock_guard<std::mutex> lock(guard);
            failure = std::current_exception();
        }
    };
    std::vector<std::thread> threads;
    for (std::size_t i = 1; i < workers->size(); ++i) threads.emplace_back(work, (*workers)[i].get());
    work(workers->front().get());
    for (std::thread &thread : threads) thread.join();
    if (failure) std::rethrow_exception(failure);
}

void search_some(const Kernel &kernel, const Codes &codes, std::vector<Query> *queries, std::size_t hits,
                 std::size_t threads, float *scores, std::int64_t *rows) {
    std::vector<std::unique_ptr<Worker>> workers;
    const std::size_t worth = codes.documents * codes.m * queries->size() / kThreadBytes;
    threads = std::clamp<std::size_t>(worth, 1, std::max<std::size_t>(1, threads));
    for (std::size_t i = 0; i < threads; ++i)
        workers.push_back(std::make_unique<Worker>(kernel, codes, queries, hits));
    run_all(&workers);
    std::vector<Hit> all;
    for (std::size_t q = 0; q < queries->size(); ++q) {
        all.clear();
        for (const auto &worker : workers) {
            const std::vector<Hit> &best = worker->candidates[q].best();
            all.insert(all.end(), best.begin(), best.end());
        }
        const auto end = all.begin() + static_cast<std::ptrdiff_t>(hits);
        if (end != all.end()) std::nth_element(all.begin(), end, all.end(), better);
        std::sort(all.begin(), end, better);
        for (std::size_t i = 0; i < hits; ++i) {
            scores[q * hits + i] = all[i].score;
            rows[q * hits + i] = all[i].row;
        }
    }
}

}  // namespace

void search(const Kernel &kernel, const Codes &codes, const Tables &tables, std::size_t hits, std::size_t threads,
            float *scores, std::int64_t *rows) {
    const std::size_t table_size = codes.m * kTable;
    const std::size_t pool = std::max<std::size_t>(1, threads) * Candidates::most(hits) * sizeof(Hit);
    const std::size_t at_once = std::clamp<std::size_t>(kPoolBytes / pool, 1, std::min(kMostQueries, tables.queries));
    const Bytes bytes = zeros(at_once * table_size);
    std::vector<float> padded(tables.k == kTable ? 0 : at_once * table_size);
    for (std::size_t start = 0; start < tables.queries; start += at_once) {
        std::vector<Query> queries(std::min(at_once, tables.queries - start));
        for (std::size_t q = 0; q < queries.size(); ++q) {
            const float *values = tables.values + (start + q) * codes.m * tables.k;
            std::uint8_t *rounded = bytes.get() + q * table_size;
            if (!queries[q].rounding.round_up(values, codes.m, tables.k, rounded)) throw TablesNotFinite(start + q);
            queries[q].bytes = rounded;
            queries[q].exact = values;
            if (tables.k == kTable) continue;
            float *wide = padded.data() + q * table_size;  // so that no code reads beyond its table
            for (std::size_t j = 0; j < codes.m; ++j)
                std::copy_n(values + j * tables.k, tables.k, wide + j * kTable);
            queries[q].exact = wide;
        }
        search_some(kernel, codes, &queries, hits, threads, scores + start * hits, rows + start * hits);
    }
}

}  // namespace jpq
