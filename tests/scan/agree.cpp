// Every kernel that this machine can run against plain sums and a full sort, on random input: for machines that have no
// Python, such as an emulated one. See test_cross.py.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "search.h"

int main() {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    const std::size_t documents[] = {1, 63, 64, 65, 513, 3000}, subspaces[] = {1, 3, 16, 24, 31, 48, 96, 130};
    const std::size_t ks[] = {256, 16}, wanted[] = {1, 10, 700};
    std::size_t cases = 0;
    for (std::size_t n : documents)
        for (std::size_t m : subspaces)
            for (std::size_t k : ks)
                for (std::size_t most : wanted) {
                    const std::size_t queries = 1 + random() % 3, hits = std::min(most, n);
                    std::vector<std::uint8_t> codes(n * m);
                    for (std::uint8_t &code : codes) code = static_cast<std::uint8_t>(random() % k);
                    for (std::size_t i = 0; i < n / 4; ++i)  // duplicates
                        std::memcpy(&codes[(n - 1 - i) * m], &codes[i * m], m);
                    std::vector<float> tables(queries * m * k);
                    for (float &entry : tables) entry = normal(random);
                    for (const jpq::Kernel &kernel : jpq::kernels()) {
                        std::vector<float> scores(queries * hits);
                        std::vector<std::int64_t> rows(queries * hits);
                        jpq::search(kernel, {codes.data(), n, m}, {tables.data(), queries, k}, hits, 1 + cases % 2,
                                    scores.data(), rows.data());
                        for (std::size_t q = 0; q < queries; ++q) {
                            std::vector<float> right(n);
                            for (std::size_t d = 0; d < n; ++d)
                                for (std::size_t j = 0; j < m; ++j)
                                    right[d] += tables[(q * m + j) * k + codes[d * m + j]];
                            std::vector<std::int64_t> order(n);
                            std::iota(order.begin(), order.end(), 0);
                            std::stable_sort(order.begin(), order.end(),
                                             [&](std::int64_t a, std::int64_t b) { return right[a] > right[b]; });
                            for (std::size_t i = 0; i < hits; ++i)
                                if (rows[q * hits + i] != order[i] || scores[q * hits + i] != right[order[i]]) {
                                    std::printf("%s differs: n=%zu m=%zu k=%zu\n", kernel.name, n, m, k);
                                    return 1;
                                }
                        }
                    }
                    ++cases;
                }
    for (const jpq::Kernel &kernel : jpq::kernels()) std::printf("%s ", kernel.name);
    std::printf("agree in %zu cases\n", cases);
}
