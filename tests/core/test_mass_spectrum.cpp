// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>
#include <vector>

#include "slalom/core/mass_spectrum.hpp"
#include "slalom/core/random.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::choose_order;
using slalom::ErrorKind;
using slalom::fit_spectrum;
using slalom::OrderTest;
using slalom::RandomStream;
using slalom::SpectrumFamily;
using slalom::SpectrumFit;
using slalom::SpectrumOptions;
using slalom::test::check_fails;

namespace {

std::vector<double> even_edges(double low, double high, int bins) {
  std::vector<double> edges;
  for (int i = 0; i <= bins; ++i) edges.push_back(low + (high - low) * i / bins);
  return edges;
}

/// Integrals by Simpson's rule on many pieces.
template <class Function>
std::vector<double> integrals(const std::vector<double>& edges, Function&& f) {
  std::vector<double> result;
  constexpr int k_pieces = 200;
  for (std::size_t b = 0; b + 1 < edges.size(); ++b) {
    const double h = (edges[b + 1] - edges[b]) / k_pieces;
    double sum = f(edges[b]) + f(edges[b + 1]);
    for (int i = 1; i < k_pieces; ++i) sum += (i % 2 == 1 ? 4.0 : 2.0) * f(edges[b] + h * i);
    result.push_back(sum * h / 3.0);
  }
  return result;
}

/// About a million dijets from 2.5 to 5 TeV.
double dijet(double m) {
  const double x = m / 13.0;
  return std::exp(4.4) * std::pow(1.0 - x, 9.0) * std::pow(x, -(5.5 + 0.3 * std::log(x)));
}

std::vector<double> thrown(const std::vector<double>& expected, std::uint64_t seed) {
  RandomStream random(seed, 0);
  std::vector<double> counts;
  for (const double mean : expected) counts.push_back(random.poisson(mean));
  return counts;
}

}  // namespace

TEST_CASE("the function that made the spectrum is found again", "[core][mass_spectrum]") {
  const std::vector<double> edges = even_edges(2.5, 5.0, 50);
  const std::vector<double> expected = integrals(edges, dijet);
  const SpectrumFit fit = fit_spectrum(edges, expected);
  REQUIRE(fit.converged());
  CHECK_THAT(fit.parameters[0], WithinRel(4.4, 1e-5));
  CHECK_THAT(fit.parameters[1], WithinRel(9.0, 1e-5));
  CHECK_THAT(fit.parameters[2], WithinRel(5.5, 1e-5));
  CHECK_THAT(fit.parameters[3], WithinRel(0.3, 1e-4));
  CHECK_THAT(fit.deviance, WithinAbs(0.0, 1e-9));
  CHECK(fit.bins == 50);
  CHECK(fit.degrees_of_freedom == 46);
  double total = 0.0;
  for (std::size_t b = 0; b < expected.size(); ++b) {
    CHECK_THAT(fit.expected[b], WithinRel(expected[b], 1e-8));
    const slalom::SpectrumEstimate bin = fit.between(edges[b], edges[b + 1]);
    CHECK_THAT(bin.value, WithinRel(expected[b], 1e-8));
    CHECK_THAT(bin.error, WithinRel(fit.error[b], 1e-5));
    total += expected[b];
  }
  CHECK_THAT(fit.density(3.5), WithinRel(dijet(3.5), 1e-7));
  // The sum of a fit with a free normalisation is as uncertain as its count.
  const slalom::SpectrumEstimate sum = fit.between(2.5, 5.0);
  CHECK_THAT(sum.value, WithinRel(total, 1e-8));
  CHECK_THAT(sum.error, WithinRel(std::sqrt(total), 1e-5));
}

TEST_CASE("a constant is the mean count, known to its square root", "[core][mass_spectrum]") {
  SpectrumOptions options;
  options.family = SpectrumFamily::exponential_polynomial;
  options.parameters = 1;
  const std::vector<double> edges{0.0, 1.0, 2.0, 4.0};
  const std::vector<double> counts{3.0, 7.0, 30.0};
  const SpectrumFit fit = fit_spectrum(edges, counts, options);
  REQUIRE(fit.converged());
  CHECK_THAT(fit.parameters[0], WithinAbs(std::log(10.0), 1e-9));
  CHECK_THAT(std::sqrt(fit.covariance[0]), WithinRel(1.0 / std::sqrt(40.0), 1e-9));
  CHECK_THAT(fit.error[2], WithinRel(20.0 / std::sqrt(40.0), 1e-9));
  const double deviance = 2.0 * (3.0 * std::log(0.3) + 7.0 * std::log(0.7) + 30.0 * std::log(1.5));
  CHECK_THAT(fit.deviance, WithinRel(deviance, 1e-9));
  CHECK_THAT(fit.chi2, WithinRel(49.0 / 10.0 + 9.0 / 10.0 + 100.0 / 20.0, 1e-9));
  // chi2 of two degrees of freedom is an exponential.
  CHECK_THAT(fit.p_value, WithinRel(std::exp(-0.5 * deviance), 1e-9));
  CHECK_THAT(fit.chi2_p_value, WithinRel(std::exp(-0.5 * fit.chi2), 1e-9));
}

