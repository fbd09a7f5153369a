// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <numbers>

#include "slalom/core/normal.hpp"
#include "slalom/workflows/problem.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/gradients.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::ErrorKind;
using slalom::EventBatch;
using slalom::make_problem;
using slalom::Problem;
using slalom::Variation;
using slalom::test::check_fails;
using slalom::test::distance;
using slalom::test::tensor;
using slalom::test::values;
using Vector = std::vector<double>;

namespace {

constexpr std::size_t k_background = 0, k_signal = 1;

// ---- The densities, written down once more from the publications -------------------------------

double log_gauss(double x, double mean, double width) {
  const double z = (x - mean) / width;
  return -0.5 * z * z - std::log(width * std::sqrt(2.0 * std::numbers::pi));
}

double log_exponential(double x, double rate) { return std::log(rate) - rate * x; }

/// log density of an event of a process, at theta of the problem's variations.
using LogDensity = double (*)(std::size_t process, const double* x, const double* theta);

double log_inferno(std::size_t process, const double* x, const double* theta) {
  if (process == k_signal) {
    return log_gauss(x[0], 0.0, 1.0) + log_gauss(x[1], 0.0, 1.0) + log_exponential(x[2], 2.0);
  }
  return log_gauss(x[0], 2.0 + theta[0], std::sqrt(5.0)) + log_gauss(x[1], 0.0, 3.0) +
         log_exponential(x[2], 3.0 + theta[1]);
}

double log_blobs(std::size_t process, const double* x, const double* theta) {
  if (process == k_signal) return log_gauss(x[0], -1.0, 1.0) + log_gauss(x[1], 1.0, 1.0);
  const double up = std::max(theta[0], 0.0), down = std::max(-theta[0], 0.0);
  return log_gauss(x[0], 1.0 + up * (2.5 - 1.0) + down * (-2.5 - 1.0), 1.0) +
         log_gauss(x[1], -1.0 + up * (2.0 + 1.0) + down * (-1.5 + 1.0), 1.0);
}

double log_wunsch(std::size_t process, const double* x, const double* theta) {
  if (process == k_signal) return log_gauss(x[0], 0.0, 1.0) + log_gauss(x[1], 0.0, 1.0);
  return log_gauss(x[0], 1.0, 1.0) + log_gauss(x[1], 1.0 + theta[0], 1.0);
}

double log_joint(std::size_t process, const double* x, const double* theta) {
  const bool signal = process == k_signal;
  const double mean = signal ? 0.8 : 0.0;
  const double scale = 1.0 + 0.2 * theta[0], energy = x[3] / scale;
  return log_gauss(x[0], mean, 1.0) + log_gauss(x[1], mean + theta[0], 1.0) +
         log_gauss(x[2], signal ? 1.0 : 0.0, 1.0) +
         log_gauss(std::log(energy), std::log(signal ? 70.0 : 40.0), signal ? 0.3 : 0.6) -
         std::log(energy * scale);
}

double log_cuts(std::size_t process, const double* x, const double*) {
  return process == k_signal ? log_gauss(x[0], 50.0, 5.0) : log_gauss(x[0], 40.0, 10.0);
}

double log_gaussian(std::size_t process, const double* x, const double* theta) {
  const double z = 0.25 * std::numbers::pi + theta[0], sign = process == k_signal ? 1.0 : -1.0;
  return log_gauss(x[0], sign * std::cos(z), 0.7) + log_gauss(x[1], sign * std::sin(z), 0.7);
}

double log_pivot(std::size_t process, const double* x, const double* theta) {
  if (process == k_signal) {
    return log_gauss(x[0], 1.0, 1.0) + log_gauss(x[1], 1.0 + theta[0], 1.0);
  }
  // x2 given x1.
  return log_gauss(x[0], 0.0, 1.0) + log_gauss(x[1], -0.5 * x[0], std::sqrt(0.75));
}

/// An exponential of mean 1, smeared.
double log_exponential_cut(std::size_t process, const double* x, const double*) {
  if (process == k_signal) return log_gauss(x[0], 2.0, 0.5);
  constexpr double k_width = 0.1;
  return -x[0] + 0.5 * k_width * k_width +
         std::log(slalom::normal_cdf((x[0] - k_width * k_width) / k_width));
}

LogDensity density_of(const std::string& name) {
  static const std::map<std::string, LogDensity> all = {
      {"inferno", log_inferno}, {"blobs", log_blobs},
      {"wunsch", log_wunsch},   {"joint", log_joint},
      {"cuts", log_cuts},       {"gaussian", log_gaussian},
      {"pivot", log_pivot},     {"exponential_cut", log_exponential_cut}};
  return all.at(name);
}

// ---- Means and bounds --------------------------------------------------------------------------

EventBatch as_process(const EventBatch& events, std::size_t process) {
  EventBatch result = events;
  result.process = at::full_like(events.process, static_cast<std::int64_t>(process));
  return result;
}

/// Score of each event as if it were of this process.
Vector score_as(const Problem& problem, const EventBatch& events, const Variation& variation,
                std::size_t process) {
  if (!concerns(variation, problem.processes[process].name)) {
    return Vector(static_cast<std::size_t>(events.size()), 0.0);
  }
  return values(variation.score(as_process(events, process)));
}

/// Extended information of (signal yield or strength, each variation, background yield) from the
/// problem's own events and scores: sum_i w_i (d log nu_i)(d log nu_i)', where only the ratio of
/// the densities is this file's. \param unit of the parameter of interest, in events
Eigen::MatrixXd information(const Problem& problem, std::int64_t n, std::uint64_t seed,
                            double unit) {
  const EventBatch events = problem.events(n, seed);
  const LogDensity log_density = density_of(problem.name);
  const double s = problem.processes[k_signal].yield, b = problem.processes[k_background].yield;
  const Vector x = values(events.features), w = values(events.weights),
               nominal(problem.variations.size(), 0.0);
  std::vector<std::array<Vector, 2>> scores;
  for (const Variation& variation : problem.variations) {
    scores.push_back({score_as(problem, events, variation, k_background),
                      score_as(problem, events, variation, k_signal)});
  }
  const auto size = static_cast<Eigen::Index>(problem.variations.size()) + 2;
  const std::size_t width = problem.columns.size();
  Eigen::MatrixXd result = Eigen::MatrixXd::Zero(size, size);
  for (std::size_t i = 0; i < w.size(); ++i) {
    const double* event = x.data() + i * width;
    const double ratio = std::exp(log_density(k_signal, event, nominal.data()) -
                                  log_density(k_background, event, nominal.data()));
    Eigen::VectorXd slope(size);
    slope[0] = unit * ratio;
    for (std::size_t k = 0; k < scores.size(); ++k) {
      slope[static_cast<Eigen::Index>(k) + 1] =
          b * scores[k][k_background][i] + s * ratio * scores[k][k_signal][i];
    }
    slope[size - 1] = 1.0;
    slope /= s * ratio + b;
    result += w[i] * slope * slope.transpose();
  }
  return result;
}

/// Uncertainty of the first of these parameters, the others unknown but for their constraints.
double uncertainty(const Eigen::MatrixXd& information, const std::vector<Eigen::Index>& parameters,
                   const std::vector<double>& constraint_widths) {
  const auto n = static_cast<Eigen::Index>(parameters.size());
  Eigen::MatrixXd part(n, n);
  for (Eigen::Index i = 0; i < n; ++i) {
    for (Eigen::Index j = 0; j < n; ++j) {
      part(i, j) = information(parameters[static_cast<std::size_t>(i)],
                               parameters[static_cast<std::size_t>(j)]);
    }
    const double width = constraint_widths[static_cast<std::size_t>(i)];
    if (width > 0.0) part(i, i) += 1.0 / (width * width);
  }
  return std::sqrt(part.inverse()(0, 0));
}

/// sigma(mu) at mu from densities in the plane, by the midpoint rule; with a nuisance whose slope
/// is half the difference of two templates, constrained to a unit Gaussian.
struct PlaneBound {
  double statistics = 0.0, total = 0.0;
};

PlaneBound plane_bound(const Problem& problem, double mu) {
  const LogDensity log_density = density_of(problem.name);
  const double s = problem.processes[k_signal].yield, b = problem.processes[k_background].yield;
  const std::array<double, 3> steps = {0.0, 1.0, -1.0};
  const double h = 0.05, low = -12.0;
  double i_mm = 0.0, i_ma = 0.0, i_aa = 1.0;
  for (int i = 0; i < 480; ++i) {
    for (int j = 0; j < 480; ++j) {
      const std::array<double, 2> x = {low + h * (i + 0.5), low + h * (j + 0.5)};
      const auto background = [&](std::size_t k) {
        return b * std::exp(log_density(k_background, x.data(), &steps[k]));
      };
      const double signal = s * std::exp(log_density(k_signal, x.data(), &steps[0])),
                   slope = 0.5 * (background(1) - background(2)), all = mu * signal + background(0);
      i_mm += h * h * signal * signal / all;
      i_ma += h * h * signal * slope / all;
      i_aa += h * h * slope * slope / all;
    }
  }
  return {1.0 / std::sqrt(i_mm), 1.0 / std::sqrt(i_mm - i_ma * i_ma / i_aa)};
}

double mean(const Vector& x) {
  double sum = 0.0;
  for (const double value : x) sum += value;
  return sum / static_cast<double>(x.size());
}

double covariance(const Vector& x, const Vector& y) {
  const double mx = mean(x), my = mean(y);
  double sum = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += (x[i] - mx) * (y[i] - my);
  return sum / static_cast<double>(x.size());
}

/// Checks mean and standard deviation of a column to five standard errors, for a distribution whose
/// fourth moment is that of a Gaussian or, at most, of an exponential.
void check_moments(const Vector& x, double expected_mean, double expected_width) {
  const double root_n = std::sqrt(static_cast<double>(x.size()));
  CHECK_THAT(mean(x), WithinAbs(expected_mean, 5.0 * expected_width / root_n));
  CHECK_THAT(std::sqrt(covariance(x, x)),
             WithinAbs(expected_width, 5.0 * std::sqrt(2.0) * expected_width / root_n));
}

Vector column(const Problem& problem, const std::string& process, const std::string& name) {
  static std::map<std::string, EventBatch> drawn;
  if (drawn.count(problem.name) == 0) drawn[problem.name] = problem.events(200000, 7);
  return values(drawn[problem.name].of_process(process).column(name));
}

Tensor at_theta(double theta) { return tensor({theta}); }

}  // namespace

