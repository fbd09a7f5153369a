// SPDX-License-Identifier: Apache-2.0
#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"
#include "slalom/core/json.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/models.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::FitOptions;
using slalom::FitResult;
using slalom::Fitter;
using slalom::Model;
using slalom::test::published_model;

namespace {

FitOptions with_poi_at(const Model& model, double mu) {
  FitOptions options;
  options.fixed = {{model.spec().poi.value(), mu}};
  return options;
}

}  // namespace

TEST_CASE("fits of published likelihoods end in their minima", "[core][fit]") {
  SLALOM_REQUIRE_DATA("workspaces");
  struct Case {
    std::string workspace, patch;
    double twice_nll, poi;
  };
  // From fits of an independent evaluator with a gradient of zero to rounding.
  const std::vector<Case> cases = {
      {"agc/agc_34par.json", "", 141.4140113523, 0.96977684},
      {"agc/agc_ml_187par.json", "", 861.7896016417, 0.95072187},
      {"ttbar/ttbar_ljets_132par.json", "", 294.9460695066, 0.99421378},
      {"ttbar/three_sr_13par.json", "", 15.0213897874, 0.0},
      // pyhf stops at 313.06 here and NextStat at 302.91.
      {"3LRJR/BkgOnly.json", "3LRJR/patchset.json#ERJR_100p0_20p0", 267.457589, 0.489838},
  };
  for (const Case& c : cases) {
    INFO(c.workspace);
    const Model model = published_model(c.workspace, c.patch);
    const FitResult result = slalom::fit(model);
    CHECK(result.converged());
    CHECK_THAT(result.twice_nll, WithinAbs(c.twice_nll, 1e-6));
    CHECK_THAT(result.parameters[model.spec().poi.value()], WithinAbs(c.poi, 1e-6));
    CHECK(result.kkt_residual <= 1e-8);
    CHECK(result.edm < 1e-12);
    CHECK(result.smallest_eigenvalue > 0.0);
  }
}

TEST_CASE("fits without signal succeed where the signal is beyond doubt", "[core][fit]") {
  SLALOM_REQUIRE_DATA("workspaces");
  const Model agc = published_model("agc/agc_34par.json");
  const FitResult a = slalom::fit(agc, with_poi_at(agc, 0.0));
  CHECK(a.converged());
  CHECK_THAT(a.twice_nll, WithinAbs(5576.666823, 1e-5));
  const Model ttbar = published_model("ttbar/ttbar_ljets_132par.json");
  const FitResult t = slalom::fit(ttbar, with_poi_at(ttbar, 0.0));
  CHECK(t.converged());
  CHECK_THAT(t.twice_nll, WithinAbs(98595.455503, 1e-5));
}

TEST_CASE("the two-bin model fits to its closed-form values", "[core][fit]") {
  const Model model =
      slalom::test::uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {51.0, 48.0});
  const FitResult free = slalom::fit(model);
  CHECK(free.converged());
  CHECK_THAT(free.twice_nll, WithinRel(24.98393520034148, 1e-13));
  CHECK(free.parameters[0] == 0.0);
  CHECK(free.at_bound[0]);
  CHECK_THAT(free.parameters[1], WithinAbs(1.0030508474576, 1e-12));
  CHECK_THAT(free.parameters[2], WithinAbs(0.9626808834730, 1e-12));
  const FitResult one = slalom::fit(model, with_poi_at(model, 1.0));
  CHECK_THAT(one.twice_nll, WithinRel(28.92218013371667, 1e-13));
  CHECK_THAT(one.parameters[1], WithinAbs(0.9722465757624, 1e-12));
  CHECK_THAT(one.parameters[2], WithinAbs(0.8755358353123, 1e-12));
  CHECK(one.fixed[0]);
}

