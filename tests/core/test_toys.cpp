// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/hypotest.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/toys.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/models.hpp"

using Catch::Matchers::WithinAbs;
using slalom::AsymptoticCalculator;
using slalom::Fitter;
using slalom::Model;
using slalom::RandomStream;
using slalom::run_toys;
using slalom::Toy;
using slalom::ToyCalculator;
using slalom::ToyOptions;
using slalom::test::coupled_histosys;
using slalom::test::published_model;
using slalom::test::uncorrelated_background;

namespace {

Model two_bins() {
  return uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {51.0, 48.0});
}

ToyOptions toy_options(std::size_t n, std::uint64_t seed = 0, std::size_t threads = 2) {
  ToyOptions options;
  options.n_toys = n;
  options.seed = seed;
  options.threads = threads;
  return options;
}

void check_same(const std::vector<Toy>& a, const std::vector<Toy>& b, std::size_t shift = 0) {
  for (std::size_t i = 0; i + shift < a.size() && i < b.size(); ++i) {
    CAPTURE(i);
    REQUIRE(a[i + shift].done == b[i].done);
    REQUIRE(a[i + shift].poi == b[i].poi);
    REQUIRE(a[i + shift].free_twice_nll == b[i].free_twice_nll);
    REQUIRE(a[i + shift].conditional_twice_nll == b[i].conditional_twice_nll);
  }
}

}  // namespace

TEST_CASE("thrown data have the expected means and widths", "[core][toys]") {
  const Model model = two_bins();
  const std::vector<double> truth = {0.5, 1.1, 0.9};
  const std::vector<double> expected = model.expected_data(truth);
  std::vector<double> sum(expected.size(), 0.0), sum2 = sum;
  const int n = 20000;
  for (int i = 0; i < n; ++i) {
    RandomStream random(3, static_cast<std::uint64_t>(i));
    const std::vector<double> data = throw_toy(model, truth, random);
    for (std::size_t j = 0; j < data.size(); ++j) {
      const double pull = (data[j] - expected[j]) / std::sqrt(expected[j]);
      sum[j] += pull;
      sum2[j] += pull * pull;
    }
  }
  for (std::size_t j = 0; j < expected.size(); ++j) {
    CHECK_THAT(sum[j] / n, WithinAbs(0.0, 5.0 / std::sqrt(n)));
    CHECK_THAT(sum2[j] / n, WithinAbs(1.0, 5.0 * std::sqrt(2.1 / n)));
  }
  RandomStream random(3, 0);
  const std::vector<double> held = throw_toy(model, truth, random, std::vector<double>{7.0, 8.0});
  CHECK(held[2] == 7.0);
  CHECK(held[3] == 8.0);
  CHECK_THROWS_AS(throw_toy(model, truth, random, std::vector<double>{7.0}), slalom::Error);
}

TEST_CASE("toys do not depend on the number of threads", "[core][toys]") {
  for (const Model& model : {two_bins(), coupled_histosys()}) {
    const std::vector<double> truth = model.spec().initial();
    const std::vector<Toy> one = run_toys(model, truth, 1.0, toy_options(200, 42, 1));
    check_same(one, run_toys(model, truth, 1.0, toy_options(200, 42, 2)));
    check_same(one, run_toys(model, truth, 1.0, toy_options(200, 42, 3)));
    ToyOptions rest = toy_options(50, 42, 2);
    rest.first = 150;
    check_same(one, run_toys(model, truth, 1.0, rest), 150);
  }
}

TEST_CASE("published toys do not depend on the number of threads", "[core][toys]") {
  SLALOM_REQUIRE_DATA("workspaces/agc");
  const Model model = published_model("agc/agc_34par.json");
  const std::vector<double> truth = model.spec().initial();
  const std::vector<Toy> one = run_toys(model, truth, 1.0, toy_options(60, 1, 1));
  check_same(one, run_toys(model, truth, 1.0, toy_options(60, 1, 2)));
  check_same(one, run_toys(model, truth, 1.0, toy_options(60, 1, 3)));
  for (const Toy& toy : one) {
    CHECK(toy.converged());
    CHECK(toy.conditional_twice_nll >= toy.free_twice_nll - 1e-8);
  }
}