TEST_CASE("problems know their names", "[experiments][problem]") {
  CHECK(slalom::problem_names() == std::vector<std::string>{"inferno", "blobs", "wunsch", "joint",
                                                            "cuts", "gaussian", "pivot",
                                                            "exponential_cut"});
  for (const std::string& name : slalom::problem_names()) CHECK(make_problem(name).name == name);
  check_fails(ErrorKind::usage, "infrno", "did you mean 'inferno'?",
              [] { return make_problem("infrno"); });
  check_fails(ErrorKind::usage, "zebra", "there are: inferno, blobs, wunsch",
              [] { return make_problem("zebra"); });
}

TEST_CASE("events carry yields, labels and processes", "[experiments][problem]") {
  const std::map<std::string, std::pair<double, double>> yields = {
      {"inferno", {1000, 50}}, {"blobs", {100, 20}},
      {"wunsch", {1000, 50}},  {"joint", {1000, 60}},
      {"cuts", {8000, 300}},   {"gaussian", {50000, 500}},
      {"pivot", {1000, 1000}}, {"exponential_cut", {1000, 100}}};
  for (const std::string& name : slalom::problem_names()) {
    CAPTURE(name);
    const Problem problem = make_problem(name);
    REQUIRE(problem.processes.size() == 2);
    CHECK(!problem.summary.empty());
    const EventBatch events = problem.events(300, 1);
    CHECK(events.size() == 600);
    CHECK(events.columns == problem.columns);
    CHECK(events.features.scalar_type() == at::kFloat);
    CHECK(events.processes == std::vector<std::string>{"background", "signal"});
    CHECK_THAT(events.of_process("background").weights.sum().item<double>(),
               WithinRel(yields.at(name).first, 1e-12));
    CHECK_THAT(events.of_process("signal").weights.sum().item<double>(),
               WithinRel(yields.at(name).second, 1e-12));
    CHECK(distance(events.labels, events.process) == 0.0);
    CHECK(problem.processes[k_signal].signal);
    CHECK(!problem.processes[k_background].signal);
  }
}