TEST_CASE("of two minima the lower one is found", "[core][fit]") {
  slalom::ModelOptions linear;
  linear.normsys_code = slalom::NormsysCode::code1;
  linear.histosys_code = slalom::HistosysCode::code0;
  struct Case {
    slalom::ModelOptions options;
    double twice_nll, mu, alpha, at_one;
  };
  // pyhf, ROOT and NextStat end in the local minimum 30.800356 with code4p.
  const std::vector<Case> cases = {{{}, 29.3311315, 0.427067, 0.414063, 31.245737},
                                   {linear, 29.2874096, 0.500602, 0.312655, 30.871737}};
  for (const Case& c : cases) {
    const Model model = slalom::test::coupled_histosys(c.options);
    const FitResult result = slalom::fit(model);
    CHECK(result.converged());
    CHECK_THAT(result.twice_nll, WithinAbs(c.twice_nll, 1e-6));
    CHECK_THAT(result.parameters[0], WithinAbs(c.alpha, 2e-6));
    CHECK_THAT(result.parameters[1], WithinAbs(c.mu, 2e-6));
    // The branch changes between the free fit (alpha > 0) and mu = 1 (alpha < 0).
    const FitResult one = slalom::fit(model, with_poi_at(model, 1.0));
    CHECK(one.converged());
    CHECK_THAT(one.twice_nll, WithinAbs(c.at_one, 1e-6));
  }
}

TEST_CASE("errors come from the exact Hessian", "[core][fit]") {
  SLALOM_REQUIRE_DATA("workspaces");
  for (const char* name : {"agc/agc_34par.json", "ttbar/ttbar_ljets_132par.json"}) {
    const Model model = published_model(name);
    Fitter fitter(model);
    const FitResult result = fitter.fit();
    const slalom::Covariance covariance = fitter.covariance(result);
    REQUIRE(covariance.valid);
    // Invert the full Hessian directly.
    const std::size_t n = model.n_parameters();
    std::vector<double> gradient(n), hessian(n * n);
    slalom::Evaluator(model).logpdf(result.parameters, gradient, hessian);
    const auto f = static_cast<Eigen::Index>(covariance.parameters.size());
    Eigen::MatrixXd information(f, f);
    for (Eigen::Index i = 0; i < f; ++i) {
      for (Eigen::Index j = 0; j < f; ++j) {
        information(i, j) = -hessian[covariance.parameters[static_cast<std::size_t>(i)] * n +
                                     covariance.parameters[static_cast<std::size_t>(j)]];
      }
    }
    const Eigen::MatrixXd inverse = information.inverse();
    const std::vector<double> errors = fitter.errors(result);
    for (Eigen::Index i = 0; i < f; ++i) {
      const std::size_t p = covariance.parameters[static_cast<std::size_t>(i)];
      CHECK_THAT(covariance.errors[p], WithinRel(std::sqrt(inverse(i, i)), 1e-8));
      CHECK_THAT(errors[p], WithinRel(covariance.errors[p], 1e-10));
      for (Eigen::Index j = 0; j < f; ++j) {
        CHECK_THAT(covariance.matrix[static_cast<std::size_t>(i * f + j)],
                   WithinAbs(inverse(i, j), 1e-8 * std::sqrt(inverse(i, i) * inverse(j, j))));
      }
    }
  }
}

TEST_CASE("solving with the Hessian is the same as multiplying by the covariance", "[core][fit]") {
  const Model model =
      slalom::test::uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {51.0, 48.0});
  Fitter fitter(model);
  FitResult best = fitter.fit();
  const std::vector<double> right = {0.7, -2.0, 11.0};
  const auto check = [&] {
    const slalom::Covariance covariance = fitter.covariance(best);
    const std::vector<double> x = fitter.solve(best, right);
    const std::size_t n = covariance.parameters.size();
    REQUIRE(x.size() == 3);
    for (std::size_t i = 0; i < n; ++i) {
      double expected = 0.0;
      for (std::size_t j = 0; j < n; ++j) {
        expected += covariance.matrix[i * n + j] * right[covariance.parameters[j]];
      }
      CHECK_THAT(x[covariance.parameters[i]], WithinRel(expected, 1e-12));
    }
  };
  check();
  best.fixed[0] = true;
  check();
  CHECK(fitter.solve(best, right)[0] == 0.0);
  best.fixed[0] = false;
  best.at_bound[2] = true;
  check();
  CHECK(fitter.solve(best, right)[2] == 0.0);
  CHECK_THROWS_AS(fitter.solve(best, std::vector<double>{1.0}), slalom::Error);
}

