// SPDX-License-Identifier: Apache-2.0
// The toy of arXiv:2105.08742: exact numbers, the error of interpolations, and what each form of
// the likelihood covers.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <string>
#include <tbb/parallel_for.h>
#include <utility>
#include <vector>

#include "slalom/core/random.hpp"
#include "support/catch.hpp"
#include "support/rotated_gaussians.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::AuxiliaryMeasurement;
using slalom::DataForm;
using slalom::GridProfile;
using slalom::Interval;
using slalom::MorphedChannel;
using slalom::MorphedEffect;
using slalom::MorphedFit;
using slalom::MorphedFitOptions;
using slalom::MorphedLikelihood;
using slalom::Morphing;
using slalom::MorphingKind;
using slalom::test::draw_events;
using slalom::test::even_points;
using slalom::test::Events;
using slalom::test::k_background_events;
using slalom::test::k_pi;
using slalom::test::k_signal_events;
using slalom::test::k_slope;
using slalom::test::k_width;
using slalom::test::Observable;
using slalom::test::quantile_edges;
using slalom::test::rotation;
using slalom::test::samples_of;
using slalom::test::score_edges;
using slalom::test::strength;

namespace {

constexpr double k_nominal = 0.25 * k_pi;
/// Slope of the published score, with sigma in place of sigma^2, and that of a linear discriminant
/// trained on all z together.
constexpr double k_published_slope = 2.0 / 0.7, k_pooled_slope = 3.568;

/// The published grid of z: 21 points from 0 to pi/2.
const std::vector<double> k_published_grid = even_points(0.0, 0.5 * k_pi, 20);
/// The same beyond the ends, so that no interval ends there.
const std::vector<double> k_wide_grid = even_points(-0.25 * k_pi, 0.75 * k_pi, 40);

enum class Knowledge { nothing, constraint, auxiliary };

std::vector<MorphedChannel> with_auxiliary(MorphedChannel main, double z, Knowledge knowledge) {
  std::vector<MorphedChannel> channels = {std::move(main)};
  if (knowledge == Knowledge::auxiliary) {
    AuxiliaryMeasurement measurement;
    measurement.truth = z;
    measurement.grid = even_points(-1.0, 2.5, 50);
    channels.push_back(auxiliary_measurement(measurement));
  }
  return channels;
}

/// Asimov data at mu = 1 in an observable that does not move.
MorphedLikelihood fixed_observable(const Observable& observable, double z_true,
                                   const std::vector<double>& grid, Knowledge knowledge,
                                   MorphingKind kind = MorphingKind::log_spline) {
  MorphedChannel c;
  c.name = "main";
  c.samples = samples_of(observable, grid, kind);
  c.data = observable.expected_data(1.0, z_true);
  return {strength(),
          {rotation(grid.front(), grid.back(), knowledge == Knowledge::constraint)},
          with_auxiliary(std::move(c), z_true, knowledge)};
}

/// Asimov data at mu = 1, histogrammed at each hypothesis in the score that belongs to it:
/// templates are always those of a matched score.
MorphedLikelihood aware_observable(double slope, double z_true, const std::vector<double>& grid,
                                   Knowledge knowledge) {
  const Observable matched{0.0, score_edges(10, slope)};
  MorphedChannel c;
  c.name = "aware";
  c.samples = {{"signal", true, matched.expected(true, 0.0), {}},
               {"background", false, matched.expected(false, 0.0), {}}};
  std::vector<double> data;
  for (double z : grid) {
    const std::vector<double> n = matched.expected_data(1.0, z_true - z);
    data.insert(data.end(), n.begin(), n.end());
  }
  c.data_effect = MorphedEffect{0, Morphing(MorphingKind::log_spline, grid, data)};
  return {strength(),
          {rotation(grid.front(), grid.back(), knowledge == Knowledge::constraint)},
          with_auxiliary(std::move(c), z_true, knowledge)};
}

double half_width(const Interval& interval) {
  CHECK(interval.lower.converged);
  CHECK(interval.upper.converged);
  return 0.5 * (interval.upper.value - interval.lower.value);
}

double continuous_half_width(const MorphedLikelihood& l) {
  const MorphedFit best = fit(l);
  CHECK(best.converged());
  return half_width(profile_interval(l, best, 0));
}

}  // namespace

