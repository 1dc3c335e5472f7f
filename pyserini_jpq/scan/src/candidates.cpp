#include "candidates.h"

#include <algorithm>
#include <functional>

namespace jpq {
namespace {

constexpr std::size_t kInterleaved = 8;    // documents scored at once
constexpr std::size_t kFewestNew = 64;     // hits that are new before the k-th best is looked for again

// Hits that are kept before all but the k best are dropped: with more of them this is done more rarely, and the
// threshold rises later.
std::size_t limit(std::size_t hits) { return hits + std::max(hits / 2, kFewestNew); }

}  // namespace

std::size_t Candidates::most(std::size_t hits) { return limit(hits) + kMostTaken; }

std::uint16_t Candidates::threshold() {
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

void Candidates::begin_sample(std::size_t rank) {
    sampling_ = true;
    sampled_ = rank + 1;
}

std::uint16_t Candidates::end_sample() {
    thin_sample();
    const std::uint16_t sum = sums_.back();
    sums_.clear();
    sampling_ = false;
    threshold_ = 0;
    return sum;
}

// Drop all but the largest sums, of which the last comes last.
void Candidates::thin_sample() {
    rows_.clear();
    if (sums_.size() < sampled_) return;
    const auto last = sums_.begin() + static_cast<std::ptrdiff_t>(sampled_ - 1);
    std::nth_element(sums_.begin(), last, sums_.end(), std::greater<>());
    sums_.resize(sampled_);
    threshold_ = sums_.back();
}

void Candidates::settle_many() {
    if (sampling_) thin_sample();
    else if (rows_.size() >= std::max(kMany, hits_ / 4)) settle();
    else keep_codes();
}

void Candidates::settle() {
    if (sampling_) return thin_sample();
    if (rows_.empty()) return;
    drop_by_sum();
    if (rows_.size() < kept_.size() / codes_.m + kInterleaved) keep_codes();
    const std::size_t kept = kept_.size() / codes_.m;
    score({kept_.data(), kept, codes_.m, false, codes_.bits}, 0, kept);
    score(codes_, kept, rows_.size());
    rows_.clear();
    sums_.clear();
    kept_.clear();
    if (best_.size() >= (full_ ? limit(hits_) : hits_)) keep_best();
}

// Keep the codes of what was taken, since until enough are there for scoring the caches will hold others.
void Candidates::keep_codes() {
    const std::size_t step = codes_.step();
    std::size_t i = kept_.size() / codes_.m;
    kept_.resize(rows_.size() * codes_.m);
    for (std::uint8_t *to = kept_.data() + i * codes_.m; i < rows_.size(); ++i)
        for (Strip strip = codes_.strip(0); strip.count > 0; strip = codes_.strip(strip.first + strip.count)) {
            const std::uint8_t *from = codes_.of(rows_[i], strip);
            for (std::size_t j = 0; j < strip.count; ++j) *to++ = from[j * step];
        }
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
    const std::size_t m = codes_.m, old = kept_.size() / m;
    std::size_t kept = 0, kept_codes = 0;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
        if (sums_[i] < least) continue;
        if (i < old) std::copy_n(&kept_[i * m], m, &kept_[kept_codes++ * m]);
        rows_[kept++] = rows_[i];
    }
    rows_.resize(kept);
    kept_.resize(kept_codes * m);
}

// Score documents by codes that were kept, in their order, or by all codes.
void Candidates::score(const Codes &codes, std::size_t start, std::size_t end) {
    const float kth = query_->kth.load(std::memory_order_relaxed);
    for (; start < end; start += kInterleaved)
        codes.bits == 8 ? score_some<8>(codes, start, end, kth) : score_some<4>(codes, start, end, kth);
}

// Score several at once, since one sum is a chain of additions. Where fewer are left, the last is scored again.
template <std::size_t bits>
void Candidates::score_some(const Codes &codes, std::size_t start, std::size_t end, float kth) {
    constexpr std::size_t kSize = bits == 8 ? kTable : kPairTable;
    const std::uint8_t *from[kInterleaved];
    float totals[kInterleaved] = {};
    const std::size_t step = codes.step();
    const float *table = query_->exact;
    for (Strip strip = codes.strip(0); strip.count > 0; strip = codes.strip(strip.first + strip.count)) {
        for (std::size_t i = 0; i < kInterleaved; ++i) {
            const std::size_t at = std::min(start + i, end - 1);
            from[i] = codes.of(&codes == &codes_ ? rows_[at] : at, strip);
        }
        for (std::size_t j = 0; j < strip.count; ++j, table += kSize)
            for (std::size_t i = 0; i < kInterleaved; ++i) {
                const std::uint8_t code = from[i][j * step];
                totals[i] += table[bits == 8 ? code : code & 15];
                if (bits == 4) totals[i] += table[16 + (code >> 4)];
            }
    }
    for (std::size_t i = 0; i < std::min(kInterleaved, end - start); ++i) {
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