TEST_CASE("a parameter held by the model stays, unless it is let go", "[core][fit]") {
  SLALOM_REQUIRE_DATA("workspaces");
  const Model model = published_model("ttbar/ttbar_ljets_132par.json");
  const auto lumi = model.spec().find("lumi");
  REQUIRE(lumi);
  REQUIRE(model.spec().parameters[*lumi].fixed);
  const FitResult held = slalom::fit(model);
  CHECK(held.fixed[*lumi]);
  CHECK(held.parameters[*lumi] == model.spec().parameters[*lumi].init);
  FitOptions options;
  options.floating = {*lumi};
  const FitResult floating = slalom::fit(model, options);
  CHECK(floating.converged());
  CHECK_FALSE(floating.fixed[*lumi]);
  CHECK(floating.twice_nll < held.twice_nll);
}

TEST_CASE("a per-bin parameter can be held, and ends at its bound where it must", "[core][fit]") {
  const Model model = slalom::test::uncorrelated_background({1.0}, {50.0}, {40.0}, {900.0});
  FitOptions options;
  options.fixed = {{0, 1.0}, {1, 2.5}};
  const FitResult held = slalom::fit(model, options);
  CHECK(held.converged());
  CHECK(held.parameters[1] == 2.5);
  CHECK_THAT(
      held.twice_nll,
      WithinRel(-2.0 * model.logpdf(std::vector<double>{1.0, 2.5}, model.spec().data()), 1e-13));
  const FitResult free = slalom::fit(model, with_poi_at(model, 1.0));
  CHECK(free.converged());
  CHECK(free.parameters[1] == 10.0);
  CHECK(free.at_bound[1]);
}

TEST_CASE("profiled per-bin parameters satisfy their own equations", "[core][fit]") {
  SLALOM_REQUIRE_DATA("workspaces");
  const Model model = published_model("3LRJR/BkgOnly.json", "3LRJR/patchset.json#ERJR_100p0_20p0");
  const FitResult result = slalom::fit(model);
  std::vector<double> gradient(model.n_parameters());
  std::vector<double> hessian(model.n_parameters() * model.n_parameters());
  slalom::Evaluator(model).logpdf(result.parameters, gradient, hessian);
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    if (result.fixed[i] || result.at_bound[i]) continue;
    INFO(model.spec().parameters[i].name);
    CHECK(std::abs(gradient[i]) < 1e-8 * std::sqrt(-hessian[i * model.n_parameters() + i]));
  }
}

TEST_CASE("of several constraints without counts the cheapest one gives way", "[core][fit]") {
  // gamma is linear in both constraints; it leaves zero where A (n / rate - 1) exceeds tau, which
  // is at 1.75 / 1.64 for the first sample and at 0.0577 / 0.33 for the second.
  slalom::Workspace w;
  using slalom::ModifierType;
  const auto shapesys = [](const std::string& name, double yield, double tau) {
    return slalom::Modifier{name, ModifierType::shapesys,  {}, {}, 1.0,
                            1.0,  {yield / std::sqrt(tau)}};
  };
  w.channels = {{"c",
                 {{"a", {5.0}, {{"mu", ModifierType::normfactor, {}, {}, 1.0, 1.0, {}}}},
                  {"b", {1.64}, {shapesys("first", 1.64, 1.75)}},
                  {"c", {0.33}, {shapesys("second", 0.33, 0.0577)}}}}};
  w.observations = {{"c", {9.0}}};
  w.measurements = {{"measurement", "mu", {}}};
  const Model model(make_model_spec(w));
  Fitter fitter(model);
  fitter.set_data(std::vector<double>{9.0, 0.0, 0.0});
  FitOptions options = with_poi_at(model, 1.0);
  const double rate = 9.0 / (1.0 + 0.0577 / 0.33);
  for (double start : {1e-10, 1.0, 10.0}) {
    options.init = {1.0, start, start};
    const FitResult result = fitter.fit(options);
    CHECK(result.converged());
    CHECK_THAT(result.parameters[1], WithinAbs(0.0, 1e-9));
    CHECK_THAT(result.parameters[2], WithinRel((rate - 5.0) / 0.33, 1e-8));
  }
}

