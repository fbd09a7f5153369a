// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>
#include <vector>

#include "slalom/modules/event_files.hpp"
#include "slalom/modules/hdf5_files.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/hdf5.hpp"
#include "support/temporary_file.hpp"
#include "support/tensors.hpp"

using slalom::ErrorKind;
using slalom::Hdf5Table;
using slalom::read_hdf5_table;
using slalom::test::check_fails;
using slalom::test::TemporaryFile;
using slalom::test::values;
using Names = std::vector<std::string>;
using Vector = std::vector<double>;

#ifndef SLALOM_HAVE_HDF5

TEST_CASE("without the library there is one clear error", "[modules][hdf5_files]") {
  CHECK_FALSE(slalom::has_hdf5());
  check_fails(ErrorKind::io, "events.h5", "built without HDF5",
              [] { read_hdf5_table("events.h5"); });
}

#else

using slalom::test::Hdf5Writer;
using slalom::test::write_frame;

namespace {

/// A file that a function fills.
struct File : TemporaryFile {
  template <class Write>
  explicit File(Write&& write) : TemporaryFile("events.h5", "") {
    Hdf5Writer to(path());
    write(to);
  }
};

}  // namespace

TEST_CASE("a frame of pandas", "[modules][hdf5_files]") {
  CHECK(slalom::has_hdf5());
  const File one([](Hdf5Writer& to) {
    write_frame(to, "df", {"pt", "eta", "label"}, {1, 2, 0, 3, 4, 1});
  });
  for (const char* name : {"", "df", "/df"}) {
    const Hdf5Table table = read_hdf5_table(one.path(), name);
    CHECK(table.columns == Names{"pt", "eta", "label"});
    CHECK(table.values.scalar_type() == at::kDouble);
    CHECK(table.values.size(0) == 2);
    CHECK(values(table.values) == Vector{1, 2, 0, 3, 4, 1});
  }
  CHECK(values(read_hdf5_table(one.path(), "df", 1).values) == Vector{1, 2, 0});
  CHECK(read_hdf5_table(one.path(), "df", 0).values.size(0) == 0);
}

TEST_CASE("a frame of several types has a block for each", "[modules][hdf5_files]") {
  const File one([](Hdf5Writer& to) {
    to.group("df");
    to.names("df/axis0", {"label", "pt", "eta"});
    to.names("df/block0_items", {"pt", "eta"});
    to.numbers("df/block0_values", {2, 2}, {1.5, 2.5, 3.5, 4.5}, H5T_NATIVE_FLOAT);
    to.names("df/block1_items", {"label"});
    to.numbers("df/block1_values", {2, 1}, {0, 1}, H5T_NATIVE_INT64);
  });
  const Hdf5Table table = read_hdf5_table(one.path());
  CHECK(table.columns == Names{"label", "pt", "eta"});
  CHECK(values(table.values) == Vector{0, 1.5, 2.5, 1, 3.5, 4.5});
}

TEST_CASE("columns of a frame may be numbers", "[modules][hdf5_files]") {
  const File one([](Hdf5Writer& to) {
    to.group("df");
    to.numbers("df/axis0", {2}, {0, 1}, H5T_NATIVE_INT64);
    to.numbers("df/block0_items", {2}, {0, 1}, H5T_NATIVE_INT64);
    to.numbers("df/block0_values", {1, 2}, {7, 8});
  });
  const Hdf5Table table = read_hdf5_table(one.path());
  CHECK(table.columns == Names{"0", "1"});
  CHECK(values(table.values) == Vector{7, 8});
}

TEST_CASE("datasets of h5py", "[modules][hdf5_files]") {
  const File one([](Hdf5Writer& to) {
    to.numbers("x", {2}, {1, 2}, H5T_IEEE_F32BE);
    to.numbers("jets", {2, 2}, {3, 4, 5, 6}, H5T_NATIVE_UINT16, H5Z_FILTER_DEFLATE);
    to.booleans("signal", {0, 1});
  });
  const Hdf5Table all = read_hdf5_table(one.path());
  CHECK(all.columns == Names{"jets[0]", "jets[1]", "signal", "x"});
  CHECK(values(all.values) == Vector{3, 4, 0, 1, 5, 6, 1, 2});
  const Hdf5Table jets = read_hdf5_table(one.path(), "jets");
  CHECK(jets.columns == Names{"jets[0]", "jets[1]"});
  CHECK(values(jets.values) == Vector{3, 4, 5, 6});
  const File deep([](Hdf5Writer& to) {
    to.group("run");
    to.group("run/2");
    to.numbers("run/2/x", {1}, {9});
  });
  CHECK(read_hdf5_table(deep.path(), "run/2").columns == Names{"x"});
  CHECK(read_hdf5_table(deep.path(), "run/2/x").columns == Names{"x"});
}

