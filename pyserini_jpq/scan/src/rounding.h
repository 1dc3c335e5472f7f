// Lookup tables of whole numbers, and what a sum of their entries proves about the score in float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace jpq {

// The lookup tables of a query, a table for each subspace; with 16 entries two subspaces share a byte of codes.
struct Lookup {
    const float *values;  // subspaces x k
    std::size_t subspaces, k;
};

// What entries are rounded to.
enum class Whole {
    bytes,  // an entry for each byte of codes, in 8 bits
    pairs,  // two entries for each byte of codes, whose sum has 8 bits
    words,  // an entry for each byte of codes, in 16 bits, as the sums have
};

// Rounds entries up to multiples of a step above the smallest of their subspace.
//
// Let a document's entries be t_j, their multiples q_j and S = sum of q_j. With slack e the score s, which is the sum of
// t_j from left to right in float32, lies in
//     base + step (S - loss) - e  <=  s  <=  base + step S + e.
class Rounding {
public:
    // Choose the step; false where an entry is not finite or scores could overflow. `together` subspaces, 1 or 2, share a
    // byte of codes.
    bool fit(const Lookup &lookup, std::size_t together, Whole whole);

    // Write the k entries of a subspace.
    template <typename Number>
    void round(const Lookup &lookup, std::size_t subspace, Number *entries) const;

    // Write the 256 sums of two subspaces of up to 16 codes, by the byte that holds a code of each; the second may be
    // missing.
    template <typename Number>
    void round_pair(const Lookup &lookup, std::size_t first, Number *entries) const;

    // The least sum that a score of at least `score` can have.
    std::uint16_t threshold(float score) const;

    // By how much a document's sum must lie below another's so that its score is lower for certain.
    std::uint32_t gap() const;

    // By how much it usually does: entries are rounded up by half a step on average.
    std::uint32_t usual_gap() const;

private:
    std::vector<float> lowest_;  // of each subspace
    float inverse_ = 1;
    double base_ = 0, step_ = 1, slack_ = 0, loss_ = 0;
};

}  // namespace jpq