TEST_CASE("exponentials of polynomials", "[core][mass_spectrum]") {
  const std::vector<double> edges = even_edges(100.0, 180.0, 80);
  const auto density = [](double m) {
    const double u = (m - 140.0) / 40.0;
    return std::exp(3.0 - 1.5 * u + 0.4 * u * u);
  };
  SpectrumOptions options;
  options.family = SpectrumFamily::exponential_polynomial;
  options.parameters = 3;
  const SpectrumFit fit = fit_spectrum(edges, integrals(edges, density), options);
  REQUIRE(fit.converged());
  CHECK_THAT(fit.parameters[0], WithinAbs(3.0, 1e-6));
  CHECK_THAT(fit.parameters[1], WithinAbs(-1.5, 1e-6));
  CHECK_THAT(fit.parameters[2], WithinAbs(0.4, 1e-6));
}

TEST_CASE("a blinded region is predicted from its sidebands", "[core][mass_spectrum]") {
  const std::vector<double> edges = even_edges(2.5, 5.0, 50);
  const std::vector<double> expected = integrals(edges, dijet);
  SpectrumOptions options;
  options.blinded = {{3.3, 3.7}};
  int inside = 0;
  double mean = 0.0, square = 0.0;
  constexpr int k_toys = 300;
  double truth = 0.0;
  for (std::size_t b = 16; b < 24; ++b) truth += expected[b];
  for (int toy = 0; toy < k_toys; ++toy) {
    std::vector<double> counts = thrown(expected, static_cast<std::uint64_t>(toy));
    for (std::size_t b = 16; b < 24; ++b) counts[b] = 1e6;  // nobody looks at it
    const SpectrumFit fit = fit_spectrum(edges, counts, options);
    REQUIRE(fit.converged());
    if (toy == 0) {
      CHECK(fit.bins == 42);
      CHECK_FALSE(fit.fitted[16]);
      CHECK_FALSE(fit.fitted[23]);
      CHECK(fit.fitted[15]);
      CHECK(fit.fitted[24]);
    }
    const slalom::SpectrumEstimate predicted = fit.between(3.3, 3.7);
    const double pull = (predicted.value - truth) / predicted.error;
    mean += pull / k_toys;
    square += pull * pull / k_toys;
    if (fit.p_value > 0.5) ++inside;
  }
  CHECK_THAT(mean, WithinAbs(0.0, 0.18));
  CHECK_THAT(std::sqrt(square - mean * mean), WithinAbs(1.0, 0.13));
  CHECK_THAT(inside / static_cast<double>(k_toys), WithinAbs(0.5, 0.09));
}

TEST_CASE("as many parameters as the data ask for", "[core][mass_spectrum]") {
  const std::vector<double> edges = even_edges(-1.0, 1.0, 40);
  SpectrumOptions options;
  options.family = SpectrumFamily::exponential_polynomial;
  options.parameters = 1;
  const auto line = integrals(edges, [](double u) { return std::exp(7.0 - 0.5 * u); });
  const auto curve =
      integrals(edges, [](double u) { return std::exp(7.0 - 0.5 * u + 0.3 * u * u); });
  int too_many = 0, too_many_f = 0;
  constexpr int k_toys = 400;
  for (int toy = 0; toy < k_toys; ++toy) {
    const std::vector<double> counts = thrown(line, static_cast<std::uint64_t>(toy));
    const slalom::SpectrumOrder order = choose_order(edges, counts, options, 3);
    CHECK(order.fit.parameters.size() >= 2);
    if (order.fit.parameters.size() == 3) ++too_many;
    const slalom::SpectrumOrder by_f = choose_order(edges, counts, options, 3, OrderTest::f_test);
    if (by_f.fit.parameters.size() == 3) ++too_many_f;
  }
  // 5 %, up to three standard deviations.
  CHECK_THAT(too_many / static_cast<double>(k_toys), WithinAbs(0.05, 0.033));
  CHECK_THAT(too_many_f / static_cast<double>(k_toys), WithinAbs(0.05, 0.033));
  const slalom::SpectrumOrder order = choose_order(edges, curve, options, 5);
  CHECK(order.fit.parameters.size() == 3);
  REQUIRE(order.steps.size() == 3);  // to 2, to 3, and the refused one to 4
  CHECK(order.steps[1].p_value < 1e-4);
  CHECK_THAT(order.steps[2].likelihood_ratio, WithinAbs(0.0, 1e-9));
  CHECK_THAT(order.steps[2].p_value, WithinAbs(1.0, 1e-4));
}

