// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.hpp"
#include "slalom/core/model.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/models.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::Evaluator;
using slalom::Model;
using slalom::test::published_model;
using slalom::test::second_reference_point;

namespace {

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

/// Published workspaces with the values of an independent evaluator, which agrees with pyhf 0.7.6
/// to 3e-11 on its golden points: log L and the sum of the expected rates at the suggested start
/// and at second_reference_point(). The log L of 3LRJR at the start is the numerically stable
/// value: one Poisson constraint there has 1.9e11 counts, and a plain lgamma loses 1e-3.
struct Reference {
  std::string workspace, patch;
  double logpdf_init, logpdf_theta, rates_init, rates_theta;
};

const std::vector<Reference>& references() {
  static const std::vector<Reference> values = {
      {"pyhf/example_bkgonly.json", "", -4.5479403376, -4.7027889973, 230.0, 231.8283183679},
      {"pyhf/xmlimport_input_bkg.json", "", -6.5942690083, -6.9272101727, 230.0, 232.2821118875},
      {"agc/agc_34par.json", "", -255.6466926274, -574.6922972217, 80130.1865970950,
       73750.9213211735},
      {"agc/agc_ml_187par.json", "", -829.5408467894, -2803.8770301938, 387197.8010902115,
       350877.9898848851},
      {"ttbar/ttbar_ljets_132par.json", "", -633.6304199892, -22357.4728744985, 6721615.3809873322,
       6539964.9999230783},
      {"sbottom/RegionA/BkgOnly.json", "sbottom/RegionA/patch.sbottom_1300_205_60.json",
       -53.6728041571, -57.6800619421, 254.6669419911, 250.2469922723},
      {"sbottom/RegionC/BkgOnly.json", "sbottom/RegionC/patch.sbottom_1600_850_60.json",
       -55.4731723945, -60.5694633670, 292.4290542044, 279.5371912274},
      {"3LRJR/BkgOnly.json", "3LRJR/patchset.json#ERJR_100p0_20p0", -156.5264977,
       -3598343.8982328712, 1137.5656984132, 1151.2741741148},
  };
  return values;
}

/// Largest deviations of gradient and Hessian from central differences of value and gradient, in
/// units of the curvatures.
struct Deviations {
  double gradient = 0.0;
  double hessian = 0.0;
};

Deviations compare_with_differences(const Model& model, const std::vector<double>& theta) {
  Evaluator evaluator(model);
  const std::size_t n = theta.size();
  std::vector<double> gradient(n), hessian(n * n), above(n), below(n);
  evaluator.logpdf(theta, gradient, hessian);
  Deviations worst;
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<double> point = theta;
    const double step = 1e-5 * std::max(1.0, std::abs(theta[i]));
    point[i] = theta[i] + step;
    const double up = evaluator.logpdf(point, above);
    point[i] = theta[i] - step;
    const double down = evaluator.logpdf(point, below);
    const double unit = std::sqrt(std::abs(hessian[i * n + i])) + 1e-3;
    worst.gradient = std::max(worst.gradient, std::abs((up - down) / (2.0 * step) - gradient[i]) /
                                                  (std::abs(gradient[i]) + unit));
    for (std::size_t j = 0; j < n; ++j) {
      const double scale = std::sqrt(std::abs(hessian[i * n + i] * hessian[j * n + j])) + 1e-3;
      const double numerical = (above[j] - below[j]) / (2.0 * step);
      worst.hessian = std::max(worst.hessian, std::abs(numerical - hessian[i * n + j]) / scale);
    }
  }
  return worst;
}

}  // namespace