TEST_CASE("half-widths of the published profiling", "[validation][rotated_gaussians]") {
  // z on the published grid, with the published constraint. Columns: baseline (equal to the linear
  // discriminant of that slope) and the score that knows z, each where it is published or tabled.
  struct Row {
    double z, slope, baseline, aware_low, aware_high;
  };
  const std::array rows = {
      Row{k_nominal, k_slope, 0.0872, 0.0872, 0.0872},
      Row{k_nominal, k_published_slope, 0.0756, 0.0756, 0.0756},
      Row{k_nominal, k_pooled_slope, 0.0822, 0.0, 1.0},
      Row{0.5 * k_pi, k_slope, 0.1507, 0.098, 0.098},
      Row{0.5 * k_pi, k_published_slope, 0.1336, 0.080, 0.082},
      Row{0.5 * k_pi, k_pooled_slope, 0.1443, 0.0, 1.0},
  };
  for (const Row& row : rows) {
    const Observable baseline{k_nominal, score_edges(10, row.slope)};
    const GridProfile fixed =
        grid_profile(fixed_observable(baseline, row.z, k_published_grid, Knowledge::constraint), {},
                     k_published_grid);
    const GridProfile aware =
        grid_profile(aware_observable(row.slope, row.z, k_published_grid, Knowledge::constraint),
                     {}, k_published_grid);
    std::printf("z %.4f slope %.3f: baseline %.4f, aware %.4f at mu = %.3f\n", row.z, row.slope,
                fixed.half_width(), aware.half_width(), aware.mu);
    CHECK_THAT(half_width(fixed.interval), WithinRel(row.baseline, 0.01));
    CHECK(half_width(aware.interval) > 0.99 * row.aware_low);
    CHECK(half_width(aware.interval) < 1.01 * row.aware_high);
    CHECK_THAT(fixed.mu, WithinAbs(1.0, 1e-4));
    CHECK_THAT(aware.mu, WithinAbs(1.0, 1e-4));
  }
}

TEST_CASE("profiles of the published profiling", "[validation][rotated_gaussians]") {
  const auto check = [](const MorphedLikelihood& l, const std::vector<double>& mu,
                        const std::vector<double>& expected, double tolerance) {
    const GridProfile p = grid_profile(l, mu, k_published_grid);
    for (std::size_t i = 0; i < mu.size(); ++i) {
      INFO("mu = " << mu[i]);
      CHECK_THAT(0.5 * p.delta_twice_nll[i], WithinAbs(expected[i], tolerance));
    }
  };
  const Observable baseline{k_nominal, score_edges(10)};
  const std::vector<double> mu = {0.5, 0.7, 0.8, 0.9, 1.1, 1.2, 1.3, 1.5};
  check(fixed_observable(baseline, k_nominal, k_published_grid, Knowledge::constraint), mu,
        {15.3, 5.6, 2.36, 0.62, 0.65, 2.55, 5.61, 14.96}, 0.006);
  check(fixed_observable(baseline, 0.5 * k_pi, k_published_grid, Knowledge::constraint), mu,
        {5.75, 2.03, 0.90, 0.22, 0.22, 0.87, 1.93, 5.28}, 0.006);
  // read from a published figure
  const Observable published{k_nominal, score_edges(10, k_published_slope)};
  check(fixed_observable(published, 0.5 * k_pi, k_published_grid, Knowledge::constraint),
        {0.9, 0.8, 0.7}, {0.28, 1.15, 2.62}, 0.01);
  check(aware_observable(k_published_slope, 0.5 * k_pi, k_published_grid, Knowledge::constraint),
        {0.9, 0.8, 0.7}, {0.90, 3.75, 8.75}, 0.01);
}

