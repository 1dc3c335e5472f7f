#include "by_query.h"

#include <algorithm>
#include <cstring>

namespace jpq {
namespace {

constexpr std::size_t kSharedBytes = 128 << 10;  // of codes that all queries of a batch share, in the second cache
constexpr std::size_t kSharedGroups = 8;         // that they share strip by strip; a block has a multiple of it
constexpr std::size_t kStreamBytes = 1 << 20;    // of a file that one query reads on end: smaller, two threads take longer

// One query reads a file on end; or it transposes and adds up by turns, so in small steps. Several queries share
// what is in the second cache, with their sums where these wait for another strip.
std::size_t groups_at_once(const Codes &codes, std::size_t queries) {
    const std::size_t group = kGroup * codes.m;
    if (queries > 1 && !codes.one_strip()) return kSharedGroups;
    if (queries > 1) return std::max<std::size_t>(1, kSharedBytes / group);
    if (!codes.in_blocks) return 1;
    return std::max<std::size_t>(1, kStreamBytes / (kGroupsInBlock * group)) * kGroupsInBlock;
}

}  // namespace

QueryWorker::QueryWorker(const Kernel &kernel, const Codes &codes, std::vector<Query> *queries, std::size_t hits)
    : Worker(codes, queries, hits, groups_at_once(codes, queries->size())), kernel_(kernel) {
    const bool pairs = codes.bits == 4 && kernel.add_pairs_in_file;
    table_ = pairs ? kPairTable : kTable;
    add_up_ = codes.in_blocks ? (pairs ? kernel.add_pairs_in_file : kernel.add_up_in_file)
                              : (pairs ? kernel.add_pairs_in_buffer : kernel.add_up_in_buffer);
    if (!codes.in_blocks) {
        transposed_ = zeros(groups_ * codes.m * kBufferStride);
        padded_.resize(kTile * codes.m);
    }
    if (!codes.one_strip()) waiting_.resize(queries->size() * kGroupsInBlock);
    for (const Query &query : *queries) bytes_.push_back(query.bytes);
}

void QueryWorker::go_on(const Codes &codes, const std::int64_t *rows, const std::uint8_t *after) {
    codes_ = codes;
    after_ = after;
    for (Candidates &of_query : candidates) of_query.go_on(codes, rows);
}

void QueryWorker::filter(std::size_t start, std::size_t end, std::size_t next) {
    if (codes_.in_blocks)
        for (std::size_t row = start; row < end; row += kBlock) filter_block(row, std::min(end, row + kBlock));
    else
        transpose_and_filter(start, end, next < codes_.documents ? codes_.of(next, codes_.strip(0)) : after_);
}

// Filter documents of a block where they lie, strip by strip, and meanwhile fetch what follows in the file.
void QueryWorker::filter_block(std::size_t start, std::size_t end) {
    const bool wait = !codes_.one_strip();
    Sums whole;
    for (Strip strip = codes_.strip(0); strip.count > 0; strip = codes_.strip(strip.first + strip.count)) {
        const bool first = strip.first == 0, last = strip.first + strip.count == codes_.m;
        for (std::size_t q = 0; q < candidates.size(); ++q) {
            const std::uint8_t *tables = bytes_[q] + strip.first * table_;
            Sums *sums = wait ? &waiting_[q * kGroupsInBlock] : &whole;
            for (std::size_t row = start; row < end; row += kGroup, sums += wait) {
                const Rows rows{codes_.of(row, strip), strip.count, first, last, wait ? sums + 1 : nullptr};
                if (add_up_(rows, tables, q == 0 ? rows.codes + kernel_.ahead : nullptr, candidates[q].threshold(), sums))
                    candidates[q].take(*sums, row, end);
            }
            if (last) candidates[q].settle_many();
        }
    }
}

// Transpose documents and filter them, and meanwhile fetch the one that comes next.
void QueryWorker::transpose_and_filter(std::size_t start, std::size_t end, const std::uint8_t *ahead) {
    const std::size_t groups = (end - start + kGroup - 1) / kGroup;
    const std::size_t quarter = kGroup * codes_.m / 4;  // transposing fetches one, adding up the other three
    for (std::size_t group = 0; group < groups; ++group)
        transpose(start + group * kGroup, end, ahead + 4 * group * quarter, transposed(group));
    Sums sums;
    for (std::size_t q = 0; q < candidates.size(); ++q) {
        for (std::size_t group = 0; group < groups; ++group) {
            const std::uint8_t *rest = q == 0 ? ahead + (4 * group + 1) * quarter : nullptr;
            if (add_up_({transposed(group), codes_.m}, bytes_[q], rest, candidates[q].threshold(), &sums))
                candidates[q].take(sums, start + group * kGroup, end);
        }
        candidates[q].settle_many();
    }
}

void QueryWorker::transpose(std::size_t start, std::size_t end, const std::uint8_t *ahead, std::uint8_t *tile) {
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

}  // namespace jpq
