// The Python module: arrays in, arrays out; the interpreter is free while the scan runs.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <limits>
#include <string>
#include <vector>

#include "search.h"

namespace py = pybind11;

namespace {

using CodeArray = py::array_t<std::uint8_t, py::array::c_style>;
using TableArray = py::array_t<float, py::array::c_style>;
using RowArray = py::array_t<std::int64_t, py::array::c_style>;
using AddressArray = py::array_t<std::uint64_t, py::array::c_style>;

constexpr std::size_t kMostBytes = 16384;  // of a document: sums of bytes are kept in 16 bits, with room for rounding

const jpq::Kernel &kernel_named(const std::string &name) {
    for (const jpq::Kernel &kernel : jpq::kernels())
        if (name.empty() || name == kernel.name) return kernel;
    throw py::value_error("no kernel " + name + " on this machine");
}

py::list kernel_names() {
    py::list names;
    for (const jpq::Kernel &kernel : jpq::kernels()) names.append(kernel.name);
    return names;
}

// Bytes of a document whose codes have so many bits.
std::size_t bytes_of(const TableArray &tables, std::size_t bits) {
    const py::ssize_t most = bits == 8 ? static_cast<py::ssize_t>(jpq::kTable) : 16;
    if ((bits != 8 && bits != 4) || tables.ndim() != 3 || tables.shape(2) < 1 || tables.shape(2) > most)
        throw py::value_error("expected codes of 8 or 4 bits and tables [B, M, K] with K up to 256 or 16");
    const std::size_t bytes = (static_cast<std::size_t>(tables.shape(1)) * bits + 7) / 8;
    if (bytes < 1 || bytes > kMostBytes)
        throw py::value_error("M must be from 1 to " + std::to_string(kMostBytes) + " bytes of codes");
    return bytes;
}

// Make the arrays of scores and rows, and let `search` fill them.
template <typename Search>
py::tuple found(const TableArray &tables, std::size_t hits, const Search &search) {
    const jpq::Tables lookup{tables.data(), static_cast<std::size_t>(tables.shape(0)),
                             static_cast<std::size_t>(tables.shape(1)), static_cast<std::size_t>(tables.shape(2))};
    py::array_t<float> scores({lookup.queries, hits});
    py::array_t<std::int64_t> rows({lookup.queries, hits});
    if (lookup.queries == 0 || hits == 0) return py::make_tuple(scores, rows);
    float *score_data = scores.mutable_data();
    std::int64_t *row_data = rows.mutable_data();
    try {
        const py::gil_scoped_release release;
        search(lookup, hits, score_data, row_data);
    } catch (const jpq::TablesNotFinite &problem) {
        const std::string message = "the lookup tables of query " + std::to_string(problem.query) +
                                    " are not finite, or so large that scores overflow float32";
        PyErr_SetString(PyExc_OverflowError, message.c_str());
        throw py::error_already_set();
    }
    return py::make_tuple(scores, rows);
}

// Codes of documents, [N, bytes], or their blocks as one row of bytes.
py::tuple search(const CodeArray &codes, std::size_t documents, bool in_blocks, std::size_t bits,
                 const TableArray &tables, std::size_t k, std::size_t threads, const std::string &kernel_name) {
    if (documents > std::numeric_limits<std::uint32_t>::max()) throw py::value_error("more than 2^32 - 1 documents");
    const jpq::Codes all{codes.data(), documents, bytes_of(tables, bits), in_blocks, bits};
    if (static_cast<std::size_t>(codes.size()) != (in_blocks ? all.groups() * jpq::kGroup : documents) * all.m)
        throw py::value_error("codes are not those of " + std::to_string(documents) + " documents");
    const jpq::Kernel &kernel = kernel_named(kernel_name);
    return found(tables, std::min(k, documents), [&](const jpq::Tables &lookup, std::size_t hits, float *scores,
                                                     std::int64_t *rows) {
        jpq::search(kernel, all, lookup, hits, threads, scores, rows);
    });
}

// The lists that each query looks at, [B, P]: addresses of codes and of their documents' rows, and how many these are.
py::tuple search_lists(const AddressArray &codes, const AddressArray &rows, const RowArray &sizes, std::size_t bits,
                       const TableArray &tables, std::size_t k, std::size_t threads, const std::string &kernel_name) {
    bytes_of(tables, bits);
    if (codes.ndim() != 2 || codes.shape(0) != tables.shape(0) || codes.size() != rows.size() ||
        codes.size() != sizes.size())
        throw py::value_error("expected addresses and sizes of lists, [B, P]");
    std::vector<jpq::List> lists;
    for (py::ssize_t i = 0; i < codes.size(); ++i)
        lists.push_back({reinterpret_cast<const std::uint8_t *>(codes.data()[i]),
                         reinterpret_cast<const std::int64_t *>(rows.data()[i]),
                         static_cast<std::size_t>(sizes.data()[i])});
    const jpq::Kernel &kernel = kernel_named(kernel_name);
    return found(tables, k, [&](const jpq::Tables &lookup, std::size_t hits, float *scores, std::int64_t *best) {
        jpq::search_lists(kernel, lists, bits, lookup, hits, threads, scores, best);
    });
}

}  // namespace

PYBIND11_MODULE(_native, module) {
    module.def("kernel_names", &kernel_names);
    module.def("search", &search, py::arg("codes").noconvert(), py::arg("documents"), py::arg("in_blocks"),
               py::arg("bits"), py::arg("tables").noconvert(), py::arg("k"), py::arg("threads"), py::arg("kernel"));
    module.def("search_lists", &search_lists, py::arg("codes").noconvert(), py::arg("rows").noconvert(),
               py::arg("sizes").noconvert(), py::arg("bits"), py::arg("tables").noconvert(), py::arg("k"),
               py::arg("threads"), py::arg("kernel"));
}
