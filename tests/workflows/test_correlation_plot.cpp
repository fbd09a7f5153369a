// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "slalom/workflows/correlation_plot.hpp"
#include "support/plots.hpp"

using Catch::Matchers::WithinAbs;

namespace {

/// Four parameters, "d" held: a and b correlated by -0.8, c with nothing; c is the POI.
slalom::ModelSpec spec_of_four() {
  slalom::ModelSpec spec;
  for (const char* name : {"a", "b", "c", "d"}) {
    slalom::Parameter parameter;
    parameter.name = name;
    spec.parameters.push_back(parameter);
  }
  spec.poi = 2;
  return spec;
}

slalom::Covariance covariance() {
  return {{0, 1, 2}, {4.0, -1.6, 0.0, -1.6, 1.0, 0.02, 0.0, 0.02, 1.0}, true, {2.0, 1.0, 1.0, 0.0}};
}

}  // namespace

TEST_CASE("correlations come from the covariance", "[workflows][correlation_plot]") {
  const auto plot = slalom::correlation_plot(spec_of_four(), covariance());
  CHECK(plot.names == std::vector<std::string>{"a", "b", "c"});
  CHECK_THAT(plot.matrix[1], WithinAbs(-0.8, 1e-15));
  CHECK(plot.matrix[4] == 1.0);
  CHECK(plot.hidden == 0);
  const auto svg = slalom::test::drawn(slalom::picture(plot));
  CHECK(slalom::test::shows(svg, "-0.80"));
  CHECK(slalom::test::shows(svg, "1.00"));
}

TEST_CASE("small correlations are left out, the POI never", "[workflows][correlation_plot]") {
  const auto plot = slalom::correlation_plot(spec_of_four(), covariance(), {0.9, 40});
  CHECK(plot.names == std::vector<std::string>{"c"});
  CHECK(plot.hidden == 2);
  const auto two = slalom::correlation_plot(spec_of_four(), covariance(), {0.1, 2});
  CHECK(two.names.size() == 2);
  CHECK(two.names.back() == "c");
  const auto svg = slalom::test::drawn(slalom::picture(plot));
  CHECK(slalom::test::shows(svg, "2 less correlated: not shown"));
}

TEST_CASE("a covariance without a matrix has no correlations", "[workflows][correlation_plot]") {
  const auto plot = slalom::correlation_plot(spec_of_four(), {{0}, {}, false, {}});
  CHECK(plot.names.empty());
  slalom::test::drawn(slalom::picture(plot));
}
