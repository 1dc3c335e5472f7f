// Every kernel that this machine can run against plain sums and a full sort, on random input: for machines that have no
// Python, such as an emulated one. See test_cross.py.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "search.h"

namespace {

std::mt19937 generator(1);

struct Case {
    std::size_t n, m, bits, k, queries, hits;  // documents, their bytes, bits of a code, entries of a table
    std::vector<std::uint8_t> codes;
    std::vector<float> tables;

    std::size_t subspaces() const { return bits == 8 ? m : 2 * m - (m % 3 == 0); }  // now and then an odd number
    jpq::Tables lookup() const { return {tables.data(), queries, subspaces(), k}; }
    std::size_t code(std::size_t d, std::size_t j) const {
        return bits == 8 ? codes[d * m + j] : codes[d * m + j / 2] >> j % 2 * 4 & 15;
    }
};

Case make(std::size_t n, std::size_t m, std::size_t bits, std::size_t k, std::size_t queries, std::size_t hits) {
    Case made{n, m, bits, k, queries, std::min(hits, n), std::vector<std::uint8_t>(n * m), {}};
    for (std::uint8_t &code : made.codes) code = static_cast<std::uint8_t>(generator() % (bits == 8 ? k : 256));
    for (std::size_t i = 0; i < n / 4; ++i)  // duplicates
        std::memcpy(&made.codes[(n - 1 - i) * m], &made.codes[i * m], m);
    std::normal_distribution<float> normal;
    made.tables.resize(queries * made.subspaces() * k);
    for (float &entry : made.tables) entry = normal(generator);
    return made;
}

// Scores of all documents, and the best rows of each query.
void reference(const Case &of, std::vector<float> *scores, std::vector<std::int64_t> *order) {
    scores->assign(of.queries * of.n, 0);
    order->resize(of.queries * of.n);
    for (std::size_t q = 0; q < of.queries; ++q) {
        float *right = scores->data() + q * of.n;
        for (std::size_t d = 0; d < of.n; ++d)
            for (std::size_t j = 0; j < of.subspaces(); ++j)
                right[d] += of.tables[(q * of.subspaces() + j) * of.k + of.code(d, j)];
        const auto first = order->begin() + static_cast<std::ptrdiff_t>(q * of.n);
        std::iota(first, first + static_cast<std::ptrdiff_t>(of.n), 0);
        std::stable_sort(first, first + static_cast<std::ptrdiff_t>(of.n),
                         [&](std::int64_t a, std::int64_t b) { return right[a] > right[b]; });
    }
}

std::vector<std::uint8_t> laid_out(const Case &of) {
    jpq::Codes blocks{nullptr, of.n, of.m, true, of.bits};
    std::vector<std::uint8_t> bytes(blocks.groups() * jpq::kGroup * of.m);
    blocks.bytes = bytes.data();
    for (jpq::Strip strip = blocks.strip(0); strip.count > 0; strip = blocks.strip(strip.first + strip.count))
        for (std::size_t d = 0; d < of.n; ++d) {
            const std::size_t at = static_cast<std::size_t>(blocks.of(d, strip) - bytes.data());
            for (std::size_t j = 0; j < strip.count; ++j)
                bytes[at + j * blocks.step()] = of.codes[d * of.m + strip.first + j];
        }
    return bytes;
}

// The same documents in three lists and an empty one, out of order, for each query.
struct Lists {
    std::vector<std::uint8_t> codes[4];
    std::vector<std::int64_t> rows[4];
    std::vector<jpq::List> of_queries;

    explicit Lists(const Case &of) {
        for (std::size_t d = of.n; d-- > 0;) {
            const std::size_t list = generator() % 3;
            rows[list].push_back(static_cast<std::int64_t>(d));
            codes[list].insert(codes[list].end(), &of.codes[d * of.m], &of.codes[d * of.m] + of.m);
        }
        for (std::size_t q = 0; q < of.queries; ++q)
            for (std::size_t list : {3, 1, 0, 2})
                of_queries.push_back({codes[list].data(), rows[list].data(), rows[list].size()});
    }
};

bool agree(const Case &of, std::size_t threads) {
    std::vector<float> right;
    std::vector<std::int64_t> order;
    reference(of, &right, &order);
    const std::vector<std::uint8_t> blocks = laid_out(of);
    const Lists lists(of);
    for (const jpq::Kernel &kernel : jpq::kernels())
        for (const std::string layout : {"rows", "blocks", "lists"}) {
            std::vector<float> scores(of.queries * of.hits);
            std::vector<std::int64_t> rows(of.queries * of.hits);
            const bool in_blocks = layout == "blocks";
            const jpq::Codes codes{in_blocks ? blocks.data() : of.codes.data(), of.n, of.m, in_blocks, of.bits};
            if (layout == "lists")
                jpq::search_lists(kernel, lists.of_queries, of.bits, of.lookup(), of.hits, threads, scores.data(),
                                  rows.data());
            else
                jpq::search(kernel, codes, of.lookup(), of.hits, threads, scores.data(), rows.data());
            for (std::size_t i = 0; i < of.queries * of.hits; ++i) {
                const std::size_t q = i / of.hits;
                const std::int64_t row = order[q * of.n + i % of.hits];
                if (rows[i] == row && scores[i] == right[q * of.n + static_cast<std::size_t>(row)]) continue;
                std::printf("%s differs: n=%zu m=%zu bits=%zu k=%zu queries=%zu hits=%zu %s\n", kernel.name, of.n, of.m,
                            of.bits, of.k, of.queries, of.hits, layout.c_str());
                return false;
            }
        }
    return true;
}

}  // namespace

int main() {
    std::size_t cases = 0;
    const auto right = [&](std::size_t n, std::size_t m, std::size_t bits, std::size_t k, std::size_t hits) {
        const std::size_t queries[] = {1, 2, 3, 7, 20};
        return agree(make(n, m, bits, k, queries[generator() % 5], hits), 1 + cases++ % 2);
    };
    for (std::size_t n : {1, 63, 64, 65, 513, 9000})
        for (std::size_t m : {1, 3, 16, 24, 31, 48, 96, 130})
            for (std::size_t hits : {1, 10, 700})
                for (std::size_t kind : {0, 1, 2})
                    if (!right(n, m, kind == 2 ? 4 : 8, kind == 0 ? 256 : 16, hits)) return 1;
    for (std::size_t bits : {8, 4})  // so many that a sample comes first
        for (std::size_t hits : {100, 700})
            for (std::size_t repeated : {0, 1, 2})
                if (!right(70'000 + repeated, 5, bits, 16, hits)) return 1;
    for (const jpq::Kernel &kernel : jpq::kernels()) std::printf("%s ", kernel.name);
    std::printf("agree in %zu cases\n", cases);
}
