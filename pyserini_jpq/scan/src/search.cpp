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

#include "tables.h"

namespace jpq {
namespace {

constexpr std::size_t kBlockBytes = 128 << 10;    // of codes that all queries of a batch share, in the second cache
constexpr std::size_t kMostQueries = 32;          // of a batch: their tables must stay in the caches, too
constexpr std::size_t kPoolBytes = 512 << 20;     // of candidates; fewer queries at once where k is very large
constexpr std::size_t kFewestCandidates = 1024;
constexpr std::size_t kCandidatesPerHit = 6;      // gathered before the threshold rises: larger means fewer exact scores
constexpr std::size_t kThreadBytes = 2 << 20;     // of codes by queries: for less, starting a thread takes longer
constexpr std::size_t kInterleaved = 8;           // documents scored at once, since one sum is a chain of additions

struct Hit {
    float score;
    std::uint32_t row;
};

bool better(const Hit &a, const Hit &b) { return a.score > b.score || (a.score == b.score && a.row < b.row); }

struct Free {
    void operator()(std::uint8_t *memory) const { ::operator delete[](memory, std::align_val_t(64)); }
};
using Bytes = std::unique_ptr<std::uint8_t[], Free>;

Bytes zeros(std::size_t size) {
    Bytes memory(static_cast<std::uint8_t *>(::operator new[](size, std::align_val_t(64))));
    std::memset(memory.get(), 0, size);
    return memory;
}

// What the threads share about a query: its tables, and the best k-th score that one of them has found.
struct Query {
    const float *exact;  // m x 256
    const std::uint8_t *bytes;
    ByteTables rounding;
    std::atomic<float> kth{-std::numeric_limits<float>::infinity()};

    void raise(float score) {
        float known = kth.load(std::memory_order_relaxed);
        while (score > known && !kth.compare_exchange_weak(known, score, std::memory_order_relaxed)) {
        }
    }
};

// The candidates of a query in one thread: first sums of bytes only, then, when they are many, the best by score.
class Candidates {
public:
    Candidates(const Codes &codes, Query *query, std::size_t hits)
        : codes_(codes), query_(query), hits_(hits), capacity_(std::max(kCandidatesPerHit * hits, kFewestCandidates) + kGroup) {}

    std::uint16_t threshold() {
        const float kth = query_->kth.load(std::memory_order_relaxed);
        if (kth > used_kth_) {
            used_kth_ = kth;
            threshold_ = query_->rounding.threshold(kth);
        }
        return threshold_;
    }

    // Take the documents of a group that reached the threshold; `end` is the row after the last document.
    void take(const Sums &sums, std::size_t first_row, std::size_t end) {
        if (rows_.size() + kGroup > capacity_) settle();
        for (std::size_t half = 0; half < 2 * kTilesInGroup; ++half)
            for (std::uint32_t hits = sums.hits[half]; hits != 0; hits &= hits - 1) {
                const std::size_t i = trailing_zeros(hits);
                const std::size_t row = first_row + half / 2 * kTile + 2 * i + half % 2;
                if (row >= end) break;
                rows_.push_back(static_cast<std::uint32_t>(row));
                sums_.push_back(sums.values[half][i]);
            }
    }

    // Score the candidates that can still be among the best, and keep the best.
    void settle() {
        drop_by_sum();
        score();
        rows_.clear();
        sums_.clear();
        if (best_.size() < hits_ || best_.empty()) return;
        std::nth_element(best_.begin(), best_.begin() + static_cast<std::ptrdiff_t>(hits_ - 1), best_.end(), better);
        best_.resize(hits_);
        query_->raise(best_.back().score);
    }

    const std::vector<Hit> &best() const { return best_; }

private:
    static std::size_t trailing_zeros(std::uint32_t bits) {
#if defined(__GNUC__) || defined(__clang__)
        return static_cast<std::size_t>(__builtin_ctz(bits));
#else
        std::size_t count = 0;
        for (; !(bits & 1); bits >>= 1) ++count;
        return count;
#endif
    }

    // Where more than k are new, those far enough below the k-th largest sum are not among the best.
    void drop_by_sum() {
        if (rows_.size() <= hits_) return;
        std::vector<std::uint16_t> ordered(sums_);
        const auto kth = ordered.begin() + static_cast<std::ptrdiff_t>(hits_ - 1);
        std::nth_element(ordered.begin(), kth, ordered.end(), std::greater<>());
        const std::uint32_t gap = query_->rounding.gap();
        if (*kth < gap) return;
        const std::uint16_t least = static_cast<std::uint16_t>(*kth - gap);
        std::size_t kept = 0;
        for (std::size_t i = 0; i < rows_.size(); ++i) {
            rows_[kept] = rows_[i];
            kept += sums_[i] >= least;
        }
        rows_.resize(kept);
    }