TEST_CASE("published likelihoods have their reference values", "[core][model]") {
  SLALOM_REQUIRE_DATA("workspaces");
  for (const Reference& r : references()) {
    INFO(r.workspace << " " << r.patch);
    const Model model = published_model(r.workspace, r.patch);
    const std::vector<double> init = model.spec().initial();
    const std::vector<double> theta = second_reference_point(model.spec());
    const std::vector<double> data = model.spec().data();
    CHECK_THAT(model.logpdf(init, data), WithinRel(r.logpdf_init, 1e-9));
    CHECK_THAT(model.logpdf(theta, data), WithinRel(r.logpdf_theta, 1e-9));
    CHECK_THAT(sum(model.expected_data(init, false)), WithinRel(r.rates_init, 1e-12));
    CHECK_THAT(sum(model.expected_data(theta, false)), WithinRel(r.rates_theta, 1e-12));
  }
}

TEST_CASE("workspaces without a signal have their reference values", "[core][model]") {
  SLALOM_REQUIRE_DATA("workspaces");
  struct Case {
    std::string workspace;
    double twice_nll;
    std::size_t parameters;
  };
  // -2 log L at the suggested start, by the same independent evaluator.
  const std::vector<Case> cases = {
      {"2L0J/BkgOnly.json", 189.7593404007, 1},
      {"pyhf/issue1720_greedy_staterror.json", 13.3670305437, 1},
      {"pyhf/2-bin_1-channel.json", 25.1672662978, 3},
      {"pyhf/poiless.json", 30.7752543463, 3},
      {"pyhf/example_bkgonly.json", 9.0958806752, 7},
      {"pyhf/xmlimport_input_bkg.json", 13.1885380165, 7},
      {"ttbar/three_sr_13par.json", 15.6961728435, 13},
      {"agc/agc_34par.json", 511.2933852549, 34},
      {"sbottom/RegionB/BkgOnly.json", 94.5714599050, 59},
      {"sbottom/RegionA/BkgOnly.json", 109.6675958345, 65},
      {"sbottom/RegionC/BkgOnly.json", 134.0998788022, 69},
      {"ttbar/ttbar_ljets_132par.json", 1267.2608399784, 132},
      {"agc/agc_ml_187par.json", 1659.0816935788, 187},
  };
  slalom::ModelOptions no_poi;
  no_poi.poi = "";
  for (const Case& c : cases) {
    INFO(c.workspace);
    const Model model = published_model(c.workspace, "", no_poi);
    CHECK(model.n_parameters() == c.parameters);
    CHECK_THAT(-2.0 * model.logpdf(model.spec().initial(), model.spec().data()),
               WithinRel(c.twice_nll, 1e-9));
  }
}

TEST_CASE("the two-bin model of every tutorial has its exact value", "[core][model]") {
  const Model model =
      slalom::test::uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {51.0, 48.0});
  CHECK_THAT(-2.0 * model.logpdf(std::vector<double>{1.0, 1.0, 1.0}, model.spec().data()),
             WithinRel(30.77525434631491, 1e-13));
  CHECK(model.spec().parameters[1].name == "uncorr_bkguncrt[0]");
  CHECK_THAT(model.spec().data()[2], WithinRel(277.7777777778, 1e-12));
}

TEST_CASE("derivatives of published likelihoods agree with differences", "[core][model]") {
  SLALOM_REQUIRE_DATA("workspaces");
  for (const Reference& r : references()) {
    if (r.workspace.starts_with("3LRJR")) continue;  // curvatures of 1e11: see below
    INFO(r.workspace << " " << r.patch);
    const Model model = published_model(r.workspace, r.patch);
    const Deviations worst = compare_with_differences(model, second_reference_point(model.spec()));
    CHECK(worst.gradient < 1e-6);
    CHECK(worst.hessian < 1e-6);
  }
}

TEST_CASE("derivatives hold beside a constraint of 1e11 counts", "[core][model]") {
  SLALOM_REQUIRE_DATA("workspaces");
  const Model model = published_model("3LRJR/BkgOnly.json", "3LRJR/patchset.json#ERJR_100p0_20p0");
  // Rounding of the value (5e-11 of 1e7) limits the differences of the gradient here.
  const Deviations worst = compare_with_differences(model, second_reference_point(model.spec()));
  CHECK(worst.gradient < 1e-4);
  CHECK(worst.hessian < 1e-6);
}