TEST_CASE("events depend on seed and process, not on their number", "[experiments][problem]") {
  for (const std::string& name : slalom::problem_names()) {
    CAPTURE(name);
    const Problem problem = make_problem(name);
    const Tensor few = problem.generate(k_background, 11, 3).features;
    CHECK(distance(few, problem.generate(k_background, 5000, 3).features.slice(0, 0, 11)) == 0.0);
    const Vector here = values(problem.generate(k_background, 20000, 3).features.select(1, 0)),
                 other_seed =
                     values(problem.generate(k_background, 20000, 4).features.select(1, 0)),
                 other_process = values(problem.generate(k_signal, 20000, 3).features.select(1, 0));
    const double variance = covariance(here, here);
    CHECK(std::abs(covariance(here, other_seed)) < 5.0 * variance / std::sqrt(20000.0));
    CHECK(std::abs(covariance(here, other_process)) < 5.0 * variance / std::sqrt(20000.0));
    check_fails(ErrorKind::usage, name, "must be positive",
                [&] { return problem.generate(0, 0, 1); });
    check_fails(ErrorKind::usage, name, "no process 2", [&] { return problem.generate(2, 1, 1); });
  }
}

TEST_CASE("moments are those of the definitions", "[experiments][problem]") {
  const Problem inferno = make_problem("inferno");
  check_moments(column(inferno, "background", "x0"), 2.0, std::sqrt(5.0));
  check_moments(column(inferno, "background", "x1"), 0.0, 3.0);
  CHECK_THAT(mean(column(inferno, "background", "x2")), WithinRel(1.0 / 3.0, 0.011));
  check_moments(column(inferno, "signal", "x0"), 0.0, 1.0);
  check_moments(column(inferno, "signal", "x1"), 0.0, 1.0);
  CHECK_THAT(mean(column(inferno, "signal", "x2")), WithinRel(1.0 / 2.0, 0.011));
  const Problem blobs = make_problem("blobs"), wunsch = make_problem("wunsch"),
                joint = make_problem("joint"), cuts = make_problem("cuts"),
                gaussian = make_problem("gaussian");
  check_moments(column(blobs, "background", "x"), 1.0, 1.0);
  check_moments(column(blobs, "background", "y"), -1.0, 1.0);
  check_moments(column(blobs, "signal", "x"), -1.0, 1.0);
  check_moments(column(blobs, "signal", "y"), 1.0, 1.0);
  for (const char* name : {"x1", "x2"}) {
    check_moments(column(wunsch, "background", name), 1.0, 1.0);
    check_moments(column(wunsch, "signal", name), 0.0, 1.0);
    check_moments(column(joint, "background", name), 0.0, 1.0);
    check_moments(column(joint, "signal", name), 0.8, 1.0);
  }
  check_moments(column(joint, "background", "u"), 0.0, 1.0);
  check_moments(column(joint, "signal", "u"), 1.0, 1.0);
  for (const auto& [process, median, width] :
       {std::tuple("background", 40.0, 0.6), std::tuple("signal", 70.0, 0.3)}) {
    Vector log_energy = column(joint, process, "E");
    for (double& x : log_energy) x = std::log(x);
    check_moments(log_energy, std::log(median), width);
  }
  check_moments(column(cuts, "background", "x"), 40.0, 10.0);
  check_moments(column(cuts, "signal", "x"), 50.0, 5.0);
  const Problem falling = make_problem("exponential_cut");
  check_moments(column(falling, "signal", "x"), 2.0, 0.5);
  const Vector background = column(falling, "background", "x");
  CHECK_THAT(mean(background), WithinAbs(1.0, 5.0 * std::sqrt(1.01 / 200000.0)));
  // The fourth moment of an exponential about its mean is 9: the variance scatters by sqrt(8 / n).
  CHECK_THAT(covariance(background, background), WithinAbs(1.01, 5.0 * std::sqrt(8.1 / 200000.0)));
  for (const char* name : {"x", "y"}) {
    check_moments(column(gaussian, "background", name), -std::sqrt(0.5), 0.7);
    check_moments(column(gaussian, "signal", name), std::sqrt(0.5), 0.7);
  }
  const Problem pivot = make_problem("pivot");
  for (const char* name : {"x1", "x2"}) {
    check_moments(column(pivot, "background", name), 0.0, 1.0);
    check_moments(column(pivot, "signal", name), 1.0, 1.0);
  }
  CHECK_THAT(covariance(column(pivot, "background", "x1"), column(pivot, "background", "x2")),
             WithinAbs(-0.5, 5.0 * std::sqrt(1.25 / 200000.0)));
  // All features are independent of each other, but for that.
  for (const std::string& name : slalom::problem_names()) {
    const Problem problem = make_problem(name);
    for (const char* process : {"background", "signal"}) {
      if (name == "pivot" && std::string(process) == "background") continue;
      for (std::size_t j = 1; j < problem.columns.size(); ++j) {
        for (std::size_t k = 0; k < j; ++k) {
          const Vector x = column(problem, process, problem.columns[j]),
                       y = column(problem, process, problem.columns[k]);
          CHECK(std::abs(covariance(x, y)) <
                5.0 * std::sqrt(covariance(x, x) * covariance(y, y) / 200000.0));
        }
      }
    }
  }
}

