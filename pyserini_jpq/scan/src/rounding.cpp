#include "rounding.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace jpq {
namespace {

constexpr std::size_t kChains = 8;            // independent, which compilers turn into vectors
constexpr double kLargestByte = 254;          // of 255: rounding may add one
constexpr double kLargestPair = 252.9;        // of 255: rounding may add one to each of two
constexpr double kLargestSum = 65535;
constexpr double kByteError = 2e-4;           // most that float32 arithmetic errs on a value up to 254, in steps
constexpr double kWordError = 2e-2;           // and up to 65535
constexpr float kUp = 0.9999f;                // added before the rest is cut off
constexpr double kSmallestStep = 1e-30;       // its inverse and the differences below stay normal numbers

struct Range {
    float low, high;
    std::uint32_t magnitude;  // bits of the largest absolute value; of NaN and infinity they are larger still
};

Range range_of(const float *table, std::size_t k) {
    float low[kChains], high[kChains];
    std::uint32_t bits[kChains] = {};
    for (std::size_t i = 0; i < kChains; ++i) low[i] = high[i] = table[0];
    std::size_t start = 0;
    for (; start + kChains <= k; start += kChains)
        for (std::size_t i = 0; i < kChains; ++i) {
            const float entry = table[start + i];
            std::uint32_t word;
            std::memcpy(&word, &entry, sizeof word);
            word &= 0x7fffffffu;
            low[i] = entry < low[i] ? entry : low[i];
            high[i] = entry > high[i] ? entry : high[i];
            bits[i] = word > bits[i] ? word : bits[i];
        }
    for (; start < k; ++start) {
        std::uint32_t word;
        std::memcpy(&word, table + start, sizeof word);
        low[0] = std::min(low[0], table[start]);
        high[0] = std::max(high[0], table[start]);
        bits[0] = std::max(bits[0], word & 0x7fffffffu);
    }
    return {*std::min_element(low, low + kChains), *std::max_element(high, high + kChains),
            *std::max_element(bits, bits + kChains)};
}

float float_of(std::uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

}  // namespace

bool Rounding::fit(const Lookup &lookup, std::size_t together, Whole whole) {
    lowest_.resize(lookup.subspaces);
    double magnitude = 0, widest = 0, total = 0, width = 0;
    base_ = 0;
    for (std::size_t j = 0; j < lookup.subspaces; ++j) {
        const Range range = range_of(lookup.values + j * lookup.k, lookup.k);
        const float largest = float_of(range.magnitude);
        if (!std::isfinite(largest)) return false;
        width = static_cast<double>(range.high) - range.low + (j % together ? width : 0);
        widest = std::max(widest, width);
        total += static_cast<double>(range.high) - range.low;
        magnitude += largest;
        base_ += range.low;
        lowest_[j] = range.low;
    }
    // Half of the largest float: the difference of two entries must not overflow either.
    if (magnitude > std::numeric_limits<float>::max() / 2) return false;

    const std::size_t bytes = (lookup.subspaces + together - 1) / together;
    const double rounded = static_cast<double>(whole == Whole::pairs ? lookup.subspaces : bytes);
    const double error = whole == Whole::words ? kWordError : kByteError;
    step_ = std::max(total / (kLargestSum - (1 + error) * rounded - 1), kSmallestStep);
    if (whole != Whole::words) step_ = std::max(step_, widest / (whole == Whole::bytes ? kLargestByte : kLargestPair));
    inverse_ = static_cast<float>(1 / step_);
    loss_ = rounded * (1 + error);
    // Each addition of an entry in float32 errs by at most 2^-24 of a partial sum, which `magnitude` bounds; sums in
    // double here by far less.
    const double additions = static_cast<double>(lookup.subspaces) * 1.01;
    slack_ = magnitude * (additions * std::ldexp(1.0, -24) + 1e-12) + rounded * error * step_;
    return true;
}

template <typename Number>
void Rounding::round(const Lookup &lookup, std::size_t subspace, Number *entries) const {
    const float *table = lookup.values + subspace * lookup.k;
    const float low = lowest_[subspace], inverse = inverse_;
    for (std::size_t c = 0; c < lookup.k; ++c)
        entries[c] = static_cast<Number>(static_cast<std::int32_t>((table[c] - low) * inverse + kUp));
}

template <typename Number>
void Rounding::round_pair(const Lookup &lookup, std::size_t first, Number *entries) const {
    float above[2][16] = {};  // the lowest of their subspace; of codes that there are not, anything
    for (std::size_t i = 0; i < std::min<std::size_t>(2, lookup.subspaces - first); ++i)
        for (std::size_t c = 0; c < lookup.k; ++c)
            above[i][c] = lookup.values[(first + i) * lookup.k + c] - lowest_[first + i];
    const float inverse = inverse_;
    for (const float high : above[1])
        for (const float low : above[0])
            *entries++ = static_cast<Number>(static_cast<std::int32_t>((low + high) * inverse + kUp));
}

template void Rounding::round(const Lookup &, std::size_t, std::uint8_t *) const;
template void Rounding::round(const Lookup &, std::size_t, std::uint16_t *) const;
template void Rounding::round_pair(const Lookup &, std::size_t, std::uint8_t *) const;
template void Rounding::round_pair(const Lookup &, std::size_t, std::uint16_t *) const;

std::uint16_t Rounding::threshold(float score) const {
    const double sum = std::floor((static_cast<double>(score) - base_ - slack_) / step_);
    return static_cast<std::uint16_t>(std::clamp(sum, 0.0, kLargestSum));
}

std::uint32_t Rounding::gap() const {
    return static_cast<std::uint32_t>(std::min(loss_ + 2 * slack_ / step_ + 1, 2 * kLargestSum));
}

std::uint32_t Rounding::usual_gap() const {
    return static_cast<std::uint32_t>(std::min(loss_ / 2 + std::sqrt(loss_) + slack_ / step_ + 1, kLargestSum));
}

}  // namespace jpq