TEST_CASE("the kernels of all instruction sets agree", "[core][model]") {
  SLALOM_REQUIRE_DATA("workspaces");
  using namespace slalom::detail;
  for (const Reference& r : references()) {
    INFO(r.workspace);
    const Model model = published_model(r.workspace, r.patch);
    Engine generic(model.spec());
    generic.kernels = &generic_kernels();
    EngineState best_state(model.engine()), generic_state(generic);
    for (Mode mode : {Mode::full, Mode::profile}) {
      const std::vector<double> theta = second_reference_point(model.spec());
      best_state.set_parameters(theta);
      generic_state.set_parameters(theta);
      REQUIRE(best_state.evaluate(mode, Level::hessian));
      REQUIRE(generic_state.evaluate(mode, Level::hessian));
      CHECK_THAT(best_state.arrays.nll, WithinRel(generic_state.arrays.nll, 1e-12));
      for (std::size_t i = 0; i < generic.arrays.n_shared; ++i) {
        const double h = generic_state.arrays.hessian[i * generic.arrays.ld + i];
        CHECK_THAT(best_state.arrays.hessian[i * generic.arrays.ld + i],
                   WithinAbs(h, 1e-9 * (1.0 + std::abs(h))));
        CHECK_THAT(best_state.arrays.gradient[i],
                   WithinAbs(generic_state.arrays.gradient[i], 1e-9 * (1.0 + std::abs(h))));
      }
    }
  }
}

TEST_CASE("a per-bin parameter with a Poisson constraint is profiled to its root",
          "[core][model]") {
  using namespace slalom::detail;
  // Ordinary bins, none with events or without, hardly constrained ones, and large numbers.
  const Model model = slalom::test::uncorrelated_background(
      {12.0, 11.0, 0.5, 0.0, 3.0, 1.0}, {50.0, 52.0, 1e-3, 1e6, 7.0, 20.0},
      {3.0, 7.0, 1e-3, 1.0, 70.0, 0.001}, {51.0, 48.0, 3.0, 9e5, 1e-5, 31.0});
  EngineState state(model.engine());
  const ChannelLayout& c = model.engine().channels[0];
  const std::vector<double> observed = model.spec().data();
  std::size_t at_bounds = 0, inside = 0;
  for (const double mu : {0.0, 0.3, 1.0, 8.0}) {
    for (const double events : {0.0, 1e-8, 1.0, 40.0}) {
      for (const double auxiliary : {1e-3, 0.2, 1.0, 5.0}) {
        std::vector<double> data = observed;
        for (std::size_t i = 0; i < data.size(); ++i) {
          data[i] *= i < c.n_bins ? events : auxiliary;
        }
        state.set_data(data);
        state.set_parameters(model.spec().initial());
        state.arrays.theta[0] = mu;
        REQUIRE(state.evaluate(Mode::profile, Level::value));
        for (std::size_t b = 0; b < c.n_bins; ++b) {
          INFO("mu " << mu << ", events " << data[b] << ", auxiliary " << auxiliary << ", bin "
                     << b);
          const std::size_t i = c.local_begin + b;
          const double a = state.arrays.group_yield[i], gamma = state.arrays.gamma[i];
          const double tau = state.arrays.local_weight[i], centre = state.arrays.local_centre[i];
          const double rate = state.arrays.unscaled[c.bin0 + b] + a * gamma;
          CHECK_THAT(state.arrays.rate[c.bin0 + b], WithinRel(rate, 2e-9));
          const double pull = a * (1.0 - data[b] / rate) + tau - centre / gamma;
          if (gamma == state.arrays.local_lower[i]) {
            CHECK(pull >= 0.0);
            ++at_bounds;
          } else if (gamma == state.arrays.local_upper[i]) {
            CHECK(pull <= 0.0);
            ++at_bounds;
          } else {
            CHECK(std::abs(pull) <= 1e-8 * (a * (1.0 + data[b] / rate) + tau + centre / gamma));
            ++inside;
          }
        }
      }
    }
  }
  CHECK(at_bounds > 20);
  CHECK(inside > 150);
}

