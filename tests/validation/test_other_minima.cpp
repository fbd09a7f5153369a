// SPDX-License-Identifier: Apache-2.0
/// \file
/// How often fits miss the global minimum, on toys that the search was not tuned on. docs/fit.md
/// and docs/toys.md have the figures. SLALOM_SEED and SLALOM_TOYS choose other toys.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/toys.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/models.hpp"
#include "support/synthetic.hpp"

using slalom::ConstraintType;
using slalom::FitOptions;
using slalom::FitResult;
using slalom::Fitter;
using slalom::Model;
using slalom::Parameter;
using slalom::RandomStream;

namespace {

constexpr std::uint32_t k_toys = 50, k_starts = 51;
/// A fit that is higher than the lowest one by more than this missed it.
constexpr double k_missed = 1e-4;
/// Random starts of each spread, in units of the pre-fit uncertainty.
constexpr int k_random_starts = 10;
constexpr std::array k_spreads{1.0, 2.5};
/// A free factor has no such uncertainty.
constexpr double k_free_spread = 0.3;

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// A way to fit, and what became of its toys.
struct Count {
  const char* name;
  int missed = 0;
  int failed = 0;
  double by = 0.0;

  void add(const FitResult& fit, double lowest) {
    if (!fit.converged()) {
      ++failed;
    } else if (fit.twice_nll > lowest + k_missed) {
      ++missed;
      by = std::max(by, fit.twice_nll - lowest);
    }
  }
};

std::vector<double> random_start(const Model& model, const std::vector<double>& truth,
                                 double spread, RandomStream& random) {
  std::vector<double> start = truth;
  for (std::size_t i = 0; i < start.size(); ++i) {
    const Parameter& p = model.spec().parameters[i];
    if (p.fixed) continue;
    const bool free = p.constraint == ConstraintType::none;
    start[i] += spread * random.normal() * (free ? k_free_spread : p.prefit_uncertainty());
    start[i] = std::clamp(start[i], p.lower, p.upper);
  }
  return start;
}

/// The lowest of 22 fits of the data that `fitter` holds: from the suggested values, from the
/// truth and from 20 random points, each with the search.
double lowest_of_many(Fitter& fitter, const std::vector<double>& truth, FitOptions options,
                      RandomStream& random) {
  double lowest = HUGE_VAL;
  const auto try_from = [&](const std::vector<double>& start) {
    options.init = start;
    const FitResult fit = fitter.fit(options);
    if (fit.converged()) lowest = std::min(lowest, fit.twice_nll);
  };
  try_from({});
  try_from(truth);
  for (const double spread : k_spreads) {
    for (int i = 0; i < k_random_starts; ++i) {
      try_from(random_start(fitter.model(), truth, spread, random));
    }
  }
  return lowest;
}

/// Fits toys at the conditional fit at mu = 1, freely and with mu held there.
void check_model(const char* name, const Model& model) {
  const std::uint64_t seed = from_environment("SLALOM_SEED", 20261126);
  const std::uint64_t n = from_environment("SLALOM_TOYS", 300);
  Fitter fitter(model);
  FitOptions held;
  held.fixed.emplace_back(*model.spec().poi, 1.0);
  const FitResult at_one = fitter.fit(held);
  REQUIRE(at_one.converged());
  const std::vector<double>& truth = at_one.parameters;
  FitOptions one_start;
  one_start.search_minima = false;
  Count one{"one start"}, search{"with the search"}, toys{"toys, free"}, at_mu{"toys, mu held"};
  for (std::uint64_t i = 0; i < n; ++i) {
    RandomStream random(seed, i, k_toys), starts(seed, i, k_starts);
    fitter.set_data(slalom::throw_toy(model, truth, random));
    const FitResult a = fitter.fit(one_start), b = fitter.fit(), c = fit_toy(fitter, truth);
    const FitResult d = fit_toy(fitter, truth, held);
    const double lowest = std::min(
        {lowest_of_many(fitter, truth, {}, starts), a.twice_nll, b.twice_nll, c.twice_nll});
    one.add(a, lowest);
    search.add(b, lowest);
    toys.add(c, lowest);
    at_mu.add(d, std::min(d.twice_nll, lowest_of_many(fitter, truth, held, starts)));
  }
  std::printf("%-24s", name);
  for (const Count& count : {one, search, toys, at_mu}) {
    std::printf(" | %s: %d missed by at most %.3g, %d failed", count.name, count.missed, count.by,
                count.failed);
  }
  std::printf(" | %llu toys\n", static_cast<unsigned long long>(n));
  // One in a hundred, and what chance makes of that.
  const int most = static_cast<int>(n / 100 + 3);
  for (const Count& count : {search, toys, at_mu}) {
    INFO(name << ", " << count.name);
    CHECK(count.missed <= most);
    CHECK(count.failed <= most);
  }
}

}  // namespace

TEST_CASE("the search finds the global minimum of small models",
          "[validation][other_minima][slow]") {
  check_model("coupled histosys, code4p", slalom::test::coupled_histosys());
  slalom::ModelOptions options;
  options.histosys_code = slalom::HistosysCode::code0;
  check_model("coupled histosys, code0", slalom::test::coupled_histosys(options));
}

TEST_CASE("the search finds the global minimum of published models",
          "[validation][other_minima][slow]") {
  SLALOM_REQUIRE_DATA("workspaces/agc");
  check_model("agc_34par", slalom::test::published_model("agc/agc_34par.json"));
  check_model("sbottom A",
              slalom::test::published_model("sbottom/RegionA/BkgOnly.json",
                                            "sbottom/RegionA/patch.sbottom_1300_205_60.json"));
  check_model("3LRJR", slalom::test::published_model("3LRJR/BkgOnly.json",
                                                     "3LRJR/patchset.json#ERJR_100p0_20p0"));
}

TEST_CASE("the search finds the global minimum of a synthetic model",
          "[validation][other_minima][slow]") {
  const auto workspace = slalom::parse_workspace(
      slalom::test::synthetic_workspace(slalom::test::synthetic_model("synthetic_111")));
  check_model("synthetic_111", Model(slalom::make_model_spec(workspace)));
}
