// The documents of one query that may be among the best: by their sums of bytes first, then by their scores.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "codes.h"
#include "kernels.h"
#include "rounding.h"

namespace jpq {

struct Hit {
    float score;
    std::uint32_t row;
};

inline bool better(const Hit &a, const Hit &b) { return a.score > b.score || (a.score == b.score && a.row < b.row); }

// What the threads share about a query: its tables, and the best k-th score that one of them has found.
struct Query {
    const float *exact;  // m x 256; of codes of 4 bits m x 2 x 16
    const std::uint8_t *bytes = nullptr;  // as the kernel adds them up, where it does so query by query
    Rounding rounding;
    std::uint16_t guess = 0;  // a sum that was seen so often in a sample that the best documents should reach it
    std::atomic<float> kth{-std::numeric_limits<float>::infinity()};

    // Whether all documents were taken that can be among the best, of which the last is `last`; null where they are too
    // few.
    bool complete(const Hit *last) const { return guess == 0 || (last && rounding.threshold(last->score) >= guess); }

    void raise(float score) {
        float known = kth.load(std::memory_order_relaxed);
        while (score > known && !kth.compare_exchange_weak(known, score, std::memory_order_relaxed)) {
        }
    }
};

// The candidates of a query in one thread.
class Candidates {
public:
    Candidates(const Codes &codes, Query *query, std::size_t hits)
        : codes_(codes), query_(query), hits_(hits), threshold_(query->guess) {}

    // Go on with other documents, whose rows in the whole are `rows`; nothing may be taken that is not settled.
    void go_on(const Codes &codes, const std::int64_t *rows) {
        codes_ = codes;
        rows_in_whole_ = rows;
    }

    // The least sum with which a document can be among the best.
    std::uint16_t threshold();

    // Take the documents of a group that reached the threshold; `end` is the row after the last document.
    void take(const Sums &sums, std::size_t first_row, std::size_t end);

    // Take one document that reached it.
    void take(std::size_t row, std::uint16_t sum) {
        if (rows_.size() >= kMostTaken) settle();
        rows_.push_back(static_cast<std::uint32_t>(row));
        sums_.push_back(sum);
    }

    // Score what was taken if it is enough, else keep its codes, while these are near.
    void settle_many();

    // Score what was taken.
    void settle();

    // The best documents of all that were scored, and some more, in any order.
    const std::vector<Hit> &best() const { return best_; }

    // Most documents that `best` holds.
    static std::size_t most(std::size_t hits);

    // Score none of the documents that are taken from now on, and at last return the sum of that rank among theirs.
    void begin_sample(std::size_t rank);
    std::uint16_t end_sample();

private:
    static constexpr std::size_t kMostTaken = 2048;  // before they are scored
    static constexpr std::size_t kMany = 64;         // that are worth it, since tables have to be fetched for them

    void drop_by_sum();
    void keep_codes();
    void score(const Codes &codes, std::size_t start, std::size_t end);
    template <std::size_t bits>
    void score_some(const Codes &codes, std::size_t start, std::size_t end, float kth);
    void keep_best();
    void thin_sample();

    Codes codes_;
    const std::int64_t *rows_in_whole_ = nullptr;
    Query *query_;
    std::size_t hits_;
    float used_kth_ = -std::numeric_limits<float>::infinity();
    std::uint16_t threshold_;
    bool sampling_ = false;
    std::size_t sampled_ = 0;          // largest sums that are kept
    std::vector<std::uint32_t> rows_;  // taken, and not scored yet
    std::vector<std::uint16_t> sums_;
    std::vector<std::uint8_t> kept_;   // codes of the first of these
    bool full_ = false;  // whether k were found once
    std::vector<Hit> best_;
};

}  // namespace jpq