TEST_CASE("CLs of toys agrees with the asymptotic one", "[core][toys]") {
  const Model model = two_bins();
  Fitter fitter(model);
  const slalom::HypothesisTest expected = AsymptoticCalculator(fitter).test(1.0);
  ToyCalculator calculator(fitter, toy_options(4000, 1));
  const slalom::ToyHypothesisTest test = calculator.test(1.0);
  REQUIRE(test.converged);
  CHECK(test.signal.failed == 0);
  CHECK(test.background.failed == 0);
  CHECK_THAT(test.test_statistic, WithinAbs(expected.test_statistic, 1e-9));
  // The asymptotic formula itself is good to a few per mille here.
  CHECK_THAT(test.clsb.value, WithinAbs(expected.clsb, 4.0 * test.clsb.error + 0.003));
  CHECK_THAT(test.clb.value, WithinAbs(expected.clb, 4.0 * test.clb.error + 0.01));
  CHECK_THAT(test.cls.value, WithinAbs(expected.cls, 4.0 * test.cls.error + 0.005));
  const double errors[] = {0.004, 0.01, 0.02, 0.04};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK_THAT(test.cls_expected[i], WithinAbs(expected.cls_expected[i], errors[i]));
  }
  // 3.2 % of the background toys have their best fit above mu: q = 0 and CLs = 1.
  CHECK(test.cls_expected[4] == 1.0);
}

TEST_CASE("p0 of toys agrees with pyhf's toys and the asymptotic one", "[core][toys]") {
  // pyhf/tests/test_validation.py, 1bin_example1_q0 with 2000 toys of seed 0
  const Model model = uncorrelated_background({25.0}, {50.0}, {7.0}, {80.0});
  Fitter fitter(model);
  const slalom::ToyDiscoveryTest test = ToyCalculator(fitter, toy_options(10000, 2)).discovery();
  CAPTURE(test.message);
  REQUIRE(test.converged);
  CHECK_THAT(test.test_statistic, WithinAbs(7.061965414, 1e-7));
  CHECK_THAT(test.p0.value, WithinAbs(0.004, 4.0 * std::sqrt(0.004 / 2000) + 4.0 * test.p0.error));
  CHECK_THAT(test.p0_band[0], WithinAbs(0.0, 0.001));
  CHECK_THAT(test.p0_band[1], WithinAbs(0.0, 0.003));
  CHECK_THAT(test.p0_band[2], WithinAbs(0.0135, 0.01));
  CHECK_THAT(test.p0_band[3], WithinAbs(0.1365, 0.05));
  CHECK_THAT(test.p0_band[4], WithinAbs(0.39854497, 0.1));
}

TEST_CASE("a run that is stopped keeps the toys it has", "[core][toys]") {
  const Model model = two_bins();
  ToyOptions options = toy_options(500, 9, 1);
  options.progress = [](std::size_t done, std::size_t total) {
    CHECK(total == 500);
    return done < 100;
  };
  Fitter fitter(model);
  const slalom::ToyHypothesisTest test = ToyCalculator(fitter, options).test(1.0);
  CHECK_FALSE(test.converged);
  CHECK(test.signal.done == 100);
  CHECK(test.signal.asked == 500);
  CHECK(test.background.done == 0);
  CHECK(test.message.find("stopped after 100 of 1000 toys") != std::string::npos);
  CHECK(test.signal_samples.size() == 100);
}

TEST_CASE("toys whose fits fail are counted", "[core][toys]") {
  const Model model = two_bins();
  Fitter fitter(model);
  // One iteration is not enough for any toy, nor for the data.
  slalom::FitOptions short_of_breath;
  short_of_breath.max_iterations = 1;
  const std::vector<Toy> toys =
      run_toys(model, model.spec().initial(), 1.0, toy_options(20), short_of_breath);
  std::size_t failed = 0;
  for (const Toy& toy : toys) {
    if (toy.done && !toy.converged()) ++failed;
  }
  CHECK(failed > 0);
  const slalom::ToyHypothesisTest test =
      ToyCalculator(fitter, toy_options(50), short_of_breath).test(1.0);
  CHECK(test.signal.done == 50);
  CHECK(test.signal.failed > 0);
  CHECK(test.signal_samples.size() == 50 - test.signal.failed);
  CHECK(test.message.find("did not converge; they are left out") != std::string::npos);
}

TEST_CASE("toys whose best fit is where the likelihood ends do not fail", "[core][toys]") {
  const std::string path = SLALOM_SOURCE_DIR "/workflows/examples/h4l/workspace.json";
  slalom::ModelSpec spec =
      slalom::make_model_spec(slalom::parse_workspace(slalom::read_json(path)));
  const std::size_t poi = *spec.poi;
  spec.parameters[poi].lower = -10.0;
  const Model model(spec);
  std::vector<double> truth = spec.initial();
  truth[poi] = 0.0;
  Fitter fitter(model);
  int at_end = 0;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    RandomStream random(5, i);
    fitter.set_data(throw_toy(model, truth, random));
    const slalom::FitResult fit = slalom::fit_toy(fitter, truth);
    CAPTURE(i);
    REQUIRE(fit.converged());
    at_end += fit.empty_bins.empty() ? 0 : 1;
  }
  CHECK(at_end > 200);
}