TEST_CASE("half-widths with continuous profiling", "[validation][rotated_gaussians]") {
  struct Row {
    std::size_t bins;
    double slope;
    Knowledge knowledge;
    double expected;
  };
  for (const Row& row : {Row{10, k_slope, Knowledge::nothing, 0.1865},
                         {10, k_slope, Knowledge::constraint, 0.1866},
                         {10, k_slope, Knowledge::auxiliary, 0.1689},
                         {10, k_published_slope, Knowledge::nothing, 0.1536},
                         {50, k_slope, Knowledge::nothing, 0.137},
                         {50, k_published_slope, Knowledge::nothing, 0.120}}) {
    const Observable baseline{k_nominal, score_edges(row.bins, row.slope)};
    const double width =
        continuous_half_width(fixed_observable(baseline, 0.5 * k_pi, k_wide_grid, row.knowledge));
    std::printf("%zu bins, slope %.3f, knowledge %d: %.4f\n", row.bins, row.slope,
                static_cast<int>(row.knowledge), width);
    CHECK_THAT(width, WithinRel(row.expected, 0.01));
  }
  // The aware score, frozen at the truth.
  const Observable frozen{0.5 * k_pi, score_edges(10)};
  const double width = continuous_half_width(fixed_observable(
      frozen, 0.5 * k_pi, even_points(0.25 * k_pi, 0.75 * k_pi, 20), Knowledge::auxiliary));
  std::printf("frozen at the truth, auxiliary: %.4f\n", width);
  CHECK_THAT(width, WithinRel(0.0867, 0.01));
}

TEST_CASE("bounds that know z", "[validation][rotated_gaussians]") {
  const auto bound = [](std::size_t bins) {
    const MorphedLikelihood l = fixed_observable({k_nominal, score_edges(bins)}, k_nominal,
                                                 k_published_grid, Knowledge::nothing);
    MorphedFitOptions options;
    options.fixed = {{1, k_nominal}};
    const MorphedFit best = fit(l, options);
    return half_width(profile_interval(l, best, 0));
  };
  CHECK_THAT(bound(1), WithinRel(0.449, 0.01));  // counting
  CHECK_THAT(bound(10), WithinRel(0.0867, 0.01));
  CHECK_THAT(bound(20), WithinRel(0.0773, 0.01));
  CHECK_THAT(bound(50), WithinRel(0.0708, 0.01));
  CHECK_THAT(bound(100), WithinRel(0.0687, 0.01));
  CHECK_THAT(bound(3000), WithinRel(0.06758, 0.001));  // unbinned
}

TEST_CASE("areas under the curve", "[validation][rotated_gaussians]") {
  const auto area = [](double angle) {
    const Observable o{angle, even_points(-6.0, 6.0, 4000)};
    const std::vector<double> s = o.expected(true, 0.0), b = o.expected(false, 0.0);
    double below = 0.0, sum = 0.0;
    for (std::size_t i = 0; i < s.size(); ++i) {
      sum += s[i] * (below + 0.5 * b[i]);
      below += b[i];
    }
    return sum / (k_signal_events * k_background_events);
  };
  CHECK_THAT(area(0.0), WithinAbs(0.97832, 1e-5));
  CHECK_THAT(area(k_nominal), WithinAbs(0.9235, 3e-4));
}