TEST_CASE("a fit that cannot start says where", "[core][fit]") {
  const Model model = slalom::test::uncorrelated_background({0.0}, {0.0}, {0.0}, {3.0});
  const FitResult result = slalom::fit(model);
  CHECK(result.status == slalom::FitStatus::infeasible);
  CHECK_FALSE(result.converged());
  CHECK(result.message.find("bin 0 of channel 'singlechannel'") != std::string::npos);
}

TEST_CASE("a start with negative rates is left behind", "[core][fit]") {
  slalom::Workspace w;
  w.channels = {
      {"c",
       {{"s", {10.0, 10.0}, {{"mu", slalom::ModifierType::normfactor, {}, {}, 1, 1, {}}}},
        {"b",
         {5.0, 20.0},
         {{"alpha", slalom::ModifierType::histosys, {9.0, 22.0}, {-9.0, 18.0}, 1, 1, {}}}}}}};
  w.observations = {{"c", {6.0, 30.0}}};
  w.measurements = {{"m", "mu", {}}};
  const Model model{make_model_spec(w)};
  FitOptions options;
  options.init = {-4.0, 0.0};
  const FitResult result = slalom::fit(model, options);
  CHECK(result.converged());
  CHECK_THAT(result.twice_nll, WithinAbs(slalom::fit(model).twice_nll, 1e-9));
}

namespace {

/// A signal that may be negative over a small background with a normsys and a histosys, and, if
/// asked for, per-bin parameters of both kinds.
Model negative_signal(const std::vector<double>& observed, bool per_bin) {
  using slalom::ModifierType;
  slalom::Workspace w;
  std::vector<slalom::Modifier> background = {
      {"n", ModifierType::normsys, {}, {}, 1.3, 0.75, {}},
      {"h", ModifierType::histosys, {1.2, 0.9, 0.5}, {0.7, 0.5, 0.45}, 1, 1, {}}};
  std::vector<slalom::Modifier> other = {{"m", ModifierType::normsys, {}, {}, 1.2, 0.8, {}}};
  if (per_bin) {
    background.push_back({"shape", ModifierType::shapesys, {}, {}, 1, 1, {0.3, 0.2, 0.2}});
    other.push_back({"stat", ModifierType::staterror, {}, {}, 1, 1, {0.05, 0.04, 0.03}});
  }
  w.channels = {{"c",
                 {{"s", {1.5, 2.0, 0.5}, {{"mu", ModifierType::normfactor, {}, {}, 1, 1, {}}}},
                  {"b", {0.9, 0.7, 0.5}, background},
                  {"o", {0.2, 0.15, 0.1}, other}}}};
  w.observations = {{"c", observed}};
  slalom::ParameterConfig mu;
  mu.name = "mu";
  mu.bounds = {{-10.0, 10.0}};
  w.measurements = {{"m", "mu", {mu}}};
  return Model(make_model_spec(w));
}

/// Checks in all parameters that no bin is negative, that the gradient of the Lagrangian is zero
/// and that its multipliers push inwards.
void check_constrained_minimum(const Model& model, const FitResult& result) {
  REQUIRE(result.converged());
  REQUIRE(!result.empty_bins.empty());
  const std::vector<double> data = model.spec().data();
  const std::vector<double> rates = model.expected_data(result.parameters, false);
  for (const double rate : rates) CHECK(rate > 0.0);
  for (const slalom::EmptyBin& empty : result.empty_bins) {
    CHECK(data[empty.bin] == 0.0);
    CHECK(rates[empty.bin] < 1e-8);
    CHECK(empty.force > 0.0);
  }
  CHECK_THAT(-2.0 * model.logpdf(result.parameters, data), WithinAbs(result.twice_nll, 1e-10));
  slalom::Evaluator evaluator(model);
  evaluator.set_data(slalom::stationary_data(model, data, result));
  std::vector<double> gradient(model.n_parameters());
  evaluator.logpdf(result.parameters, gradient);
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    INFO(model.spec().parameters[i].name);
    if (!result.fixed[i] && !result.at_bound[i]) CHECK_THAT(gradient[i], WithinAbs(0.0, 1e-6));
  }
}

}  // namespace