TEST_CASE("no variation at 0", "[experiments][problem]") {
  for (const std::string& name : slalom::problem_names()) {
    const Problem problem = make_problem(name);
    const EventBatch events = problem.events(500, 1);
    for (const Variation& variation : problem.variations) {
      CAPTURE(name, variation.name);
      const EventBatch same = slalom::apply_variation(events, variation, at_theta(0.0));
      CHECK(distance(same.features, events.features) == 0.0);
      CHECK(same.weights.is_same(events.weights));
      const EventBatch other = slalom::apply_variation(events, variation, at_theta(0.3));
      for (const auto& process : problem.processes) {
        const bool moved = distance(other.of_process(process.name).features,
                                    events.of_process(process.name).features) > 0.0;
        CHECK(moved == concerns(variation, process.name));
      }
      check_fails(ErrorKind::usage, variation.name, "one theta expected", [&] {
        return slalom::apply_variation(events, variation, tensor({0.1, 0.2}));
      });
      // A theta for each event. One for all leaves features in float32 throughout.
      const double largest = other.features.abs().max().item<double>() + 1.0;
      const Tensor each =
          at::where(events.weights.cumsum(0) * 2.0 < events.weights.sum(),
                    at::full_like(events.weights, 0.3), at::full_like(events.weights, -0.2));
      const EventBatch mixed = slalom::apply_variation(events, variation, each),
                       down = slalom::apply_variation(events, variation, at_theta(-0.2));
      CHECK(distance(mixed.features, at::where((each > 0.0).unsqueeze(1), other.features,
                                               down.features)) < 1e-6 * largest);
    }
  }
  const Problem inferno = make_problem("inferno"), joint = make_problem("joint");
  check_fails(ErrorKind::usage, "lambda", "zero or negative", [&] {
    return slalom::apply_variation(inferno.events(5, 1), inferno.variations[1], at_theta(-3.0));
  });
  check_fails(ErrorKind::usage, "alpha", "zero or negative", [&] {
    return slalom::apply_variation(joint.events(5, 1), joint.variations[0], at_theta(-5.5));
  });
}

TEST_CASE("exact log ratios", "[experiments][problem]") {
  int known = 0;
  for (const std::string& name : slalom::problem_names()) {
    const Problem problem = make_problem(name);
    if (!problem.log_ratio) continue;
    CAPTURE(name);
    ++known;
    const LogDensity log_density = density_of(name);
    const EventBatch events = problem.events(20, 3);
    const Vector x = values(events.features);
    const Tensor each = tensor({0.0, 0.7}).repeat({20}).unsqueeze(1);
    const Vector nominal = values(problem.log_ratio(events.features, {})),
                 moved = values(problem.log_ratio(events.features, tensor({0.7}))),
                 mixed = values(problem.log_ratio(events.features, each));
    for (std::size_t i = 0; i < nominal.size(); ++i) {
      for (const double theta : {0.0, 0.7}) {
        const double* event = x.data() + 2 * i;
        const double expected =
            log_density(k_signal, event, &theta) - log_density(k_background, event, &theta);
        CHECK_THAT(theta > 0.0 ? moved[i] : nominal[i], WithinAbs(expected, 1e-12));
        if ((i % 2 == 1) == (theta > 0.0)) CHECK_THAT(mixed[i], WithinAbs(expected, 1e-12));
      }
    }
    slalom::test::check_gradients(
        [&](const std::vector<Tensor>& inputs) {
          return problem.log_ratio(events.features, inputs[0]).sin().sum();
        },
        {at_theta(0.3)});
  }
  CHECK(known == 2);
}

