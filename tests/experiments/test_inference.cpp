// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "slalom/workflows/experiment.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using slalom::ErrorKind;
using slalom::Experiment;
using slalom::ExperimentResult;
using slalom::InferenceFit;
using slalom::InferenceResult;
using slalom::Json;
using slalom::read_experiment;
using slalom::test::check_fails;

namespace {

/// The published toy with exact densities and templates by quadrature.
Json exact_toy(const std::string& inferences) {
  return Json::parse(R"({
    "name": "toy",
    "data": {"problem": "gaussian", "train": 20000, "validation": 20000, "test": 40000,
             "test_sampling": "lattice"},
    "nuisances": [{"name": "z", "prior": null, "step": 0.05}],
    "classifier": {"type": "exact"},
    "learning": {"strategy": "parameterised",
                 "parameters": [{"name": "z", "low": -0.785398, "high": 0.785398}]},
    "training": {"steps": 0},
    "evaluation": {"fit": false},
    "inferences": )" +
                     inferences + "}");
}

const char* k_grid = R"("parameters": [{"name": "z",
    "grid": [-1.2, -0.9, -0.6, -0.3, 0, 0.3, 0.6, 0.9, 1.2]}])";

ExperimentResult run(const Json& document) { return Experiment(read_experiment(document)).run(); }

Json list_of(const std::string& members) { return Json::parse("[{" + members + "}]"); }

}  // namespace

TEST_CASE("inferences: the widths of the published toy", "[workflows][inference]") {
  const std::string grid = k_grid;
  const ExperimentResult result = run(exact_toy(
      "[{\"name\": \"baseline\", \"observable\": \"score\", \"truths\": [0, 0.785398], " + grid +
      "}, {\"name\": \"frozen\", \"observable\": \"frozen\", \"truths\": [0, 0.785398], " + grid +
      "}, {\"name\": \"pair\", \"observable\": \"frozen\", \"binning\": \"equal_signal\", "
      "\"slope_bins\": 6, \"truths\": [0, 0.414602, 0.785398], " +
      grid +
      "}, {\"name\": \"unbinned\", \"observable\": \"unbinned\", \"calibration\": \"none\", "
      "\"truths\": [0, 0.785398], " +
      grid + "}]"));
  REQUIRE(result.inferences.size() == 4);
  const auto width = [&](std::size_t i, std::size_t fit) {
    const InferenceFit& f = result.inferences[i].fits[fit];
    INFO(result.inferences[i].name << " at " << f.theta << ": " << f.message);
    CHECK(f.converged);
    CHECK(std::abs(f.mu_hat - 1.0) < 0.02);
    return f.half_width;
  };
  // Ten bins, z free, by quadrature in one dimension: .0906 where the score is that of the truth
  // and blind to small angles, .1867 at 45 degrees, where pi/2 and 0 look the same.
  CHECK(std::abs(width(0, 0) / 0.0906 - 1.0) < 0.02);
  CHECK(std::abs(width(0, 1) / 0.1867 - 1.0) < 0.02);
  CHECK(std::abs(width(1, 0) / 0.0905 - 1.0) < 0.05);
  CHECK(std::abs(width(1, 1) / 0.0905 - 1.0) < 0.05);
  // The pair comes close to the bound of all information, .0676.
  for (std::size_t fit = 0; fit < 3; ++fit) {
    const double w = width(2, fit);
    CHECK(w < 0.0700);
    CHECK(w > 0.0670);
    const InferenceFit& f = result.inferences[2].fits[fit];
    CHECK(std::abs(f.theta_hat - f.theta) < 0.001);
    CHECK(std::abs(f.sigma_theta / 0.0033 - 1.0) < 0.05);
  }
  CHECK(std::abs(width(3, 0) / 0.0676 - 1.0) < 0.01);
  CHECK(std::abs(width(3, 1) / 0.0676 - 1.0) < 0.01);
  // What is frozen at the best fit says where.
  CHECK_FALSE(result.inferences[0].fits[1].frozen_at);
  REQUIRE(result.inferences[2].fits[1].frozen_at);
  CHECK(std::abs(*result.inferences[2].fits[1].frozen_at - 0.42) < 1e-9);
  CHECK(result.inferences[2].fits[0].contour.size() > 20);
  CHECK(result.inferences[0].templates.yields.size() == 2);
}

