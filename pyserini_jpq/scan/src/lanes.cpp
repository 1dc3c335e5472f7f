#include "lanes.h"

#include <algorithm>
#include <iterator>

namespace jpq {
namespace {

constexpr std::size_t kGroupsAtOnce = 4;         // a block has a multiple of it
constexpr std::size_t kTableBytes = 128 << 10;   // of tables that are used at once, in the second-level cache

}  // namespace

LaneTables::LaneTables(std::size_t m, std::size_t most) : m_(m), bytes_(zeros(size(m, most))) {}

void LaneTables::fill(const std::vector<Lookup> &lookups, const std::vector<Query> &queries, std::size_t bits) {
    lanes_ = lanes(queries.size());
    std::vector<std::uint16_t> rounded(lanes_ * kTable);
    std::uint16_t *entries = tables();
    for (std::size_t j = 0; j < m_; ++j) {
        for (std::size_t q = 0; q < queries.size(); ++q) {
            if (bits == 8) queries[q].rounding.round(lookups[q], j, &rounded[q * kTable]);
            else queries[q].rounding.round_pair(lookups[q], 2 * j, &rounded[q * kTable]);
        }
        for (std::size_t c = 0; c < kTable; ++c)
            for (std::size_t q = 0; q < lanes_; ++q) *entries++ = rounded[q * kTable + c];
    }
}

LaneWorker::LaneWorker(const Kernel &kernel, const Codes &codes, const LaneTables &tables, std::vector<Query> *queries,
                       std::size_t hits)
    : Worker(codes, queries, hits, kGroupsAtOnce),
      tables_(tables),
      add_lanes_(kernel.add_lanes[tables.lanes() == kMostLanes]),
      sums_(zeros(kGroupsAtOnce * kGroup * tables.lanes() * sizeof(std::uint16_t))),
      hits_(kGroup) {
    std::fill(std::begin(thresholds_), std::end(thresholds_), std::uint16_t{65535});
}

void LaneWorker::filter(std::size_t start, std::size_t end, std::size_t next) {
    const std::vector<Part> all = parts(start, end);
    for (std::size_t i = 0; i < all.size(); ++i) {
        const bool more = i + 1 < all.size();
        const std::size_t row = next < codes_.documents ? next : start;
        add_up(all[i], start, end, more ? codes_of(all[i + 1]) : codes_.of(row, codes_.strip(0)));
    }
    for (Candidates &of_query : candidates) of_query.settle_many();
}

// Strip by strip, since codes lie so; in a strip by as many rows as have their tables near, all groups of these.
std::vector<LaneWorker::Part> LaneWorker::parts(std::size_t start, std::size_t end) const {
    const std::size_t near = kTableBytes / LaneTables::size(1, tables_.lanes());
    std::vector<Part> found;
    for (Strip strip = codes_.strip(0); strip.count > 0; strip = codes_.strip(strip.first + strip.count))
        for (std::size_t first = 0; first < strip.count; first += near)
            for (std::size_t row = start; row < end; row += kGroup)
                found.push_back({row, first, std::min(near, strip.count - first), strip});
    return found;
}

const std::uint8_t *LaneWorker::codes_of(const Part &part) const {
    return codes_.of(part.row, part.strip) + part.first * codes_.step();
}

void LaneWorker::add_up(const Part &part, std::size_t start, std::size_t end, const std::uint8_t *ahead) {
    const std::size_t first = part.strip.first + part.first, lanes = tables_.lanes();
    LaneRows rows;
    rows.codes = codes_of(part);
    rows.next_document = codes_.in_blocks ? 1 : codes_.m;
    rows.next_row = codes_.step();
    rows.documents = std::min(kGroup, end - part.row);
    rows.count = part.count;
    rows.tables = tables_.of(first);
    rows.sums = reinterpret_cast<std::uint16_t *>(sums_.get()) + (part.row - start) * lanes;
    rows.first = first == 0;
    rows.last = first + part.count == codes_.m;
    rows.thresholds = thresholds_;
    rows.hits = hits_.data();
    rows.ahead = ahead;
    rows.next_ahead = codes_.in_blocks ? part.count : codes_.m;
    if (rows.last)
        for (std::size_t q = 0; q < candidates.size(); ++q) thresholds_[q] = candidates[q].threshold();
    add_lanes_(rows);
    if (rows.last) take(part.row, rows);
}

// Take what reached the thresholds of some queries.
void LaneWorker::take(std::size_t row, const LaneRows &rows) {
    for (std::size_t d = 0; d < rows.documents; ++d)
        for (std::uint32_t hits = rows.hits[d]; hits != 0; hits &= hits - 1) {
            const std::size_t q = trailing_zeros(hits);
            candidates[q].take(row + d, rows.sums[d * tables_.lanes() + q]);
        }
}

}  // namespace jpq
