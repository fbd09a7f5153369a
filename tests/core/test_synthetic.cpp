// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "slalom/core/fit.hpp"
#include "slalom/core/json.hpp"
#include "support/catch.hpp"
#include "support/synthetic.hpp"

using namespace slalom;

namespace {

Model compile(const test::SyntheticOptions& options) {
  Warnings warnings;
  const Json document = test::synthetic_workspace(options);
  const Workspace workspace = parse_workspace(document, &warnings);
  CHECK(to_json(workspace) == document);
  return Model(make_model_spec(workspace));
}

}  // namespace

TEST_CASE("synthetic workspaces are the same on every platform", "[core][synthetic]") {
  CHECK(digest(test::synthetic_workspace(test::synthetic_model("synthetic_111"))) ==
        "6c6754e86b34a92c5b84df51f05f5802ce3c5b24083adae0f564bbcabdf0f28b");
  CHECK(digest(test::synthetic_workspace(test::synthetic_model("synthetic_601"))) ==
        "d4240e2ca1fde92037886256f86f166233848f7bad26b2db6eadd126d5aae37b");
}

TEST_CASE("a synthetic model has the parameters that it promises", "[core][synthetic]") {
  for (const char* name : {"synthetic_111", "synthetic_601"}) {
    const test::SyntheticOptions& options = test::synthetic_model(name);
    const Model model = compile(options);
    const auto gammas = static_cast<std::size_t>(options.n_channels * options.n_bins);
    CHECK(model.n_bins() == gammas);
    CHECK(model.n_parameters() == gammas + static_cast<std::size_t>(options.n_systematics) + 1);
    CHECK(model.n_auxiliary() == model.n_parameters() - 1);
    CHECK(model.spec().poi.has_value());
  }
  CHECK_THROWS_AS(test::synthetic_model("synthetic_112"), Error);
}

TEST_CASE("the fit of a synthetic model finds what was put in", "[core][synthetic]") {
  test::SyntheticOptions options = test::synthetic_model("synthetic_111");
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    options.seed = seed;
    const Model model = compile(options);
    Fitter fitter(model);
    const FitResult result = fitter.fit();
    CAPTURE(seed, result.message);
    REQUIRE(result.converged());
    const std::size_t mu = *model.spec().poi;
    const double error = fitter.errors(result)[mu];
    CHECK(error > 0.02);
    CHECK(error < 0.5);
    CHECK(std::abs(result.parameters[mu] - 1.0) < 4.0 * error);
  }
}
