// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/problem.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <utility>

#include "cli/suggest.hpp"
#include "problems/generator.hpp"
#include "slalom/core/error.hpp"

namespace slalom {

namespace {

using Maker = Problem (*)();

const std::vector<std::pair<std::string, Maker>>& makers() {
  static const std::vector<std::pair<std::string, Maker>> all = {
      {"inferno", detail::inferno}, {"blobs", detail::blobs}, {"wunsch", detail::wunsch},
      {"joint", detail::joint},     {"cuts", detail::cuts},   {"gaussian", detail::gaussian}};
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

Tensor scalar(const Tensor& theta, const std::string& name) {
  if (theta.numel() != 1) {
    throw Error(ErrorKind::usage,
                "one theta expected, found " + std::to_string(theta.numel()) + " elements", name);
  }
  return theta.reshape({});
}

Tensor scalar_above(const Tensor& theta, double relative, const std::string& name) {
  const Tensor result = scalar(theta, name);
  const double value = result.item<double>();
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
