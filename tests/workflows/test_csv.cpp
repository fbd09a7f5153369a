// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>

#include "cli/csv.hpp"
#include "support/catch.hpp"

using slalom::cli::Csv;
using slalom::cli::csv_cell;

TEST_CASE("cells are quoted as in RFC 4180", "[workflows][csv]") {
  CHECK(csv_cell("plain text") == "plain text");
  CHECK(csv_cell("") == "");
  CHECK(csv_cell("a,b") == "\"a,b\"");
  CHECK(csv_cell("say \"so\"") == "\"say \"\"so\"\"\"");
  CHECK(csv_cell("two\nlines") == "\"two\nlines\"");
  CHECK(csv_cell("carriage\rreturn") == "\"carriage\rreturn\"");
}

TEST_CASE("numbers read back exactly, and what is none is empty", "[workflows][csv]") {
  for (const double value : {0.1, 1.0 / 3.0, 1e-300, -12345678.9, 0.0}) {
    CHECK(std::stod(csv_cell(value)) == value);
  }
  CHECK(csv_cell(std::nan("")) == "");
  CHECK(csv_cell(std::numeric_limits<double>::infinity()) == "");
  CHECK(csv_cell(std::optional<double>{}) == "");
  CHECK(csv_cell(std::optional<double>{2.5}) == "2.5");
  CHECK(slalom::cli::csv_flag(true) == "true");
}

TEST_CASE("a table has a header, and rows of its length", "[workflows][csv]") {
  Csv csv({"name", "value, in GeV"});
  csv.row({csv_cell("x"), csv_cell(1.5)});
  CHECK(csv.str() == "name,\"value, in GeV\"\nx,1.5\n");
  CHECK_THROWS_AS(csv.row({"one"}), std::logic_error);
}