TEST_CASE("inferences: grid profiling as published", "[workflows][inference]") {
  const std::string grid = R"("profile": "grid", "truths": [0, 0.785398], "parameters": [{"name":
    "z", "prior": 0.5, "morphing": "linear", "grid": [-0.785398, -0.706858, -0.628319, -0.549779,
    -0.471239, -0.392699, -0.314159, -0.235619, -0.15708, -0.07854, 0, 0.07854, 0.15708, 0.235619,
    0.314159, 0.392699, 0.471239, 0.549779, 0.628319, 0.706858, 0.785398]}])";
  const ExperimentResult result =
      run(exact_toy("[{\"name\": \"baseline\", \"observable\": \"score\", " + grid +
                    "}, {\"name\": \"aware\", \"observable\": \"aware\", " + grid + "}]"));
  const auto width = [&](std::size_t i, std::size_t fit) {
    return result.inferences[i].fits[fit].half_width;
  };
  CHECK(std::abs(width(0, 0) / 0.0872 - 1.0) < 0.02);
  CHECK(std::abs(width(0, 1) / 0.1507 - 1.0) < 0.02);
  CHECK(std::abs(width(1, 0) / 0.0872 - 1.0) < 0.02);
  CHECK(std::abs(width(1, 1) / 0.098 - 1.0) < 0.03);
}

TEST_CASE("inferences: toys are the same each time and unbiased", "[workflows][inference]") {
  const Json document = exact_toy(
      std::string("[{\"name\": \"pair\", \"observable\": \"frozen\", \"binning\": "
                  "\"equal_signal\", \"slope_bins\": 6, \"toys\": 40, \"truths\": [0.414602], ") +
      k_grid + "}]");
  const ExperimentResult one = run(document), two = run(document);
  const auto& toys = *one.inferences[0].fits[0].toys;
  CHECK(toys.toys == 40);
  CHECK(toys.failed == 0);
  CHECK(std::abs(toys.bias) < 4.0 * toys.bias_error);
  CHECK(std::abs(toys.half_width / 0.068 - 1.0) < 0.05);
  CHECK(toys.coverage > 0.4);
  CHECK(toys.coverage < 0.93);
  CHECK(toys.bias == two.inferences[0].fits[0].toys->bias);
  CHECK(toys.spread == two.inferences[0].fits[0].toys->spread);
}

TEST_CASE("inferences: what makes no sense is refused with its place",
          "[workflows][inference][experiment_options]") {
  const auto refused = [](const std::string& members, const std::string& where,
                          const std::string& fragment) {
    Json document = exact_toy("[]");
    document["inferences"] = list_of(members);
    check_fails(ErrorKind::usage, where, fragment, [&] { read_experiment(document); });
  };
  const std::string z = R"("parameters": [{"name": "z"}])";
  refused(z, "/inferences/0/name", "needs a name");
  refused(R"("name": "a")", "/inferences/0/parameters", "at least one");
  refused(R"("name": "a", "parameters": [{"name": "zz"}])", "/inferences/0/parameters/0/name",
          "did you mean 'z'");
  refused(R"("name": "a", "parameters": [{"name": "z", "grid": [0, 1, 0.5]}])",
          "/inferences/0/parameters/0/grid/2", "rise");
  refused(R"("name": "a", "parameters": [{"name": "z", "grid": [0.5, 1]}])",
          "/inferences/0/parameters/0/grid", "0 between");
  refused(R"("name": "a", "parameters": [{"name": "z", "morphing": "code4", "grid": [-1, 1]}])",
          "/inferences/0/parameters/0/grid", "three");
  refused(R"("name": "a", "form": "reference_ratio", "observable": "aware", )" + z,
          "/inferences/0/form", "no likelihood");
  refused(R"("name": "a", "truths": [3], )" + z, "/inferences/0/truths/0", "outside");
  refused(R"("name": "a", "truths": [], )" + z, "/inferences/0/truths", "at least one");
  refused(R"("name": "a", "slope_bins": 3, )" + z, "/inferences/0/slope_bins", "bins of its own");
  refused(R"("name": "a", "observable": "score", "template_bootstraps": 3, )" + z,
          "/inferences/0/template_bootstraps", "lattice");
  refused(R"("name": "a", "observables": "score", )" + z, "/inferences/0/observables",
          "observable");
  Json nominal = exact_toy("[]");
  nominal["learning"]["strategy"] = "nominal";
  nominal["learning"].erase("parameters");
  nominal["inferences"] = list_of(R"("name": "a", "observable": "frozen", )" + z);
  check_fails(ErrorKind::usage, "/inferences/0/observable", "knows 'z'",
              [&] { read_experiment(nominal); });
}