TEST_CASE("information of all events", "[validation][rotated_gaussians]") {
  // Points of a lattice in the plane, weighted with what is expected there: Asimov data of an
  // unbinned channel.
  const std::size_t n = 160;
  const std::vector<double> line = even_points(-4.5, 4.5, n);
  const double area = std::pow(9.0 / static_cast<double>(n), 2);
  const std::vector<double> grid = even_points(k_nominal - 0.05, k_nominal + 0.05, 6);
  MorphedChannel c;
  c.name = "events";
  c.data.assign(line.size() * line.size(), 0.0);
  for (bool signal : {true, false}) {
    const double total = signal ? k_signal_events : k_background_events;
    const auto density = [&](double x, double y, double z) {
      const double sign = signal ? 1.0 : -1.0;
      const double dx = x - sign * std::cos(z), dy = y - sign * std::sin(z);
      return total / (2.0 * k_pi * k_width * k_width) *
             std::exp(-0.5 * (dx * dx + dy * dy) / (k_width * k_width));
    };
    std::vector<double> densities;
    for (double z : grid) {
      for (double x : line) {
        for (double y : line) densities.push_back(density(x, y, z));
      }
    }
    std::size_t i = 0;
    for (double x : line) {
      for (double y : line) c.data[i++] += area * density(x, y, k_nominal);
    }
    const std::string name = signal ? "signal" : "background";
    c.samples.push_back(
        {name, signal, {}, {{0, Morphing(MorphingKind::log_spline, grid, densities)}}});
    c.integrals.push_back({name, signal, {total}, {}});
  }
  const MorphedLikelihood l(strength(), {rotation(grid.front(), grid.back())}, {c});
  const MorphedFit best = fit(l);
  REQUIRE(best.converged());
  CHECK_THAT(best.parameters[0], WithinAbs(1.0, 1e-4));
  CHECK_THAT(best.parameters[1], WithinAbs(k_nominal, 1e-6));
  std::printf("all events: sigma(mu) %.5f, sigma(z) %.5f\n", best.errors[0], best.errors[1]);
  CHECK_THAT(best.errors[0], WithinRel(1.0 / std::sqrt(218.9), 0.001));
  CHECK_THAT(best.errors[1], WithinRel(0.0032, 0.02));
  CHECK(std::abs(best.covariance[1]) < 1e-3 * best.errors[0] * best.errors[1]);
}

TEST_CASE("the frozen two-dimensional observable is optimal", "[validation][rotated_gaussians]") {
  // 10 bins of equal signal in the logit times 6 quantiles of its derivative by z.
  const std::vector<double> grid = even_points(-0.25 * k_pi, 0.75 * k_pi, 40);
  for (double z : {0.3, k_nominal, 1.2, 0.5 * k_pi}) {
    for (double off : {0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2}) {
      const Observable o{z + off, quantile_edges(10, 1.0), quantile_edges(6, 0.0)};
      const double width = continuous_half_width(fixed_observable(o, z, grid, Knowledge::nothing));
      if (z == k_nominal) std::printf("frozen at z + %.3f: %.5f\n", off, width);
      // Freezing costs at second order: next to nothing, even far outside of sigma(z) = 0.003.
      CHECK(width < 0.0682);
    }
  }
}

TEST_CASE("how fine a grid an interpolation needs", "[validation][rotated_gaussians]") {
  // Half-width and mu against templates on a dense grid, baseline score with the auxiliary
  // measurement, truths that are no points of the grid. z is bounded by the grid in both.
  const auto result = [](MorphingKind kind, std::size_t steps, double z) {
    const std::vector<double> grid = even_points(0.0, 0.5 * k_pi, steps);
    const Observable o{k_nominal, score_edges(10)};
    const MorphedLikelihood l = fixed_observable(o, z, grid, Knowledge::auxiliary, kind);
    const MorphedFit best = fit(l);
    return std::pair(half_width(profile_interval(l, best, 0)), best.parameters[0]);
  };
  struct Row {
    MorphingKind kind;
    std::size_t steps;
  };
  for (const Row& row : {Row{MorphingKind::linear, 32},
                         {MorphingKind::log_linear, 16},
                         {MorphingKind::parabola, 32},
                         {MorphingKind::spline, 7},
                         {MorphingKind::log_spline, 5},
                         {MorphingKind::polynomial, 7}}) {
    double of_width = 0.0, of_mu = 0.0;
    for (double z : {0.3, k_nominal, 1.0, 1.2, 1.35}) {
      const auto [width, mu] = result(row.kind, row.steps, z);
      const auto [exact_width, exact_mu] = result(MorphingKind::log_spline, 160, z);
      of_width = std::max(of_width, std::abs(width / exact_width - 1.0));
      of_mu = std::max(of_mu, std::abs(mu - exact_mu));
    }
    std::printf("%-10s %2zu points, step %.3f: width %.2f %%, mu %.4f\n", to_string(row.kind),
                row.steps + 1, 0.5 * k_pi / static_cast<double>(row.steps), 100.0 * of_width,
                of_mu);
    CHECK(of_width < 0.01);
    CHECK(of_mu < 0.01);
  }
}

// ------------------------------------------------------------------------------------------------
// Toys