TEST_CASE("samples add up to the expected rates", "[core][model]") {
  SLALOM_REQUIRE_DATA("workspaces");
  const Model model = published_model("agc/agc_34par.json");
  const std::vector<double> theta = second_reference_point(model.spec());
  std::size_t size = 0;
  for (const slalom::ChannelSpec& c : model.spec().channels) size += c.n_bins * c.samples.size();
  std::vector<double> samples(size);
  Evaluator(model).expected_samples(theta, samples);
  const std::vector<double> total = model.expected_data(theta, false);
  CHECK_THAT(sum(samples), WithinRel(sum(total), 1e-13));
}

TEST_CASE("a point with negative rates has log L of minus infinity", "[core][model]") {
  const Model model = slalom::test::uncorrelated_background({12.0}, {50.0}, {3.0}, {51.0});
  Evaluator evaluator(model);
  std::vector<double> gradient(2, 7.0);
  const double minus_infinity = -std::numeric_limits<double>::infinity();
  CHECK(evaluator.logpdf(std::vector<double>{-10.0, 1.0}) == minus_infinity);
  CHECK(evaluator.logpdf(std::vector<double>{-10.0, 1.0}, gradient) == minus_infinity);
  CHECK(gradient[0] == 7.0);
  CHECK(std::isfinite(evaluator.logpdf(std::vector<double>{0.0, 1.0}, gradient)));
}

TEST_CASE("no events and no expectation is no contradiction", "[core][model]") {
  const Model model = slalom::test::uncorrelated_background({1.0}, {0.0}, {0.0}, {0.0});
  Evaluator evaluator(model);
  std::vector<double> gradient(2), hessian(4);
  // What remains is the constraint term of the bin without background, log Pois(1|1).
  CHECK_THAT(evaluator.logpdf(std::vector<double>{0.0, 1.0}, gradient, hessian),
             WithinAbs(-1.0, 1e-14));
  CHECK_THAT(gradient[0], WithinAbs(-1.0, 1e-14));
}

TEST_CASE("threads that share a model get the same numbers", "[core][model]") {
  SLALOM_REQUIRE_DATA("workspaces");
  const Model model = published_model("agc/agc_34par.json");
  const std::vector<double> theta = second_reference_point(model.spec());
  std::vector<double> values(4);
  std::vector<std::thread> threads;
  for (double& value : values) {
    threads.emplace_back([&] {
      Evaluator evaluator(model);
      for (int i = 0; i < 200; ++i) value = evaluator.logpdf(theta);
    });
  }
  for (std::thread& t : threads) t.join();
  CHECK(values == std::vector<double>(4, values[0]));
}

TEST_CASE("wrong lengths and impossible data are refused", "[core][model]") {
  const Model model = slalom::test::uncorrelated_background({12.0}, {50.0}, {3.0}, {51.0});
  Evaluator evaluator(model);
  CHECK_THROWS_AS(evaluator.logpdf(std::vector<double>{1.0}), slalom::Error);
  CHECK_THROWS_AS(evaluator.set_data(std::vector<double>{1.0}), slalom::Error);
  CHECK_THROWS_AS(evaluator.set_data(std::vector<double>{-1.0, 1.0}), slalom::Error);
  CHECK_THROWS_AS(evaluator.set_data(std::vector<double>{1.0, -1.0}), slalom::Error);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(evaluator.set_data(std::vector<double>{nan, 1.0}), slalom::Error);
  slalom::ModelSpec broken = model.spec();
  broken.channels[0].samples[0].nominal.push_back(1.0);
  CHECK_THROWS_AS(Model(broken), slalom::Error);
}