TEST_CASE("sums over a lattice are integrals", "[experiments][problem]") {
  for (const std::string& name : slalom::problem_names()) {
    const Problem problem = make_problem(name);
    CAPTURE(name);
    if (!problem.lattice) {
      check_fails(ErrorKind::usage, name, "has no lattice",
                  [&] { return problem.lattice_events(10); });
      continue;
    }
    const EventBatch events = problem.lattice_events(60);
    CHECK(events.size() == 2 * 3600);
    const LogDensity log_density = density_of(name);
    const double none = 0.0, cell = 12.0 / 60.0;
    for (std::size_t p = 0; p < 2; ++p) {
      const EventBatch part = events.of_process(problem.processes[p].name);
      const Vector w = values(part.weights), x = values(part.features);
      CHECK_THAT(part.weights.sum().item<double>(), WithinRel(problem.processes[p].yield, 1e-12));
      // Weights are densities times cells, in units in which the covariance is 1.
      const double volume = name == "gaussian" ? 0.49 : p == k_background ? std::sqrt(0.75) : 1.0;
      for (std::size_t i = 0; i < w.size(); i += 97) {
        const double density = std::exp(log_density(p, x.data() + 2 * i, &none));
        CHECK_THAT(w[i],
                   WithinRel(problem.processes[p].yield * density * cell * cell * volume, 2e-5));
      }
      // Moments of a smooth function, and what is on one side of a line.
      const Tensor share = part.weights / problem.processes[p].yield,
                   a = part.features.select(1, 0).to(at::kDouble),
                   b = part.features.select(1, 1).to(at::kDouble);
      const bool pivot = name == "pivot";
      const double mean = pivot ? (p == k_signal ? 1.0 : 0.0)
                                : (p == k_signal ? 1.0 : -1.0) * std::sqrt(0.5),
                   variance = pivot ? 1.0 : 0.49, between = pivot && p == k_background ? -0.5 : 0.0;
      CHECK_THAT((share * a).sum().item<double>(), WithinAbs(mean, 1e-6));
      CHECK_THAT((share * b).sum().item<double>(), WithinAbs(mean, 1e-6));
      CHECK_THAT((share * (a - mean) * (a - mean)).sum().item<double>(), WithinAbs(variance, 1e-6));
      CHECK_THAT((share * (a - mean) * (b - mean)).sum().item<double>(), WithinAbs(between, 1e-6));
      const double below =
          (share * (a + b < 2.0 * mean + 0.5).to(at::kDouble)).sum().item<double>();
      CHECK_THAT(
          below,
          WithinAbs(slalom::normal_cdf(0.5 / std::sqrt(2.0 * variance + 2.0 * between)), 2e-3));
    }
    check_fails(ErrorKind::usage, name, "2 points", [&] { return problem.lattice(0, 1); });
    check_fails(ErrorKind::usage, name, "needs a process", [&] { return problem.lattice(2, 5); });
  }
}

TEST_CASE("scores are slopes of log densities", "[experiments][problem]") {
  for (const std::string& name : slalom::problem_names()) {
    const Problem problem = make_problem(name);
    const LogDensity log_density = density_of(name);
    for (std::size_t k = 0; k < problem.variations.size(); ++k) {
      for (std::size_t process = 0; process < 2; ++process) {
        CAPTURE(name, problem.variations[k].name, process);
        const EventBatch events = problem.generate(process, 40, 5);
        const Vector x = values(events.features),
                     score = score_as(problem, events, problem.variations[k], process);
        for (std::size_t i = 0; i < score.size(); ++i) {
          const auto at_step = [&](double step) {
            Vector theta(problem.variations.size(), 0.0);
            theta[k] = step;
            return log_density(process, x.data() + i * problem.columns.size(), theta.data());
          };
          const double slope = (at_step(1e-4) - at_step(-1e-4)) / 2e-4;
          // Blobs: both sides differ, and their curvature does not cancel but is of order 1e-4.
          const double tolerance = name == "blobs" ? 1e-3 : 1e-6;
          CHECK_THAT(score[i], WithinAbs(slope, tolerance * (1.0 + std::abs(slope))));
        }
      }
    }
  }
}

TEST_CASE("moved events follow the moved densities", "[experiments][problem]") {
  // Of events moved to theta, log p(x | theta) - log p(x | 0) has the mean that follows from the
  // densities: reweighting the nominal events must give the same means of test functions.
  for (const std::string& name : slalom::problem_names()) {
    const Problem problem = make_problem(name);
    const LogDensity log_density = density_of(name);
    const std::size_t width = problem.columns.size();
    const double n = 200000;
    for (std::size_t k = 0; k < problem.variations.size(); ++k) {
      for (const double theta : {-0.3, 0.2}) {
        for (std::size_t process = 0; process < 2; ++process) {
          if (!concerns(problem.variations[k], problem.processes[process].name)) continue;
          CAPTURE(name, problem.variations[k].name, theta, process);
          const EventBatch nominal = problem.generate(process, static_cast<std::int64_t>(n), 11);
          const EventBatch other = problem.generate(process, static_cast<std::int64_t>(n), 12);
          const Vector x = values(nominal.features),
                       moved = values(
                           slalom::apply_variation(other, problem.variations[k], at_theta(theta))
                               .features);
          Vector steps(problem.variations.size(), 0.0), none = steps;
          steps[k] = theta;
          for (std::size_t j = 0; j < width; ++j) {
            double sum = 0.0, square = 0.0, expected = 0.0;
            for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
              const double* event = x.data() + i * width;
              const double weight = std::exp(log_density(process, event, steps.data()) -
                                             log_density(process, event, none.data()));
              const double y = event[j];
              const double f = weight * y;
              sum += f;
              square += f * f;
              expected += moved[i * width + j];
            }
            const double error = std::sqrt(2.0 * square / n) / std::sqrt(n);
            CHECK_THAT(expected / n, WithinAbs(sum / n, 5.0 * error));
          }
        }
      }
    }
  }
}