namespace {

/// The observed z is within this of its estimate, whose uncertainty is 0.003.
constexpr double k_reach = 0.12;
constexpr std::uint64_t k_seed = 2105;

/// Where the data are histogrammed anew: beyond all truths by pi/12.
const std::vector<double> k_moving_grid = even_points(-k_pi / 12.0, 7.0 * k_pi / 12.0, 210);

/// What a form of the likelihood makes of one toy.
struct Outcome {
  double mu = 0.0, half_width = 0.0;
  bool covered = false, converged = false;
};

Outcome outcome_of(const MorphedLikelihood& l, const MorphedFitOptions& options = {}) {
  const MorphedFit best = fit(l, options);
  const Interval i = profile_interval(l, best, 0);
  return {best.parameters[0], 0.5 * (i.upper.value - i.lower.value),
          i.lower.value <= 1.0 && 1.0 <= i.upper.value,
          best.converged() && i.lower.converged && i.upper.converged};
}

/// One toy with everything that the forms share.
class Toy {
 public:
  Toy(double z, std::uint64_t index)
      : events_(draw_events(1.0, z, k_seed, index)), angle_(events_.angle()) {
    AuxiliaryMeasurement m;
    m.truth = z;
    m.grid = even_points(-1.0, 2.5, 50);
    auxiliary_ = auxiliary_measurement(m);
    slalom::RandomStream random(k_seed, index, 1);
    for (double& n : auxiliary_.data) n = random.poisson(n);
  }

  /// The observable moves with the hypothesis, so expectations do not depend on z.
  MorphedChannel moving(DataForm form) {
    const Observable matched{0.0, score_edges(10)};
    MorphedChannel c;
    c.name = "moving";
    c.form = form;
    c.samples = {{"signal", true, matched.expected(true, 0.0), {}},
                 {"background", false, matched.expected(false, 0.0), {}}};
    if (!counts_) {
      std::vector<double> counts;
      for (double z : k_moving_grid) {
        const std::vector<double> n = events_.histogram({z, score_edges(10)});
        counts.insert(counts.end(), n.begin(), n.end());
      }
      counts_ = Morphing(MorphingKind::spline, k_moving_grid, std::move(counts));
    }
    c.data_effect = MorphedEffect{0, *counts_};
    if (form == DataForm::reference_ratio) c.reference = MorphedEffect{0, reference()};
    return c;
  }

  /// One observable for all hypotheses.
  MorphedChannel frozen(const Observable& o) const {
    MorphedChannel c;
    c.name = "frozen";
    c.samples = samples_of(o, near());
    c.data = events_.histogram(o);
    return c;
  }

  /// All events with their exact densities.
  MorphedChannel unbinned() const {
    MorphedChannel c;
    c.name = "unbinned";
    const std::vector<double> grid = even_points(angle_ - 0.05, angle_ + 0.05, 4);
    for (bool signal : {true, false}) {
      const double sign = signal ? 1.0 : -1.0;
      const double total = signal ? k_signal_events : k_background_events;
      std::vector<double> densities;
      for (double z : grid) {
        const double cx = sign * std::cos(z), cy = sign * std::sin(z);
        for (std::size_t i = 0; i < events_.x.size(); ++i) {
          const double dx = events_.x[i] - cx, dy = events_.y[i] - cy;
          densities.push_back(total / (2.0 * k_pi * k_width * k_width) *
                              std::exp(-0.5 * (dx * dx + dy * dy) / (k_width * k_width)));
        }
      }
      const std::string name = signal ? "signal" : "background";
      c.samples.push_back({name,
                           signal,
                           {},
                           {{0, Morphing(MorphingKind::log_spline, grid, std::move(densities))}}});
      c.integrals.push_back({name, signal, {total}, {}});
    }
    c.data.assign(events_.x.size(), 1.0);
    return c;
  }

  /// \param low, high bounds of z
  Outcome outcome(MorphedChannel main, bool auxiliary, double low, double high) const {
    std::vector<MorphedChannel> channels = {std::move(main)};
    if (auxiliary) channels.push_back(auxiliary_);
    MorphedFitOptions options;
    options.scan = channels[0].integrals.empty();
    options.init = {1.0, angle_};
    return outcome_of({strength(), {rotation(low, high)}, std::move(channels)}, options);
  }
  Outcome near_outcome(MorphedChannel main, bool auxiliary = false) const {
    return outcome(std::move(main), auxiliary, angle_ - k_reach, angle_ + k_reach);
  }

