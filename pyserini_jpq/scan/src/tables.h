// Lookup tables of one byte an entry, and what a sum of such entries proves about the score in float32.
#pragma once

#include <cstddef>
#include <cstdint>

namespace jpq {

// The tables of a query rounded up to multiples of a step above the smallest entry of their subspace.
//
// Let a document's entries be t_j, its bytes q_j and S = sum of q_j. With slack e the score s, which is the sum of t_j
// from left to right in float32, lies in
//     base + step (S - loss) - e  <=  s  <=  base + step S + e.
class ByteTables {
public:
    // Round tables, m x k float32, into `bytes`, m x 256; false where an entry is not finite or scores could overflow.
    bool round_up(const float *tables, std::size_t m, std::size_t k, std::uint8_t *bytes);

    // The least sum that a score of at least `score` can have.
    std::uint16_t threshold(float score) const;

    // By how much a document's sum must lie below another's so that its score is lower for certain.
    std::uint32_t gap() const;

private:
    double base_ = 0, step_ = 1, slack_ = 0, loss_ = 0;
};

}  // namespace jpq