TEST_CASE("variations have derivatives by theta", "[experiments][problem]") {
  for (const std::string& name : slalom::problem_names()) {
    const Problem problem = make_problem(name);
    const EventBatch events = problem.events(6, 2).to(at::kDouble);
    for (const Variation& variation : problem.variations) {
      CAPTURE(name, variation.name);
      slalom::test::check_gradients(
          [&](const std::vector<Tensor>& inputs) {
            const EventBatch moved = slalom::apply_variation(events, variation, inputs[0]);
            return (moved.features * moved.features).sum();
          },
          {at_theta(0.3)});
    }
  }
}

TEST_CASE("INFERNO's bounds from its events and scores", "[experiments][problem]") {
  const Eigen::MatrixXd info = information(make_problem("inferno"), 500000, 47, 1.0);
  // Signal yield, r, lambda, background yield. Quadrature: see docs/problems.md.
  CHECK_THAT(uncertainty(info, {0}, {0}), WithinRel(14.706, 0.01));
  CHECK_THAT(uncertainty(info, {0, 1}, {0, 0}), WithinRel(15.504, 0.01));
  CHECK_THAT(uncertainty(info, {0, 1, 2}, {0, 0, 0}), WithinRel(15.636, 0.01));
  CHECK_THAT(uncertainty(info, {0, 1, 2}, {0, 0.4, 1.0}), WithinRel(15.607, 0.01));
  CHECK_THAT(uncertainty(info, {0, 1, 2, 3}, {0, 0.4, 1.0, 100.0}), WithinRel(16.880, 0.01));
}

TEST_CASE("bounds of the blobs", "[experiments][problem]") {
  const Problem problem = make_problem("blobs");
  const PlaneBound at_one = plane_bound(problem, 1.0), at_zero = plane_bound(problem, 0.0);
  CHECK_THAT(at_one.statistics, WithinAbs(0.2559, 5e-5));
  CHECK_THAT(at_one.total, WithinAbs(0.2559, 5e-5));
  CHECK_THAT(at_zero.statistics, WithinRel(1.0 / std::sqrt(4.0 * std::exp(8.0)), 1e-6));
  CHECK_THAT(at_zero.statistics, WithinAbs(0.00916, 5e-6));
  const Eigen::MatrixXd info = information(problem, 500000, 1, 20.0);
  CHECK_THAT(uncertainty(info, {0}, {0}), WithinRel(at_one.statistics, 0.01));
}

TEST_CASE("bounds of Wunsch's toy", "[experiments][problem]") {
  const Problem problem = make_problem("wunsch");
  const PlaneBound bound = plane_bound(problem, 1.0);
  CHECK_THAT(bound.statistics, WithinAbs(0.3293, 5e-5));
  CHECK_THAT(bound.total, WithinAbs(0.3560, 5e-5));
  const Eigen::MatrixXd info = information(problem, 500000, 1, 50.0);
  CHECK_THAT(uncertainty(info, {0}, {0}), WithinRel(bound.statistics, 0.01));
}

TEST_CASE("the optimal classifier on Wunsch's toy", "[experiments][problem]") {
  const Problem problem = make_problem("wunsch");
  const EventBatch events = problem.events(500000, 3);
  const slalom::ShiftedEvents shifted = slalom::shifted_copies(events, problem.variations[0]);
  // p = 1 / (1 + exp(x1 + x2 - 1)) in 8 bins of [0, 1]
  const auto yields = [](const EventBatch& batch, const char* process) {
    const EventBatch part = batch.of_process(process);
    const Vector x = values(part.features), w = values(part.weights);
    Vector bins(8, 0.0);
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double p = 1.0 / (1.0 + std::exp(x[2 * i] + x[2 * i + 1] - 1.0));
      bins[std::min<std::size_t>(7, static_cast<std::size_t>(8.0 * p))] += w[i];
    }
    return bins;
  };
  // x1 + x2 is Gaussian with variance 2.
  const auto exact = [](double total, double sum_of_means) {
    const auto below = [&](double k) {
      if (k == 0.0 || k == 8.0) return k / 8.0;
      return slalom::normal_cdf((std::log(k / (8.0 - k)) + sum_of_means - 1.0) / std::sqrt(2.0));
    };
    Vector bins;
    for (int k = 0; k < 8; ++k) bins.push_back(total * (below(k + 1.0) - below(k)));
    return bins;
  };
  const std::array<Vector, 4> generated = {yields(events, "signal"), yields(events, "background"),
                                           yields(shifted.up, "background"),
                                           yields(shifted.down, "background")};
  const std::array<Vector, 4> expected = {exact(50, 0), exact(1000, 2), exact(1000, 3),
                                          exact(1000, 1)};
  for (std::size_t t = 0; t < 4; ++t) {
    const double weight = (t == 0 ? 50.0 : 1000.0) / 500000.0;
    for (std::size_t k = 0; k < 8; ++k) {
      CHECK_THAT(generated[t][k],
                 WithinAbs(expected[t][k], 5.0 * std::sqrt(weight * expected[t][k])));
    }
  }
  const auto bounds = [](const std::array<Vector, 4>& y) {
    double i_mm = 0.0, i_ma = 0.0, i_aa = 1.0;
    for (std::size_t k = 0; k < 8; ++k) {
      const double slope = 0.5 * (y[2][k] - y[3][k]), all = y[0][k] + y[1][k];
      i_mm += y[0][k] * y[0][k] / all;
      i_ma += y[0][k] * slope / all;
      i_aa += slope * slope / all;
    }
    return PlaneBound{1.0 / std::sqrt(i_mm), 1.0 / std::sqrt(i_mm - i_ma * i_ma / i_aa)};
  };
  CHECK_THAT(bounds(expected).statistics, WithinAbs(0.3421, 5e-5));
  CHECK_THAT(bounds(expected).total, WithinAbs(0.4451, 5e-5));
  CHECK_THAT(bounds(generated).statistics, WithinRel(0.3421, 0.01));
  CHECK_THAT(bounds(generated).total, WithinRel(0.4451, 0.01));
}

