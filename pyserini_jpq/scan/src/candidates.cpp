#include "candidates.h"

#include <algorithm>
#include <functional>

namespace jpq {
namespace {

constexpr std::size_t kInterleaved = 8;    // documents scored at once, since one sum is a chain of additions
constexpr std::size_t kFewestNew = 64;     // hits that are new before the k-th best is looked for again

// Hits that are kept before all but the k best are dropped: with more of them this is done more rarely, and the
// threshold rises later.
std::size_t limit(std::size_t hits) { return hits + std::max(hits / 2, kFewestNew); }

}  // namespace

std::size_t Candidates::most(std::size_t hits) { return limit(hits) + kMostTaken; }

std::uint16_t Candidates::threshold() {
    if (sampling_) return 0;
    const float kth = query_->kth.load(std::memory_order_relaxed);
    if (kth > used_kth_) {
        used_kth_ = kth;
        threshold_ = std::max(threshold_, query_->rounding.threshold(kth));
    }
    return threshold_;
}

void Candidates::take(const Sums &sums, std::size_t first_row, std::size_t end) {
    if (rows_.size() + kGroup > kMostTaken) settle();
    for (std::size_t half = 0; half < 2 * kTilesInGroup; ++half)
        for (std::uint32_t hits = sums.hits[half]; hits != 0; hits &= hits - 1) {
            const std::size_t i = trailing_zeros(hits);
            const std::size_t row = first_row + half / 2 * kTile + 2 * i + half % 2;
            if (row >= end) break;
            rows_.push_back(static_cast<std::uint32_t>(row));
            sums_.push_back(sums.values[half][i]);
        }
}

std::uint16_t Candidates::end_sample(std::size_t rank) {
    const auto at = sums_.begin() + static_cast<std::ptrdiff_t>(rank);
    std::nth_element(sums_.begin(), at, sums_.end(), std::greater<>());
    const std::uint16_t sum = *at;
    rows_.clear();
    sums_.clear();
    sampling_ = false;
    return sum;
}

void Candidates::settle() {
    if (rows_.empty() || sampling_) return;
    drop_by_sum();
    const float kth = query_->kth.load(std::memory_order_relaxed);
    codes_.bits == 8 ? score_all<8>(kth) : score_all<4>(kth);
    rows_.clear();
    sums_.clear();
    if (best_.size() >= (full_ ? limit(hits_) : hits_)) keep_best();
}

// Where more than k were taken, those far enough below the k-th largest sum are not among the best.
void Candidates::drop_by_sum() {
    if (rows_.size() > hits_) {
        std::vector<std::uint16_t> ordered(sums_);
        const auto kth = ordered.begin() + static_cast<std::ptrdiff_t>(hits_ - 1);
        std::nth_element(ordered.begin(), kth, ordered.end(), std::greater<>());
        const std::uint32_t gap = query_->rounding.gap();
        if (*kth > gap) threshold_ = std::max(threshold_, static_cast<std::uint16_t>(*kth - gap));
    }
    const std::uint16_t least = threshold();
    std::size_t kept = 0;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
        rows_[kept] = rows_[i];
        kept += sums_[i] >= least;
    }
    rows_.resize(kept);
}

template <std::size_t bits>
void Candidates::score_all(float kth) {
    std::size_t start = 0;
    for (; start + kInterleaved <= rows_.size(); start += kInterleaved) score<kInterleaved, bits>(start, kth);
    for (; start < rows_.size(); ++start) score<1, bits>(start, kth);
}

template <std::size_t count, std::size_t bits>
void Candidates::score(std::size_t start, float kth) {
    constexpr std::size_t kSize = bits == 8 ? kTable : kPairTable;
    const std::uint8_t *codes[count];
    float totals[count] = {};
    const std::size_t step = codes_.step();
    const float *table = query_->exact;
    for (Strip strip = codes_.strip(0); strip.count > 0; strip = codes_.strip(strip.first + strip.count)) {
        for (std::size_t i = 0; i < count; ++i) codes[i] = codes_.of(rows_[start + i], strip);
        for (std::size_t j = 0; j < strip.count; ++j, table += kSize)
            for (std::size_t i = 0; i < count; ++i) {
                const std::uint8_t code = codes[i][j * step];
                totals[i] += table[bits == 8 ? code : code & 15];
                if (bits == 4) totals[i] += table[16 + (code >> 4)];
            }
    }
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t row = rows_[start + i];
        if (totals[i] >= kth)
            best_.push_back({totals[i], rows_in_whole_ ? static_cast<std::uint32_t>(rows_in_whole_[row]) : row});
    }
}

void Candidates::keep_best() {
    full_ = true;
    std::nth_element(best_.begin(), best_.begin() + static_cast<std::ptrdiff_t>(hits_ - 1), best_.end(), better);
    best_.resize(hits_);
    query_->raise(best_.back().score);
}

}  // namespace jpq