  double angle() const { return angle_; }

 private:
  std::vector<double> near() const { return even_points(angle_ - k_reach, angle_ + k_reach, 12); }

  /// The pooled sample of all z, in the observable of each hypothesis.
  static Morphing reference() {
    const std::vector<double> grid = even_points(k_moving_grid.front(), k_moving_grid.back(), 42);
    std::vector<double> all;
    for (double at : grid) {
      std::vector<double> sum(10, 0.0);
      for (double z : k_published_grid) {
        const std::vector<double> n = Observable{at, score_edges(10)}.expected_data(1.0, z);
        for (std::size_t b = 0; b < n.size(); ++b) {
          sum[b] += n[b] / static_cast<double>(k_published_grid.size());
        }
      }
      all.insert(all.end(), sum.begin(), sum.end());
    }
    return {MorphingKind::log_spline, grid, std::move(all)};
  }

  Events events_;
  double angle_;
  MorphedChannel auxiliary_;
  std::optional<Morphing> counts_;
};

/// Averages over toys.
struct Summary {
  double bias = 0.0, spread = 0.0, half_width = 0.0, coverage = 0.0;
  std::size_t failed = 0;
};

using Form = std::pair<const char*, std::function<Outcome(Toy&)>>;

std::vector<Summary> run_toys(const std::vector<Form>& forms, double z, std::size_t n_toys) {
  std::vector<std::vector<Outcome>> all(n_toys, std::vector<Outcome>(forms.size()));
  tbb::parallel_for(std::size_t{0}, n_toys, [&](std::size_t i) {
    Toy toy(z, i);
    for (std::size_t f = 0; f < forms.size(); ++f) all[i][f] = forms[f].second(toy);
  });
  const auto n = static_cast<double>(n_toys);
  std::vector<Summary> summaries;
  for (std::size_t f = 0; f < forms.size(); ++f) {
    Summary s;
    for (const std::vector<Outcome>& toy : all) {
      s.bias += (toy[f].mu - 1.0) / n;
      s.spread += (toy[f].mu - 1.0) * (toy[f].mu - 1.0) / n;
      s.half_width += toy[f].half_width / n;
      s.coverage += (toy[f].covered ? 1.0 : 0.0) / n;
      s.failed += toy[f].converged ? 0U : 1U;
    }
    s.spread = std::sqrt(s.spread - s.bias * s.bias);
    std::printf(
        "z %.4f  %-34s bias %+.4f  spread %.4f  half-width %.4f  coverage %.3f  failed %zu\n", z,
        forms[f].first, s.bias, s.spread, s.half_width, s.coverage, s.failed);
    summaries.push_back(s);
  }
  return summaries;
}

double moving_low() { return k_moving_grid.front(); }
double moving_high() { return k_moving_grid.back(); }

Outcome moving_outcome(Toy& toy, DataForm form, bool auxiliary) {
  return toy.outcome(toy.moving(form), auxiliary, moving_low(), moving_high());
}

Outcome frozen_outcome(const Toy& toy, bool auxiliary) {
  return toy.near_outcome(toy.frozen({toy.angle(), score_edges(10)}), auxiliary);
}

Outcome two_dimensional_outcome(const Toy& toy, double angle) {
  return toy.near_outcome(toy.frozen({angle, quantile_edges(10, 1.0), quantile_edges(6, 0.0)}));
}

}  // namespace