TEST_CASE("bounds of the rotated blobs", "[experiments][problem]") {
  const Eigen::MatrixXd info = information(make_problem("gaussian"), 500000, 5, 500.0);
  CHECK_THAT(info(0, 0), WithinRel(218.9, 0.015));
  CHECK_THAT(info(1, 1), WithinRel(1.0e5, 0.03));
  CHECK(std::abs(info(0, 1)) < 0.01 * std::sqrt(info(0, 0) * info(1, 1)));
  CHECK_THAT(uncertainty(info, {0, 1}, {0, 0}), WithinRel(0.0676, 0.01));
}

TEST_CASE("bounds of the joint problem", "[experiments][problem]") {
  const Problem problem = make_problem("joint");
  const Eigen::MatrixXd info = information(problem, 500000, 9, 60.0);
  CHECK_THAT(uncertainty(info, {0}, {0}), WithinRel(0.2173, 0.01));
  CHECK_THAT(uncertainty(info, {0, 1, 2}, {0, 1.0, 100.0}), WithinRel(0.2370, 0.01));

  // Six bins: on either side of cos(angle) x1 + sin(angle) x2 = place, three in E; a cut on u.
  // Nothing but normal tails, but for the events.
  struct Choice {
    double angle, place, cut, low, high;
  };
  const auto exact = [](const Choice& c, std::size_t process, double theta) {
    const bool signal = process == k_signal;
    const double x = signal ? 0.8 : 0.0,
                 y = x * (std::cos(c.angle) + std::sin(c.angle)) + theta * std::sin(c.angle),
                 log_energy = std::log((signal ? 70.0 : 40.0) * (1.0 + 0.2 * theta)),
                 width = signal ? 0.3 : 0.6,
                 low = slalom::normal_cdf((std::log(c.low) - log_energy) / width),
                 high = slalom::normal_cdf((std::log(c.high) - log_energy) / width),
                 above = slalom::normal_cdf(y - c.place),
                 all = (signal ? 60.0 : 1000.0) * slalom::normal_cdf((signal ? 1.0 : 0.0) - c.cut);
    Vector bins;
    for (const double side : {1.0 - above, above}) {
      for (const double energy : {low, high - low, 1.0 - high}) bins.push_back(all * side * energy);
    }
    return bins;
  };
  const auto counted = [](const Choice& c, const EventBatch& events) {
    const Vector x = values(events.features), w = values(events.weights);
    Vector bins(6, 0.0);
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double* event = x.data() + 4 * i;
      if (event[2] < c.cut) continue;
      const bool above = std::cos(c.angle) * event[0] + std::sin(c.angle) * event[1] >= c.place;
      const int energy = (event[3] >= c.low ? 1 : 0) + (event[3] >= c.high ? 1 : 0);
      bins[static_cast<std::size_t>((above ? 3 : 0) + energy)] += w[i];
    }
    return bins;
  };
  // sigma(mu) with half-differences and a background normalisation of 10 %.
  const auto sigma = [](const Vector& s, const Vector& b, const Vector& up, const Vector& down) {
    Eigen::Matrix3d sum = Eigen::Vector3d(0.0, 1.0, 1.0).asDiagonal();
    for (std::size_t k = 0; k < s.size(); ++k) {
      const Eigen::Vector3d slope(s[k], 0.5 * (up[k] - down[k]), 0.1 * b[k]);
      sum += slope * slope.transpose() / (s[k] + b[k]);
    }
    return std::sqrt(sum.inverse()(0, 0));
  };
  const auto add = [](Vector a, const Vector& b) {
    for (std::size_t k = 0; k < a.size(); ++k) a[k] += b[k];
    return a;
  };
  const EventBatch events = problem.events(400000, 21);
  const slalom::ShiftedEvents shifted = slalom::shifted_copies(events, problem.variations[0]);
  const double diagonal = 0.25 * std::numbers::pi, half = 0.8 / std::sqrt(2.0);
  const std::vector<std::pair<Choice, double>> choices = {
      {{diagonal, half, -2.0, 50.0, 100.0}, 0.48920},           // the classifier at 1/2, no cut
      {{-0.21888, 0.51312, -2.0, 50.0, 100.0}, 0.46382},        // the best classifier alone
      {{diagonal, half, -2.0, 50.896, 122.312}, 0.47471},       // the best edges alone
      {{diagonal, half, 0.68173, 50.0, 100.0}, 0.42111},        // the best cut alone
      {{diagonal, half, 0.66428, 47.606, 120.740}, 0.41201},    // the best cut and edges
      {{1.10376, 0.21739, 0.70886, 48.625, 123.244}, 0.40498},  // where descent from the first ends
      {{-0.25726, 0.37833, 0.71473, 50.023, 121.752}, 0.38257}};  // the best of all
  for (const auto& [choice, expected] : choices) {
    CAPTURE(expected);
    const auto both = [&, &chosen = choice](double theta) {
      return add(exact(chosen, k_background, theta), exact(chosen, k_signal, theta));
    };
    CHECK_THAT(sigma(exact(choice, k_signal, 0.0), exact(choice, k_background, 0.0), both(1.0),
                     both(-1.0)),
               WithinAbs(expected, 1e-5));
    CHECK_THAT(sigma(counted(choice, events.of_process("signal")),
                     counted(choice, events.of_process("background")), counted(choice, shifted.up),
                     counted(choice, shifted.down)),
               WithinRel(expected, 0.01));
  }
}