TEST_CASE("F of one and two degrees of freedom in closed form", "[core][mass_spectrum]") {
  // P(F > f) of 1 and 2 degrees of freedom is 1 - sqrt(f / (f + 2)).
  SpectrumOptions options;
  options.family = SpectrumFamily::exponential_polynomial;
  options.parameters = 1;
  const std::vector<double> edges{0.0, 1.0, 2.0, 3.0, 4.0};
  const std::vector<double> counts{9.0, 14.0, 11.0, 19.0};
  const slalom::SpectrumOrder order =
      choose_order(edges, counts, options, 2, OrderTest::f_test, 0.999);
  REQUIRE(order.steps.size() == 1);
  const double f = order.steps[0].f;
  CHECK(f > 0.5);
  CHECK_THAT(order.steps[0].f_p_value, WithinRel(1.0 - std::sqrt(f / (f + 2.0)), 1e-9));
  const SpectrumFit& large = order.fit;
  REQUIRE(large.parameters.size() == 2);
  SpectrumOptions constant = options;
  const double fall = fit_spectrum(edges, counts, constant).chi2 - large.chi2;
  CHECK_THAT(f, WithinRel(fall / (large.chi2 / 2.0), 1e-9));
}

TEST_CASE("bins without events", "[core][mass_spectrum]") {
  const std::vector<double> edges = even_edges(2.5, 5.0, 10);
  SpectrumOptions options;
  options.parameters = 3;
  const SpectrumFit fit =
      fit_spectrum(edges, std::vector<double>{12, 5, 3, 0, 1, 0, 0, 0, 0, 0}, options);
  REQUIRE(fit.converged());
  CHECK_THAT(fit.between(2.5, 5.0).value, WithinRel(21.0, 1e-6));
  for (const double expected : fit.expected) CHECK(expected > 0.0);
}

TEST_CASE("what makes no sense as a spectrum is refused", "[core][mass_spectrum]") {
  const std::vector<double> edges = even_edges(2.5, 5.0, 10);
  const std::vector<double> counts(10, 5.0);
  const auto fails = [&](const std::string& where, const std::string& fragment,
                         const std::vector<double>& e, const std::vector<double>& c,
                         const SpectrumOptions& o) {
    check_fails(ErrorKind::usage, where, fragment, [&] { fit_spectrum(e, c, o); });
  };
  fails("counts", "9 counts for 10 bins", edges, std::vector<double>(9, 1.0), {});
  std::vector<double> bad = counts;
  bad[3] = -1.0;
  fails("counts[3]", "not negative", edges, bad, {});
  bad[3] = std::nan("");
  fails("counts[3]", "finite", edges, bad, {});
  fails("counts", "no events", edges, std::vector<double>(10, 0.0), {});
  fails("edges", "two edges", {1.0}, {}, {});
  fails("edges[2]", "rise", {1.0, 2.0, 2.0}, {1.0, 1.0}, {});
  SpectrumOptions options;
  options.sqrt_s = 5.0;
  fails("edges", "below sqrt_s", edges, counts, options);
  options.sqrt_s = -1.0;
  fails("sqrt_s", "positive", edges, counts, options);
  options = {};
  options.parameters = 6;
  fails("parameters", "dijet has 2 to 5", edges, counts, options);
  options.parameters = 4;
  options.blinded = {{2.5, 4.5}};
  fails("edges", "2 bins for 4 parameters", edges, counts, options);
  options.blinded = {{3.0, 3.0}};
  fails("blinded", "above its beginning", edges, counts, options);
  const SpectrumFit fit = fit_spectrum(edges, counts);
  check_fails(ErrorKind::usage, "mass", "outside", [&] { fit.density(5.1); });
  check_fails(ErrorKind::usage, "mass", "above the upper", [&] { fit.between(4.0, 3.0); });
  check_fails(ErrorKind::usage, "threshold", "between 0 and 1",
              [&] { choose_order(edges, counts, {}, 5, OrderTest::likelihood_ratio, 1.5); });
  check_fails(ErrorKind::usage, "most", "below", [&] { choose_order(edges, counts, {}, 3); });
}
