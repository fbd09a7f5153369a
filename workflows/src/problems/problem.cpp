// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/problem.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <numbers>
#include <utility>

#include "cli/suggest.hpp"
#include "problems/generator.hpp"
#include "slalom/core/error.hpp"

namespace slalom {

namespace {

using Maker = Problem (*)();

const std::vector<std::pair<std::string, Maker>>& makers() {
  static const std::vector<std::pair<std::string, Maker>> all = {
      {"inferno", detail::inferno}, {"blobs", detail::blobs},
      {"wunsch", detail::wunsch},   {"joint", detail::joint},
      {"cuts", detail::cuts},       {"gaussian", detail::gaussian},
      {"pivot", detail::pivot},     {"exponential_cut", detail::exponential_cut}};
  return all;
}

/// Keeps the events of problems apart from toys and shuffles of the same seed.
constexpr std::uint32_t k_family = 0x65766e74;

}  // namespace

namespace detail {

void set_generator(Problem& problem, Draw draw) {
  std::vector<std::string> names;
  for (const ProblemProcess& process : problem.processes) names.push_back(process.name);
  problem.generate = [name = problem.name, columns = problem.columns, names,
                      processes = problem.processes,
                      draw](std::size_t process, std::int64_t n, std::uint64_t seed) {
    if (process >= names.size()) {
      throw Error(ErrorKind::usage,
                  "no process " + std::to_string(process) + " (there are " +
                      std::to_string(names.size()) + ")",
                  name);
    }
    if (n <= 0) throw Error(ErrorKind::usage, "the number of events must be positive", name);
    const std::size_t width = columns.size();
    const Tensor features = at::empty({n, static_cast<std::int64_t>(width)}, at::kFloat);
    float* row = features.data_ptr<float>();
    RandomStream random(seed, process, k_family);
    std::vector<double> event(width);
    for (std::int64_t i = 0; i < n; ++i) {
      draw(random, process, event.data());
      for (const double x : event) *row++ = static_cast<float>(x);
    }
    const Tensor label = at::full({n}, processes[process].signal ? 1 : 0, at::kLong);
    const Tensor index = at::full({n}, static_cast<std::int64_t>(process), at::kLong);
    return make_events(columns, features, {}, label, index, names);
  };
}

void set_lattice(Problem& problem, const std::vector<PlaneGaussian>& shapes) {
  // Six standard deviations leave out 4e-9.
  constexpr double k_reach = 6.0;
  // Turned by an angle whose tangent is the golden ratio: no line of a simple direction, such as
  // the edge of a bin, then runs along rows of points, and the error of hard bins is that of many
  // independent roundings.
  const double tangent = std::numbers::phi, cosine = 1.0 / std::sqrt(1.0 + tangent * tangent),
               sine = tangent * cosine;
  std::vector<std::string> names;
  for (const ProblemProcess& process : problem.processes) names.push_back(process.name);
  problem.lattice = [=, name = problem.name, columns = problem.columns,
                     processes = problem.processes](std::size_t process, std::int64_t points) {
    if (process >= shapes.size() || points < 2) {
      throw Error(ErrorKind::usage, "a lattice needs a process and 2 points an axis", name);
    }
    const PlaneGaussian& shape = shapes[process];
    const double h = 2.0 * k_reach / static_cast<double>(points);
    const std::int64_t n = points * points;
    const Tensor features = at::empty({n, 2}, at::kFloat), weights = at::empty({n}, at::kDouble);
    float* x = features.data_ptr<float>();
    double* w = weights.data_ptr<double>();
    for (std::int64_t k = 0; k < n; ++k) {
      const double i = h * (static_cast<double>(k / points) + 0.5) - k_reach,
                   j = h * (static_cast<double>(k % points) + 0.5) - k_reach,
                   u = cosine * i - sine * j, v = sine * i + cosine * j;
      x[2 * k] = static_cast<float>(shape.x + shape.a * u);
      x[2 * k + 1] = static_cast<float>(shape.y + shape.b * u + shape.c * v);
      w[k] = std::exp(-0.5 * (i * i + j * j));
    }
    const Tensor label = at::full({n}, processes[process].signal ? 1 : 0, at::kLong);
    const Tensor index = at::full({n}, static_cast<std::int64_t>(process), at::kLong);
    return make_events(columns, features, weights / weights.sum(), label, index, names);
  };
}

Tensor theta_at(const Tensor& theta, std::int64_t variation) {
  return theta.defined() ? theta.select(-1, variation).to(at::kDouble) : at::zeros({}, at::kDouble);
}

Tensor theta_above(const Tensor& theta, const EventBatch& events, double relative,
                   const std::string& name) {
  Tensor result = theta_of(theta, events, name);
  if (result.numel() == 0) return result;
  const double value = (relative < 0.0 ? result.max() : result.min()).item<double>();
  if (!(1.0 + relative * value > 0.0)) {
    throw Error(ErrorKind::usage,
                "theta = " + std::to_string(value) + " makes the scale zero or negative", name);
  }
  return result;
}

std::vector<ProblemProcess> two_processes(double background, double signal) {
  return {{"background", background, false}, {"signal", signal, true}};
}

}  // namespace detail

EventBatch Problem::events(std::int64_t n, std::uint64_t seed) const {
  std::vector<EventBatch> all;
  for (std::size_t p = 0; p < processes.size(); ++p) {
    const EventBatch events = generate(p, n, seed);
    all.push_back(
        events.with_weights(events.weights * (processes[p].yield / static_cast<double>(n))));
  }
  return concatenate(all);
}

EventBatch Problem::lattice_events(std::int64_t points) const {
  if (!lattice) throw Error(ErrorKind::usage, "the problem has no lattice", name);
  std::vector<EventBatch> all;
  for (std::size_t p = 0; p < processes.size(); ++p) {
    const EventBatch events = lattice(p, points);
    all.push_back(events.with_weights(events.weights * processes[p].yield));
  }
  return concatenate(all);
}

const std::vector<std::string>& problem_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> result;
    for (const auto& [name, maker] : makers()) result.push_back(name);
    return result;
  }();
  return names;
}

Problem make_problem(const std::string& name) {
  std::string known;
  for (const auto& [other, maker] : makers()) {
    if (other == name) return maker();
    known += (known.empty() ? "" : ", ") + other;
  }
  throw Error(ErrorKind::usage,
              "no built-in problem of this name (there are: " + known + ")" +
                  cli::did_you_mean(name, problem_names()),
              name);
}

}  // namespace slalom
