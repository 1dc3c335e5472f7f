// The Python module: arrays in, arrays out; the interpreter is free while the scan runs.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <limits>
#include <string>

#include "search.h"

namespace py = pybind11;

namespace {

using CodeArray = py::array_t<std::uint8_t, py::array::c_style>;
using TableArray = py::array_t<float, py::array::c_style>;

constexpr py::ssize_t kMostSubspaces = 16384;  // sums of bytes are kept in 16 bits, with room for rounding

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

// Codes of documents, [N, M], or their blocks as one row of bytes.
py::tuple search(const CodeArray &codes, std::size_t documents, bool in_blocks, const TableArray &tables, std::size_t k,
                 std::size_t threads, const std::string &kernel_name) {
    if (tables.ndim() != 3 || tables.shape(2) < 1 || tables.shape(2) > static_cast<py::ssize_t>(jpq::kTable))
        throw py::value_error("expected tables [B, M, K] with K up to 256");
    const py::ssize_t m = tables.shape(1);
    if (m < 1 || m > kMostSubspaces) throw py::value_error("M must be from 1 to " + std::to_string(kMostSubspaces));
    if (documents > std::numeric_limits<std::uint32_t>::max()) throw py::value_error("more than 2^32 - 1 documents");
    const jpq::Codes all{codes.data(), documents, static_cast<std::size_t>(m), in_blocks};
    if (static_cast<std::size_t>(codes.size()) != (in_blocks ? all.groups() * jpq::kGroup : documents) * all.m)
        throw py::value_error("codes are not those of " + std::to_string(documents) + " documents");
    const jpq::Kernel &kernel = kernel_named(kernel_name);
    const std::size_t queries = static_cast<std::size_t>(tables.shape(0));
    const std::size_t hits = std::min(k, documents);
    py::array_t<float> scores({queries, hits});
    py::array_t<std::int64_t> rows({queries, hits});
    if (queries == 0 || hits == 0) return py::make_tuple(scores, rows);
    const jpq::Tables lookup{tables.data(), queries, static_cast<std::size_t>(tables.shape(2))};
    float *score_data = scores.mutable_data();
    std::int64_t *row_data = rows.mutable_data();
    try {
        const py::gil_scoped_release release;
        jpq::search(kernel, all, lookup, hits, threads, score_data, row_data);
    } catch (const jpq::TablesNotFinite &problem) {
        const std::string message = "the lookup tables of query " + std::to_string(problem.query) +
                                    " are not finite, or so large that scores overflow float32";
        PyErr_SetString(PyExc_OverflowError, message.c_str());
        throw py::error_already_set();
    }
    return py::make_tuple(scores, rows);
}

}  // namespace

PYBIND11_MODULE(_native, module) {
    module.def("kernel_names", &kernel_names);
    module.def("search", &search, py::arg("codes").noconvert(), py::arg("documents"), py::arg("in_blocks"),
               py::arg("tables").noconvert(), py::arg("k"), py::arg("threads"), py::arg("kernel"));
}