TEST_CASE("forms whose data move with the hypothesis", "[validation][rotated_gaussians][slow]") {
  std::vector<Form> forms;
  for (bool auxiliary : {false, true}) {
    for (DataForm form : {DataForm::poisson, DataForm::saturated, DataForm::reference_ratio}) {
      static const std::array names = {"Poisson, z free",      "saturated, z free",
                                       "reference ratio",      "Poisson, auxiliary",
                                       "saturated, auxiliary", "reference ratio, auxiliary"};
      forms.emplace_back(names[forms.size()],
                         [=](Toy& toy) { return moving_outcome(toy, form, auxiliary); });
    }
  }
  for (double z : {k_nominal, 0.5 * k_pi}) {
    INFO("z = " << z);
    const std::vector<Summary> s = run_toys(forms, z, 500);  // biases +- 0.004
    for (std::size_t f : {0U, 1U}) {  // biased, the more so the less is known about z
      CHECK(s[f].failed == 0);
      CHECK_THAT(s[f].bias, WithinAbs(0.024, 0.02));
      CHECK_THAT(s[f].half_width, WithinAbs(0.093, 0.002));
      CHECK_THAT(s[f].coverage, WithinAbs(0.68, 0.10));
    }
    for (std::size_t f : {3U, 4U}) {
      CHECK(s[f].failed == 0);
      CHECK_THAT(s[f].bias, WithinAbs(0.0, 0.02));
      CHECK_THAT(s[f].half_width, WithinAbs(0.087, 0.001));
      CHECK_THAT(s[f].coverage, WithinAbs(0.68, 0.10));
    }
    // Each hypothesis divides by another number: this is no likelihood, and shows it.
    CHECK(s[2].bias > 0.1);
    CHECK(s[2].coverage < 0.45);
  }
}

TEST_CASE("forms of one fixed datum", "[validation][rotated_gaussians][slow]") {
  const std::vector<Form> forms = {
      {"frozen f(x, z-hat)", [](Toy& t) { return frozen_outcome(t, false); }},
      {"frozen f(x, z-hat), auxiliary", [](Toy& t) { return frozen_outcome(t, true); }},
      {"frozen 10 x 6", [](Toy& t) { return two_dimensional_outcome(t, t.angle()); }},
      {"frozen 10 x 6 at a multiple of .02",
       [](Toy& t) { return two_dimensional_outcome(t, 0.02 * std::round(t.angle() / 0.02)); }},
  };
  for (double z : {k_nominal, 1.2, 0.5 * k_pi}) {
    INFO("z = " << z);
    const std::vector<Summary> s = run_toys(forms, z, 1000);  // biases +- 0.003
    for (const Summary& one : s) {
      CHECK(one.failed == 0);
      CHECK_THAT(one.coverage, WithinAbs(0.683, 0.05));
    }
    CHECK_THAT(s[0].bias, WithinAbs(-0.015, 0.01));
    CHECK(std::abs(s[1].bias) < 0.01);
    CHECK_THAT(s[0].half_width, WithinAbs(0.0905, 0.0015));
    CHECK_THAT(s[1].half_width, WithinAbs(0.0867, 0.001));
    for (std::size_t f : {2U, 3U}) {
      CHECK(std::abs(s[f].bias) < 0.01);
      CHECK_THAT(s[f].half_width, WithinAbs(0.068, 0.0005));
      CHECK_THAT(s[f].spread, WithinRel(s[f].half_width, 0.1));
    }
    CHECK(std::abs(s[3].bias - s[2].bias) < 0.001);  // nothing is lost by rounding
  }
}

TEST_CASE("the frozen observable beside all events", "[validation][rotated_gaussians][slow]") {
  const std::vector<Form> forms = {
      {"frozen 10 x 6", [](Toy& t) { return two_dimensional_outcome(t, t.angle()); }},
      {"unbinned", [](Toy& t) { return t.near_outcome(t.unbinned()); }},
  };
  for (double z : {k_nominal, 1.2, 0.5 * k_pi}) {
    INFO("z = " << z);
    const std::vector<Summary> s = run_toys(forms, z, 200);  // biases +- 0.005
    for (const Summary& one : s) {
      CHECK(one.failed == 0);
      CHECK(one.half_width < 0.070);
      CHECK(std::abs(one.bias) < 0.02);
      CHECK(one.coverage > 0.58);
      CHECK(one.coverage < 0.78);
    }
    CHECK_THAT(s[1].half_width, WithinAbs(0.0676, 0.0005));
    CHECK(std::abs(s[1].bias - s[0].bias) < 0.005);  // the same toys
  }
}
