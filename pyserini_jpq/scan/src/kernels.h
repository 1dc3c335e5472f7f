// The inner loops of the scan, once for each instruction set, and which of them this machine can run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace jpq {

constexpr std::size_t kTile = 64;            // documents whose codes are transposed together
constexpr std::size_t kTilesInGroup = 8;     // tiles whose sums are kept in registers together
constexpr std::size_t kGroup = kTile * kTilesInGroup;
constexpr std::size_t kTable = 256;          // entries of a lookup table
constexpr std::size_t kPairTable = 32;       // of the tables of two subspaces of 4 bits, whose codes share a byte
constexpr std::size_t kLanes = 16, kMostLanes = 32;  // queries whose sums are added up together: few, many

// What the bytes of codes are looked up in: a table each of 256 entries, or two of 16 by the low and the high 4 bits.
enum class Entries { bytes, pairs };

// The codes of a group lie by subspace, in rows: code j of document d stands at stride j + d. In a file rows follow each
// other without a gap, so that they are read as one stream; in the buffer into which documents are transposed, a gap
// keeps those of a tile from falling into the same cache sets.
constexpr std::size_t kFileStride = kGroup;
constexpr std::size_t kBufferStride = kGroup + kTile;

// The sums of the documents of a group. Document d of tile t stands in half 2 t + d % 2 at d / 2, since bytes are
// widened to 16 bits by taking even and odd ones apart; `hits` has a bit for each sum that reaches the threshold.
struct Sums {
    alignas(64) std::uint16_t values[2 * kTilesInGroup][kTile / 2];
    std::uint32_t hits[2 * kTilesInGroup];
};

// Rows of a group whose entries are added up: all of them, or a part, which begins from the sums of the part before.
struct Rows {
    const std::uint8_t *codes;
    std::size_t count;
    bool first = true, last = true;  // whether the group's first row is among them, and its last
    const Sums *next = nullptr;      // of the group that comes next, where groups are added up part by part
};

using AddUp = bool(const Rows &rows, const std::uint8_t *tables, const std::uint8_t *ahead, std::uint16_t threshold,
                   Sums *sums);

// Documents whose entries are added up for all queries of a batch at once. The entries of a byte of codes, 16 bits for each
// query, lie side by side, so that a sum takes one addition for 16 or 32 queries, where lookups in registers take sixteen
// shuffles for each query.
struct LaneRows {
    const std::uint8_t *codes;
    std::size_t next_document, next_row;  // how far it is from one to the next
    std::size_t documents, count;
    const std::uint16_t *tables;  // count x 256 x lanes
    std::uint16_t *sums;          // documents x lanes
    bool first, last;             // as in Rows
    const std::uint16_t *thresholds;
    std::uint32_t *hits;  // with the last rows a bit for each query whose threshold a document reaches
    const std::uint8_t *ahead;  // what is fetched meanwhile, for each document so much further on
    std::size_t next_ahead;
};

using AddLanes = void(const LaneRows &rows);

struct Kernel {
    const char *name;
    // Transpose the codes of 64 documents, rows of m bytes, into a tile of a group in the buffer. On the way, fetch m / 4
    // cache lines from `ahead` on.
    void (*transpose)(const std::uint8_t *codes, std::size_t m, const std::uint8_t *ahead, std::uint8_t *tile);
    // Add up table entries. With the last rows, tell whether a document reaches the threshold, and if none does leave
    // `sums` alone; before, write the sums' values and return false. On the way, fetch some of what lies from `ahead` on,
    // unless that is null.
    AddUp *add_up_in_buffer, *add_up_in_file;
    // Make m tables such as `add_up` wants them, where it wants anything else than the entries.
    void (*prepare)(std::uint8_t *tables, std::size_t m) = nullptr;
    // The same for codes of 4 bits, by tables of kPairTable entries; where they are null, pairs are looked up as bytes.
    AddUp *add_pairs_in_buffer = nullptr, *add_pairs_in_file = nullptr;
    // For few and for many queries; null where lookups query by query take less time.
    AddLanes *add_lanes[2] = {nullptr, nullptr};
    std::size_t fewest_together = 5;  // queries: fewer take less time one after the other
    std::size_t ahead = 16 << 10;     // of a file, how far in front of what is added up it is fetched
};

// Fetch cache lines, one of so many, into the second-level cache or the first. The processor does not see that rows
// which are read 16 bytes at a time are a stream, nor that columns are of which each is a line wide, and while sums are
// made it would read nothing at all; fetching is spread over both, since only so many lines can be under way. How much
// goes where was found by measuring: 3 parts of 4 while sums are made.
//
// It sees that whole rows of a file are a stream, but begins anew at each page. One line of four, 16 KB ahead, lets it
// begin each page in time: adding up takes hardly longer than reading alone. With every line fetched it takes a quarter
// more, since those wait where there is room for few.
// What comes next is fetched into the first-level cache. AVX-512 without VBMI fetches every second line of a file into
// that, 4 KB ahead: on a Skylake, one line of four into the second-level cache took half as long again.
enum class Cache { second = 2, first = 3 };

template <std::size_t one_of = 1, Cache cache = Cache::second>
inline void fetch(const std::uint8_t *from, std::size_t lines) {
#if defined(__GNUC__) || defined(__clang__)
    for (std::size_t i = 0; i < lines; i += one_of) __builtin_prefetch(from + 64 * i, 0, static_cast<int>(cache));
#else
    (void)from, (void)lines;
#endif
}

// Lines of what comes next that belong to each row that is added up.
constexpr std::size_t fetched(std::size_t stride) { return stride == kFileStride ? 8 : 6; }

// Fetch the sums of the group that comes next into the first-level cache, a line with each of the last rows: codes that
// pass through it have driven them out. All at once, before the first row, that took longer.
inline void fetch_sums(const Rows &rows, std::size_t row) {
#if defined(__GNUC__) || defined(__clang__)
    const std::size_t line = rows.count - 1 - row;
    if (rows.next && line < 2 * kTilesInGroup) __builtin_prefetch(rows.next->values[line], 1, 3);
#else
    (void)rows, (void)row;
#endif
}

// Of AVX2, which AVX-512 without VBMI takes as well.
AddLanes add_16_lanes_avx2, add_32_lanes_avx2;

// The kernels that this machine can run, the fastest first; the last is plain C++.
const std::vector<Kernel> &kernels();

void append_avx512_kernels(std::vector<Kernel> *kernels);
void append_avx2_kernel(std::vector<Kernel> *kernels);
void append_neon_kernel(std::vector<Kernel> *kernels);

}  // namespace jpq
