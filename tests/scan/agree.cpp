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
    const std::size_t documents[] = {1, 63, 64, 65, 513, 9000}, subspaces[] = {1, 3, 16, 24, 31, 48, 96, 130};
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
                    jpq::Codes blocks{nullptr, n, m, true};
                    std::vector<std::uint8_t> laid_out(blocks.groups() * jpq::kGroup * m);
                    blocks.bytes = laid_out.data();
                    for (std::size_t d = 0; d < n; ++d)
                        for (std::size_t j = 0; j < m; ++j) {
                            jpq::Strip strip = blocks.strip(0);
                            while (strip.first + strip.count <= j) strip = blocks.strip(strip.first + strip.count);
                            const std::size_t at = static_cast<std::size_t>(blocks.of(d, strip) - laid_out.data());
                            laid_out[at + (j - strip.first) * blocks.step()] = codes[d * m + j];
                        }
                    std::vector<float> right(queries * n);
                    std::vector<std::int64_t> order(queries * n);
                    for (std::size_t q = 0; q < queries; ++q) {
                        float *of_query = &right[q * n];
                        for (std::size_t d = 0; d < n; ++d)
                            for (std::size_t j = 0; j < m; ++j)
                                of_query[d] += tables[(q * m + j) * k + codes[d * m + j]];
                        const auto first = order.begin() + static_cast<std::ptrdiff_t>(q * n);
                        std::iota(first, first + static_cast<std::ptrdiff_t>(n), 0);
                        std::stable_sort(first, first + static_cast<std::ptrdiff_t>(n),
                                         [&](std::int64_t a, std::int64_t b) { return of_query[a] > of_query[b]; });
                    }
                    // The same documents in three lists and an empty one, out of order.
                    std::vector<std::uint8_t> codes_of_list[4];
                    std::vector<std::int64_t> rows_of_list[4];
                    for (std::size_t d = n; d-- > 0;) {
                        const std::size_t list = random() % 3;
                        rows_of_list[list].push_back(static_cast<std::int64_t>(d));
                        codes_of_list[list].insert(codes_of_list[list].end(), &codes[d * m], &codes[d * m] + m);
                    }
                    std::vector<jpq::List> lists;
                    for (std::size_t q = 0; q < queries; ++q)
                        for (std::size_t list : {3, 1, 0, 2})
                            lists.push_back(
                                {codes_of_list[list].data(), rows_of_list[list].data(), rows_of_list[list].size()});
                    const jpq::Tables lookup{tables.data(), queries, k};
                    const std::size_t threads = 1 + cases % 2;
                    for (const jpq::Kernel &kernel : jpq::kernels())
                        for (const char *layout : {"rows", "blocks", "lists"}) {
                            std::vector<float> scores(queries * hits);
                            std::vector<std::int64_t> rows(queries * hits);
                            if (*layout == 'l')
                                jpq::search_lists(kernel, lists, m, lookup, hits, threads, scores.data(), rows.data());
                            else
                                jpq::search(kernel, *layout == 'b' ? blocks : jpq::Codes{codes.data(), n, m, false},
                                            lookup, hits, threads, scores.data(), rows.data());
                            for (std::size_t i = 0; i < queries * hits; ++i) {
                                const std::size_t q = i / hits;
                                const std::int64_t row = order[q * n + i % hits];
                                if (rows[i] != row || scores[i] != right[q * n + static_cast<std::size_t>(row)]) {
                                    std::printf("%s differs: n=%zu m=%zu k=%zu %s\n", kernel.name, n, m, k, layout);
                                    return 1;
                                }
                            }
                        }
                    ++cases;
                }
    for (const jpq::Kernel &kernel : jpq::kernels()) std::printf("%s ", kernel.name);
    std::printf("agree in %zu cases\n", cases);
}