TEST_CASE("the significance of the cut", "[experiments][problem]") {
  const EventBatch events = make_problem("cuts").events(1000000, 1);
  const auto significance = [](double s, double b) {
    return std::sqrt(2.0 * ((s + b) * std::log1p(s / b) - s));
  };
  CHECK_THAT(significance(300.0, 8000.0), WithinAbs(3.3335, 5e-4));  // without a cut
  // The best soft cut of slope 1, and the notebook's, whose 8300 events place it to +-0.6.
  const auto soft = [&](double c) {
    const auto kept = [&](const char* process) {
      double sum = 0.0;
      const double weight = process == std::string("signal") ? 300e-6 : 8000e-6;
      for (const double x : values(events.of_process(process).column("x"))) {
        sum += weight / (1.0 + std::exp(c - x));
      }
      return sum;
    };
    return significance(kept("signal"), kept("background"));
  };
  CHECK_THAT(soft(44.670), WithinRel(4.89293, 0.003));
  CHECK(soft(44.670) > soft(43.2));
  CHECK(soft(44.670) > soft(46.2));
  // Hard cuts: the generated events against normal tails; 4.99772 at 44.875 is the best.
  for (const double c : {40.0, 44.875, 48.0}) {
    const auto kept = [&](const char* process) {
      const EventBatch part = events.of_process(process);
      return (part.weights * (part.column("x") >= c).to(at::kDouble)).sum().item<double>();
    };
    const double exact = significance(300.0 * slalom::normal_cdf((50.0 - c) / 5.0),
                                      8000.0 * slalom::normal_cdf((40.0 - c) / 10.0));
    CHECK_THAT(significance(kept("signal"), kept("background")), WithinRel(exact, 0.005));
    CHECK(exact < 4.997716);
  }
}

TEST_CASE("the significance of the cut on a falling background", "[experiments][problem]") {
  const Problem problem = make_problem("exponential_cut");
  const auto significance = [](double s, double b) {
    return std::sqrt(2.0 * ((s + b) * std::log1p(s / b) - s));
  };
  // Exact densities on a fine grid; what is kept is a sum of weights.
  const LogDensity density = density_of("exponential_cut");
  constexpr int k_points = 40000;
  constexpr double k_low = -1.0, k_high = 30.0;
  const auto integral = [&](std::size_t process, const std::function<double(double)>& weight) {
    const double width = (k_high - k_low) / k_points;
    double sum = 0.0;
    for (int i = 0; i < k_points; ++i) {
      const double x = k_low + (i + 0.5) * width;
      sum += width * weight(x) * std::exp(density(process, &x, nullptr));
    }
    return problem.processes[process].yield * sum;
  };
  const auto exact = [&](const std::function<double(double)>& weight) {
    return significance(integral(k_signal, weight), integral(k_background, weight));
  };
  const auto hard = [](double c) { return [c](double x) { return x >= c ? 1.0 : 0.0; }; };
  const auto soft = [](double c) {
    return [c](double x) { return 1.0 / (1.0 + std::exp(2.7 * (c - x))); };
  };
  CHECK_THAT(exact([](double) { return 1.0; }), WithinAbs(3.1117, 5e-5));
  CHECK_THAT(exact(hard(1.4277)), WithinAbs(5.3309, 5e-4));  // a grid's edge is off by half a cell
  CHECK_THAT(exact(soft(1.3449)), WithinAbs(4.2878, 5e-5));
  for (const double step : {-0.1, 0.1}) {
    CHECK(exact(hard(1.4277 + step)) < exact(hard(1.4277)));
    CHECK(exact(soft(1.3449 + step)) < exact(soft(1.3449)));
  }
  // The events, against the densities; the soft optimum costs little with a hard cut.
  const EventBatch events = problem.events(1000000, 1);
  for (const double c : {1.0, 1.3449, 1.4277, 2.0}) {
    const auto kept = [&](const char* process) {
      const EventBatch part = events.of_process(process);
      return (part.weights * (part.column("x") >= c).to(at::kDouble)).sum().item<double>();
    };
    CHECK_THAT(significance(kept("signal"), kept("background")), WithinRel(exact(hard(c)), 0.005));
  }
  CHECK_THAT(exact(hard(1.3449)), WithinAbs(5.3091, 5e-4));
}
