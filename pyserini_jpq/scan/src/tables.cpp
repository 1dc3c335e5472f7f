#include "tables.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels.h"

namespace jpq {
namespace {

constexpr std::size_t kLanes = 8;             // independent chains, which compilers turn into vectors
constexpr double kLargestByte = 254;          // of 255: rounding may add one
constexpr double kLargestSum = 65535;
constexpr double kByteError = 2e-4;           // most that float32 arithmetic errs on a value up to 254, in steps
constexpr double kSmallestStep = 1e-30;       // its inverse and the differences below stay normal numbers

struct Range {
    float low, high;
    std::uint32_t magnitude;  // bits of the largest absolute value; of NaN and infinity they are larger still
};

Range range_of(const float *table, std::size_t k) {
    float low[kLanes], high[kLanes];
    std::uint32_t bits[kLanes] = {};
    for (std::size_t i = 0; i < kLanes; ++i) low[i] = high[i] = table[0];
    std::size_t start = 0;
    for (; start + kLanes <= k; start += kLanes)
        for (std::size_t i = 0; i < kLanes; ++i) {
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
    return {*std::min_element(low, low + kLanes), *std::max_element(high, high + kLanes),
            *std::max_element(bits, bits + kLanes)};
}

float float_of(std::uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

}  // namespace

bool ByteTables::round_up(const float *tables, std::size_t m, std::size_t k, std::uint8_t *bytes) {
    std::vector<Range> ranges(m);
    double magnitude = 0, widest = 0, total = 0;
    base_ = 0;
    for (std::size_t j = 0; j < m; ++j) {
        const Range range = ranges[j] = range_of(tables + j * k, k);
        const float largest = float_of(range.magnitude);
        if (!std::isfinite(largest)) return false;
        const double width = static_cast<double>(range.high) - range.low;
        magnitude += largest;
        widest = std::max(widest, width);
        total += width;
        base_ += range.low;
    }
    // Half of the largest float: the difference of two entries must not overflow either.
    if (magnitude > std::numeric_limits<float>::max() / 2) return false;

    const double count = static_cast<double>(m);
    step_ = std::max({widest / kLargestByte, total / (kLargestSum - count), kSmallestStep});
    loss_ = count * (1 + kByteError);
    // Each of the m additions in float32 errs by at most 2^-24 of a partial sum, which `magnitude` bounds; sums in
    // double here by far less.
    slack_ = magnitude * (count * 1.01 * std::ldexp(1.0, -24) + 1e-12) + count * kByteError * step_;

    const float inverse = static_cast<float>(1 / step_);
    for (std::size_t j = 0; j < m; ++j) {
        const float *table = tables + j * k;
        const float low = ranges[j].low;
        std::uint8_t *row = bytes + j * kTable;
        for (std::size_t c = 0; c < k; ++c) {
            const float steps = (table[c] - low) * inverse + 0.9999f;
            row[c] = static_cast<std::uint8_t>(static_cast<std::int32_t>(steps));
        }
        for (std::size_t c = k; c < kTable; ++c) row[c] = 0;
    }
    return true;
}

std::uint16_t ByteTables::threshold(float score) const {
    const double sum = std::floor((static_cast<double>(score) - base_ - slack_) / step_);
    return static_cast<std::uint16_t>(std::clamp(sum, 0.0, kLargestSum));
}

std::uint32_t ByteTables::gap() const {
    return static_cast<std::uint32_t>(std::min(loss_ + 2 * slack_ / step_ + 1, 2 * kLargestSum));
}

}  // namespace jpq
