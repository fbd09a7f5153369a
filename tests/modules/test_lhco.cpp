// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>
#include <vector>

#include "slalom/modules/hdf5_files.hpp"
#include "slalom/modules/lhco.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/hdf5.hpp"
#include "support/temporary_file.hpp"
#include "support/tensors.hpp"

using Catch::Matchers::WithinRel;
using slalom::ErrorKind;
using slalom::EventBatch;
using slalom::LhcoOptions;
using slalom::read_lhco;
using slalom::test::check_fails;
using slalom::test::TemporaryFile;
using slalom::test::values;
using Names = std::vector<std::string>;
using Vector = std::vector<double>;

namespace {

const Names k_columns{"pxj1", "pyj1", "pzj1", "mj1",    "tau1j1", "tau2j1", "tau3j1", "pxj2",
                      "pyj2", "pzj2", "mj2",  "tau1j2", "tau2j2", "tau3j2", "label"};

/// Two events: jets back to back along x, the first one heavier; then along y, lighter.
const Vector k_events{1200, 0,    0,   500, 300, 60, 30, -1200, 0,     0,    100, 50, 10, 4,  1,
                      0,    1500, 100, 80,  40,  30, 20, 0,     -1500, -100, 120, 60, 45, 36, 0};

std::string csv(const Names& columns, const Vector& numbers) {
  std::string text;
  for (std::size_t j = 0; j < columns.size(); ++j) text += (j > 0 ? "," : "") + columns[j];
  text += "\n";
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    text += std::to_string(numbers[i]) + ((i + 1) % columns.size() == 0 ? "\n" : ",");
  }
  return text;
}

void check_events(const EventBatch& events) {
  CHECK(events.columns ==
        Names{"mjj", "mj_min", "delta_mj", "tau21_1", "tau21_2", "tau32_1", "tau32_2"});
  REQUIRE(events.size() == 2);
  const Vector x = values(events.features);
  // Back to back: the momenta cancel, mjj is the sum of the energies.
  const double first = std::hypot(1200.0, 500.0) + std::hypot(1200.0, 100.0);
  const double p2 = 1500.0 * 1500.0 + 100.0 * 100.0;
  const double second = std::sqrt(p2 + 80.0 * 80.0) + std::sqrt(p2 + 120.0 * 120.0);
  const Vector expected{1e-3 * first,
                        0.1,
                        0.4,
                        10.0 / (50.0 + 1e-5),
                        60.0 / (300.0 + 1e-5),
                        4.0 / (10.0 + 1e-5),
                        30.0 / (60.0 + 1e-5),
                        1e-3 * second,
                        0.08,
                        0.04,
                        30.0 / (40.0 + 1e-5),
                        45.0 / (60.0 + 1e-5),
                        20.0 / (30.0 + 1e-5),
                        36.0 / (45.0 + 1e-5)};
  REQUIRE(x.size() == expected.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    CAPTURE(i);
    CHECK_THAT(x[i], WithinRel(expected[i], 1e-12));
  }
  CHECK(values(events.labels) == Vector{1, 0});
  CHECK(events.features.scalar_type() == at::kDouble);
}

}  // namespace

TEST_CASE("dijets as features", "[modules][lhco]") {
  LhcoOptions options;
  options.tau32 = true;
  const TemporaryFile file("dijets.csv", csv(k_columns, k_events));
  check_events(read_lhco(file.path(), options));
  options.tau32 = false;
  options.float64 = false;
  const EventBatch few = read_lhco(file.path(), options);
  CHECK(few.columns.size() == 5);
  CHECK(few.features.scalar_type() == at::kFloat);
  options.min_mjj = 2.7;
  CHECK(read_lhco(file.path(), options).size() == 1);
  CHECK(values(read_lhco(file.path(), options).labels) == Vector{0});
  options.min_mjj = 0.0;
  options.max_mjj = 2.7;
  CHECK(values(read_lhco(file.path(), options).labels) == Vector{1});
}

#ifdef SLALOM_HAVE_HDF5

TEST_CASE("the public file", "[modules][lhco]") {
  const TemporaryFile file("dijets.h5", "");
  {
    slalom::test::Hdf5Writer to(file.path());
    slalom::test::write_frame(to, "df", k_columns, k_events);
  }
  LhcoOptions options;
  options.tau32 = true;
  check_events(read_lhco(file.path(), options));
  options.max_events = 1;
  CHECK(read_lhco(file.path(), options).size() == 1);
  options.name = "no_such";
  check_fails(ErrorKind::io, file.path() + ":no_such", "no such object",
              [&] { read_lhco(file.path(), options); });
}

#endif

TEST_CASE("a table without labels or tau3 is read as well", "[modules][lhco]") {
  Names columns;
  Vector numbers;
  for (std::size_t i = 0; i < k_events.size(); ++i) {
    const std::string& name = k_columns[i % k_columns.size()];
    if (name == "label" || name.starts_with("tau3")) continue;
    if (i < k_columns.size()) columns.push_back(name);
    numbers.push_back(k_events[i]);
  }
  const TemporaryFile file("dijets.csv", csv(columns, numbers));
  const EventBatch events = read_lhco(file.path());
  CHECK(events.size() == 2);
  CHECK_FALSE(events.labels.defined());
  LhcoOptions options;
  options.tau32 = true;
  check_fails(ErrorKind::io, file.path(), "no column 'tau3j1'",
              [&] { read_lhco(file.path(), options); });
}

TEST_CASE("dijets that are none", "[modules][lhco]") {
  const auto fails = [](std::size_t at, double value, const std::string& where,
                        const std::string& message) {
    Vector numbers = k_events;
    numbers[at] = value;
    const TemporaryFile file("dijets.csv", csv(k_columns, numbers));
    check_fails(ErrorKind::io, file.path() + where, message, [&] { read_lhco(file.path()); });
  };
  fails(3, -1.0, ":mj1[0]", "negative mass");
  fails(29, 0.5, ":label[1]", "not 0 or 1");
  fails(15, INFINITY, ":pxj1[1]", "not finite");
  Names columns = k_columns;
  columns[0] = "px";
  const TemporaryFile file("dijets.csv", csv(columns, k_events));
  check_fails(ErrorKind::io, file.path(), "no column 'pxj1'", [&] { read_lhco(file.path()); });
}