TEST_CASE("a best fit where the likelihood ends is found and says so", "[core][fit]") {
  const std::string path = SLALOM_SOURCE_DIR "/workflows/examples/h4l/workspace.json";
  slalom::ModelSpec spec =
      slalom::make_model_spec(slalom::parse_workspace(slalom::read_json(path)));
  // No events where the signal is: the best signal is as negative as the background allows.
  for (std::size_t bin = 16; bin < 20; ++bin) spec.observed[bin] = 0.0;
  CHECK(slalom::fit(Model(spec)).empty_bins.empty());
  const std::size_t poi = *spec.poi;
  spec.parameters[poi].lower = -10.0;
  const Model model(spec);
  const FitResult result = slalom::fit(model);
  check_constrained_minimum(model, result);
  CHECK(result.empty_bins.size() == 1);
  CHECK(result.empty_bins.front().bin == 18);
  CHECK(result.message.find("no events are expected in bin 18 of channel 'four_leptons'") !=
        std::string::npos);
  // The multiplier is what -log L gains per event, and with it the best fit is stationary.
  std::vector<double> gradient(model.n_parameters());
  slalom::Evaluator(model).logpdf(result.parameters, gradient);
  const std::vector<slalom::SampleSpec>& samples = spec.channels[0].samples;
  const auto found = std::find_if(samples.begin(), samples.end(),
                                  [](const auto& sample) { return sample.name == "hzz_mH125"; });
  const double signal = found->nominal[18];
  CHECK_THAT(result.empty_bins.front().force, WithinRel(-gradient[poi] / signal, 1e-6));
  const double mu = result.parameters[poi];
  CHECK(slalom::fit(model, with_poi_at(model, mu + 1e-3)).twice_nll > result.twice_nll);
  CHECK(slalom::fit(model, with_poi_at(model, mu - 1e-3)).status == slalom::FitStatus::infeasible);
}

TEST_CASE("no point of a fine grid is below a best fit where the likelihood ends", "[core][fit]") {
  for (const std::vector<double>& observed : {std::vector<double>{0, 0, 1}, {1, 0, 0}, {0, 0, 0}}) {
    const Model whole = negative_signal(observed, false);
    // The other two are held so that the plane can be scanned.
    slalom::ModelSpec spec = whole.spec();
    for (const char* name : {"h", "m"}) spec.parameters[*spec.find(name)].fixed = true;
    const Model model(spec);
    const FitResult result = slalom::fit(model);
    check_constrained_minimum(model, result);
    const std::size_t mu = *spec.poi, n = *spec.find("n");
    const std::vector<double> data = spec.data();
    std::vector<double> point = result.parameters;
    double lowest = HUGE_VAL;
    for (int i = 0; i <= 600; ++i) {
      for (int j = 0; j <= 600; ++j) {
        point[n] = -4.0 + i * 0.01;
        point[mu] = -1.5 + j * 0.004;
        const double value = -2.0 * model.logpdf(point, data);
        if (value < lowest) lowest = value;
      }
    }
    INFO(observed[0] << " " << observed[1] << " " << observed[2]);
    CHECK(result.twice_nll < lowest + 1e-8);
    CHECK(result.twice_nll > lowest - 0.02);
  }
}