TEST_CASE("files of another kind say so, and where", "[modules][hdf5_files]") {
  const auto fails = [](const TemporaryFile& one, const std::string& name, const std::string& where,
                        const std::string& message) {
    check_fails(ErrorKind::io, one.path() + where, message,
                [&] { read_hdf5_table(one.path(), name); });
  };
  check_fails(ErrorKind::io, "no_such.h5", "cannot be read", [] { read_hdf5_table("no_such.h5"); });
  fails(TemporaryFile("events.h5", "x,y\n1,2\n"), "", "", "cannot be read as HDF5");
  fails(File([](Hdf5Writer&) {}), "", ":/", "no columns");
  const File two([](Hdf5Writer& to) {
    write_frame(to, "background", {"x"}, {1, 2});
    write_frame(to, "signal", {"x"}, {1, 2});
  });
  fails(two, "", ":/", "groups: background, signal");
  fails(two, "data", ":data", "there are: background, signal");
  CHECK(read_hdf5_table(two.path(), "signal").columns == Names{"x"});
  fails(File([](Hdf5Writer& to) {
          to.numbers("x", {2}, {1, 2});
          to.numbers("y", {3}, {1, 2, 3});
        }),
        "", ":y", "3 rows, but 'x' has 2");
  fails(File([](Hdf5Writer& to) { to.names("x", {"a", "b"}); }), "", ":x", "texts instead");
  fails(File([](Hdf5Writer& to) {
          to.variable_names("x", {"a", "b"});
        }),
        "", ":x", "texts instead");
  fails(File([](Hdf5Writer& to) {
          to.numbers("x", {1, 2, 2}, {1, 2, 3, 4});
        }),
        "", ":x", "3 dimensions");
  fails(File([](Hdf5Writer& to) {
          to.group("df");
          to.names("df/axis0", {"x", "y"});
          to.names("df/block0_items", {"x", "y"});
          to.numbers("df/block0_values", {2, 3}, {1, 2, 3, 4, 5, 6});
        }),
        "", ":df/block0_values", "does not fit 2 names");
  fails(File([](Hdf5Writer& to) {
          to.group("df");
          to.names("df/axis0", {"x", "y"});
          to.names("df/block0_items", {"x"});
          to.numbers("df/block0_values", {2, 1}, {1, 2});
        }),
        "", ":df/axis0", "no values of the column 'y'");
  fails(File([](Hdf5Writer& to) {
          to.group("df");
          to.group("df/table");
          to.group("df/_i_table");
        }),
        "df", ":df", "format 'table'");
}

TEST_CASE("a filter that is not there is named", "[modules][hdf5_files]") {
  // 32001 is blosc, which PyTables likes. A filter must be registered to be written: one that does
  // nothing, and is gone again when the file is read.
  constexpr H5Z_filter_t k_blosc = 32001;
  const H5Z_func_t nothing = [](unsigned, std::size_t, const unsigned*, std::size_t n, std::size_t*,
                                void**) { return n; };
  const H5Z_class2_t blosc{H5Z_CLASS_T_VERS, k_blosc, 1, 1, "blosc", nullptr, nullptr, nothing};
  REQUIRE(H5Zregister(&blosc) >= 0);
  const File one([](Hdf5Writer& to) { to.numbers("x", {2}, {1, 2}, H5T_NATIVE_DOUBLE, k_blosc); });
  CHECK(values(read_hdf5_table(one.path()).values) == Vector{1, 2});
  REQUIRE(H5Zunregister(k_blosc) >= 0);
  check_fails(ErrorKind::io, one.path() + ":x", "'blosc' (32001)",
              [&] { read_hdf5_table(one.path()); });
}

TEST_CASE("a damaged file is an error", "[modules][hdf5_files]") {
  const File one([](Hdf5Writer& to) {
    std::vector<double> many(4096, 1.0);
    to.numbers("x", {4096}, many);
  });
  const std::string text = one.content().substr(0, 8192);
  const TemporaryFile cut("cut.h5", text);
  check_fails(ErrorKind::io, cut.path(), "cannot be read", [&] { read_hdf5_table(cut.path()); });
}

TEST_CASE("events of HDF5 files", "[modules][hdf5_files]") {
  const File one([](Hdf5Writer& to) {
    write_frame(to, "df", {"w", "pt", "label", "eta"}, {0.5, 1, 0, 2, -1, 3, 1, 4});
  });
  slalom::EventFileOptions options;
  options.weight = "w";
  options.label = "label";
  const slalom::EventBatch events = slalom::read_events(one.path(), options);
  CHECK(events.columns == Names{"pt", "eta"});
  CHECK(values(events.features) == Vector{1, 2, 3, 4});
  CHECK(values(events.weights) == Vector{0.5, -1});
  CHECK(values(events.labels) == Vector{0, 1});
  options.max_events = 1;
  CHECK(slalom::read_events(one.path(), options).size() == 1);
  options.table = "no_such";
  check_fails(ErrorKind::io, one.path() + ":no_such", "no such object",
              [&] { slalom::read_events(one.path(), options); });
  options.table = "df";
  options.columns = {"phi"};
  check_fails(ErrorKind::io, one.path(), "no column 'phi'",
              [&] { slalom::read_events(one.path(), options); });
  options = {};
  options.label = "w";
  check_fails(ErrorKind::io, one.path() + ":w[0]", "no integer",
              [&] { slalom::read_events(one.path(), options); });
  const File hole([](Hdf5Writer& to) {
    write_frame(to, "df", {"x", "y"}, {1, 2, 3, std::nan("")});
  });
  check_fails(ErrorKind::io, hole.path() + ":y[1]", "undefined",
              [&] { slalom::read_events(hole.path()); });
}

#endif