    void score() {
        const float kth = query_->kth.load(std::memory_order_relaxed);
        std::size_t start = 0;
        for (; start + kInterleaved <= rows_.size(); start += kInterleaved) score_some<kInterleaved>(start, kth);
        for (; start < rows_.size(); ++start) score_some<1>(start, kth);
    }

    template <std::size_t count>
    void score_some(std::size_t start, float kth) {
        const std::uint8_t *codes[count];
        float totals[count];
        for (std::size_t i = 0; i < count; ++i) {
            codes[i] = codes_.rows + rows_[start + i] * codes_.m;
            totals[i] = 0;
        }
        const float *table = query_->exact;
        for (std::size_t j = 0; j < codes_.m; ++j, table += kTable)
            for (std::size_t i = 0; i < count; ++i) totals[i] += table[codes[i][j]];
        for (std::size_t i = 0; i < count; ++i)
            if (totals[i] >= kth) best_.push_back({totals[i], rows_[start + i]});
    }

    Codes codes_;
    Query *query_;
    std::size_t hits_, capacity_;
    float used_kth_ = -std::numeric_limits<float>::infinity();
    std::uint16_t threshold_ = 0;
    std::vector<std::uint32_t> rows_;
    std::vector<std::uint16_t> sums_;
    std::vector<Hit> best_;
};

// One thread: takes blocks of documents, turns their codes round once, and filters them for every query.
class Worker {
public:
    Worker(const Kernel &kernel, const Codes &codes, std::vector<Query> *queries, std::size_t hits)
        : kernel_(kernel), codes_(codes), groups_(groups_in_block(codes.m, queries->size())),
          tiles_(zeros(groups_ * kTilesInGroup * tile_bytes(codes.m))), padded_(kTile * codes.m) {
        for (Query &query : *queries) {
            bytes_.push_back(query.bytes);
            candidates.emplace_back(codes, &query, hits);
        }
    }

    // One query reads and computes by turns, so in small steps; several share what was turned round, as much as fits.
    static std::size_t groups_in_block(std::size_t m, std::size_t queries) {
        return queries == 1 ? 1 : std::max<std::size_t>(1, kBlockBytes / (kTilesInGroup * tile_bytes(m)));
    }

    void run(std::atomic<std::size_t> *next_block) {
        const std::size_t size = groups_ * kGroup;
        const auto take = [&] { return next_block->fetch_add(1, std::memory_order_relaxed) * size; };
        for (std::size_t start = take(), next; start < codes_.documents; start = next) {
            next = take();
            filter(start, std::min(codes_.documents, start + size), next < codes_.documents ? next : start);
        }
        for (Candidates &of_query : candidates) of_query.settle();
    }

    std::vector<Candidates> candidates;

private:
    // Filter a block, and meanwhile fetch the one that comes next.
    void filter(std::size_t start, std::size_t end, std::size_t next) {
        const std::size_t groups = (end - start + kGroup - 1) / kGroup;
        const std::uint8_t *ahead = codes_.rows + next * codes_.m;
        const std::size_t quarter = kGroup * codes_.m / 4;  // turning round fetches one, adding up the other three
        for (std::size_t group = 0; group < groups; ++group)
            turn(start + group * kGroup, end, ahead + 4 * group * quarter, tiles_of(group));
        Sums sums;
        for (std::size_t q = 0; q < candidates.size(); ++q)
            for (std::size_t group = 0; group < groups; ++group) {
                const std::uint8_t *rest = q == 0 ? ahead + (4 * group + 1) * quarter : nullptr;
                if (kernel_.add_up(tiles_of(group), codes_.m, bytes_[q], rest, candidates[q].threshold(), &sums))
                    candidates[q].take(sums, start + group * kGroup, end);
            }
    }

    std::uint8_t *tiles_of(std::size_t group) const {
        return tiles_.get() + group * kTilesInGroup * tile_bytes(codes_.m);
    }

    void turn(std::size_t start, std::size_t end, const std::uint8_t *ahead, std::uint8_t *tiles) {
        for (std::size_t row = start; row < end && row < start + kGroup; row += kTile) {
            const std::uint8_t *rows = codes_.rows + row * codes_.m;
            if (end - row < kTile) {
                std::memcpy(padded_.data(), rows, (end - row) * codes_.m);
                rows = padded_.data();
            }
            kernel_.transpose(rows, codes_.m, ahead, tiles);
            ahead += kTile * codes_.m / 4;
            tiles += tile_bytes(codes_.m);
        }
    }

    const Kernel &kernel_;
    Codes codes_;
    std::size_t groups_;
    Bytes tiles_;
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

void search_some(const Kernel &kernel, const Codes &codes, std::vector<Query> *queries,
                 std::size_t hits, std::size_t threads, float *scores, std::int64_t *rows) {
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
    const std::size_t pool = std::max<std::size_t>(1, threads) * (kCandidatesPerHit * hits + kFewestCandidates) * sizeof(Hit);
    const std::size_t at_once = std::clamp<std::size_t>(kPoolBytes / pool, 1, kMostQueries);
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