TEST_CASE("a best fit where the likelihood ends meets the conditions with per-bin parameters",
          "[core][fit]") {
  int found = 0;
  for (double first : {0.0, 1.0, 2.0}) {
    for (double second : {0.0, 1.0}) {
      for (double third : {0.0, 1.0, 4.0}) {
        INFO(first << " " << second << " " << third);
        const Model model = negative_signal({first, second, third}, true);
        const FitResult result = slalom::fit(model);
        CHECK(result.converged());
        if (result.empty_bins.empty()) continue;
        check_constrained_minimum(model, result);
        ++found;
      }
    }
  }
  CHECK(found > 5);
}

TEST_CASE("uncertainties where the likelihood ends are those along its end", "[core][fit]") {
  const Model whole = negative_signal({0.0, 0.0, 1.0}, false);
  slalom::ModelSpec spec = whole.spec();
  for (const char* name : {"h", "m"}) spec.parameters[*spec.find(name)].fixed = true;
  const Model model(spec);
  Fitter fitter(model);
  const FitResult result = fitter.fit();
  check_constrained_minimum(model, result);
  REQUIRE(result.empty_bins.size() == 1);
  const std::size_t mu = *spec.poi, n = *spec.find("n"), bin = result.empty_bins.front().bin;
  const std::vector<double> data = spec.data();
  // -log L along the curve on which the rate of that bin stays as it is.
  const auto on_curve = [&](double alpha) {
    std::vector<double> point = result.parameters;
    point[n] = alpha;
    point[mu] = 0.0;
    const double rest = model.expected_data(point, false)[bin];
    point[mu] = (model.expected_data(result.parameters, false)[bin] - rest) / 2.0;
    return point;
  };
  const double at = result.parameters[n], h = 1e-3;
  const auto nll = [&](double alpha) { return -model.logpdf(on_curve(alpha), data); };
  const double second = (nll(at + h) - 2.0 * nll(at) + nll(at - h)) / (h * h);
  const std::vector<double> errors = fitter.errors(result);
  CHECK_THAT(errors[n], WithinRel(1.0 / std::sqrt(second), 1e-4));
  const double slope = (on_curve(at + h)[mu] - on_curve(at - h)[mu]) / (2.0 * h);
  CHECK_THAT(errors[mu], WithinRel(errors[n] * std::abs(slope), 1e-4));
  const slalom::Covariance covariance = fitter.covariance(result);
  REQUIRE(covariance.valid);
  CHECK_THAT(covariance.errors[mu], WithinRel(errors[mu], 1e-9));
  // Held at the same place, the other is as uncertain as ever.
  CHECK(slalom::fit(model, with_poi_at(model, result.parameters[mu])).converged());
}

TEST_CASE("a parameter without any effect does no harm", "[core][fit]") {
  const Model model = slalom::test::uncorrelated_background({0.0}, {50.0}, {3.0}, {51.0});
  Fitter fitter(model);
  const FitResult result = fitter.fit();
  CHECK(result.converged());
  CHECK(fitter.errors(result)[0] == 0.0);
  CHECK(fitter.errors(result)[1] > 0.0);
}

TEST_CASE("options that make no sense are refused", "[core][fit]") {
  const Model model = slalom::test::uncorrelated_background({12.0}, {50.0}, {3.0}, {51.0});
  FitOptions options;
  options.init = {1.0};
  CHECK_THROWS_AS(slalom::fit(model, options), slalom::Error);
  options.init = {-1.0, 1.0};
  CHECK_THROWS_AS(slalom::fit(model, options), slalom::Error);
  options.init = {};
  options.fixed = {{9, 1.0}};
  CHECK_THROWS_AS(slalom::fit(model, options), slalom::Error);
  options.fixed = {{0, std::nan("")}};
  CHECK_THROWS_AS(slalom::fit(model, options), slalom::Error);
}

TEST_CASE("fitting again gives the same bits", "[core][fit]") {
  SLALOM_REQUIRE_DATA("workspaces");
  const Model model = published_model("agc/agc_34par.json");
  Fitter fitter(model);
  const FitResult first = fitter.fit();
  fitter.fit(with_poi_at(model, 0.3));
  const FitResult second = fitter.fit();
  CHECK(first.parameters == second.parameters);
  CHECK(first.twice_nll == second.twice_nll);
}
