// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/learned_mixture.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "check.hpp"
#include "slalom/core/random.hpp"
#include "to_tensor.hpp"
#include "training.hpp"

namespace slalom {

using detail::require;
using detail::shape_of;
using detail::to_tensor;

namespace {

constexpr const char* k_where = "learned_mixture";
constexpr std::uint32_t k_bootstrap_family = 0x1ea55001, k_part_family = 0x1ea55002;

std::vector<double> numbers(const Tensor& tensor) {
  const Tensor flat = tensor.to(at::kDouble).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

/// What the means over the reference are kept of: all r_k, and the geometric means of both
/// processes, near which mixtures are [m, C + 2].
Tensor functions_of(const Tensor& logs, std::int64_t signal) {
  return at::exp(at::cat(
      {logs, logs.slice(1, 0, signal).mean({1}, true), logs.slice(1, signal).mean({1}, true)}, 1));
}

/// The measure q (1 + linear function of the functions) that gives them the means that are wanted;
/// the linear function with the least variance.
Tensor calibrated(const Tensor& measure, const Tensor& functions, const Tensor& wanted) {
  const Tensor centred = functions - measure.matmul(functions);
  const Tensor covariance = centred.t().matmul(centred * measure.unsqueeze(1));
  const auto [values, vectors] = at::linalg_eigh(covariance);
  // Directions in which the functions do not differ: of all r_k, the mean is 1 at every point.
  constexpr double k_least = 1e-10;
  const Tensor inverse =
      at::where(values > k_least * values.max(), 1.0 / values, at::zeros_like(values));
  const Tensor step = wanted - measure.matmul(functions);
  const Tensor factors = vectors.matmul(inverse * vectors.t().matmul(step));
  const Tensor result = measure * (1.0 + centred.matmul(factors));
  if (!at::isfinite(result).all().item<bool>() || result.min().item<double>() < 0.0) {
    throw Error(ErrorKind::numerical,
                "a reference of too few events to be calibrated: some would get a negative measure",
                k_where);
  }
  return result;
}

}  // namespace

LearnedPoints learned_points(const Tensor& data, const Tensor& reference,
                             const LearnedPointsOptions& options) {
  const at::NoGradGuard no_graph;
  require(data.dim() == 2 && reference.dim() == 2 && data.size(1) == reference.size(1) &&
              reference.size(0) > 0,
          "log ratios [events, classes] of data and reference expected, found " + shape_of(data) +
              " and " + shape_of(reference),
          k_where);
  const std::int64_t classes = data.size(1);
  const std::int64_t signal =
      options.signal_classes > 0 ? static_cast<std::int64_t>(options.signal_classes) : classes / 2;
  require(signal > 0 && signal < classes && (options.signal_classes > 0 || classes % 2 == 0),
          "classes of a signal and of a background expected, found " + std::to_string(classes) +
              " in all",
          k_where);
  const Tensor all = reference.to(at::kCPU, at::kDouble), x = data.to(at::kCPU, at::kDouble);
  if (!at::isfinite(all).all().item<bool>() || !at::isfinite(x).all().item<bool>()) {
    throw Error(ErrorKind::numerical, "log ratios that are not finite", k_where);
  }
  Tensor weights = at::ones({all.size(0)}, at::kDouble);
  if (options.bootstrap != 0) {
    RandomStream random(options.bootstrap, 0, k_bootstrap_family);
    for (std::int64_t i = 0; i < weights.size(0); ++i) {
      weights.data_ptr<double>()[i] = random.poisson(1.0);
    }
  }
  Tensor picked = all, measure = weights;
  const auto most = static_cast<std::int64_t>(options.reference);
  const bool part = most > 0 && most < all.size(0);
  if (part) {
    std::vector<std::int64_t> order = detail::permutation(all.size(0), 0, 0, k_part_family);
    order.resize(static_cast<std::size_t>(most));
    const Tensor places = to_tensor(order);
    picked = all.index_select(0, places);
    measure = weights.index_select(0, places);
  }
  if (!(measure.sum().item<double>() > 0.0)) {
    throw Error(ErrorKind::numerical, "a reference without weight", k_where);
  }
  measure = measure / measure.sum();
  if (part && options.calibrate_measure) {
    const Tensor wanted = (weights / weights.sum()).matmul(functions_of(all, signal));
    measure = calibrated(measure, functions_of(picked, signal), wanted);
  }
  const Tensor points = at::cat({x, picked}, 0).t();  // [C, P]
  LearnedPoints result;
  result.signal = numbers(points.slice(0, 0, signal));
  result.background = numbers(points.slice(0, signal));
  result.measure.assign(static_cast<std::size_t>(x.size(0)), 0.0);
  result.counts.assign(static_cast<std::size_t>(x.size(0)), 1.0);
  const std::vector<double> q = numbers(measure);
  result.measure.insert(result.measure.end(), q.begin(), q.end());
  result.counts.resize(result.measure.size(), 0.0);
  result.signal_count = static_cast<std::size_t>(signal);
  result.background_count = static_cast<std::size_t>(classes - signal);
  return result;
}

TemplateMixture learned_mixture(const LearnedPoints& points, const LearnedMixtureOptions& options) {
  std::vector<ShapePrior> priors;
  std::vector<MixtureProcess> processes;
  std::size_t first = 1;
  for (const bool is_signal : {true, false}) {
    const std::vector<double>& logs = is_signal ? points.signal : points.background;
    const std::size_t k = is_signal ? points.signal_count : points.background_count;
    if (k < 2 || !options.population_prior) {
      processes.push_back(exponential_mixture(logs, k));
      if (k > 1) priors.push_back(ridge_prior(first, k, options.ridge));
    } else {
      const SimulationSpread spread =
          simulation_spread(logs, points.measure, k, options.directions);
      processes.push_back(spread_mixture(spread));
      priors.push_back(population_prior(spread.coordinates, k, first, options.population));
    }
    first += processes.back().start.size();
  }
  TemplateMixture result(std::move(processes[0]), std::move(processes[1]), points.measure,
                         std::move(priors));
  result.set_data(points.counts);
  return result;
}

double LearnedFit::error() const { return std::hypot(best.laplace_error(), ratio_error); }

double LearnedFit::sandwich_error() const { return std::hypot(best.sandwich_error(), ratio_error); }

LearnedFit fit_members(const LearnedPoints& combined, const std::vector<LearnedPoints>& members,
                       const LearnedMixtureOptions& mixture, const MixtureFitOptions& options) {
  require(members.size() > 1, "two members at least expected", k_where);
  LearnedFit result;
  result.best = fit(learned_mixture(combined, mixture), options);
  double sum = 0.0;
  for (const LearnedPoints& member : members) {
    const MixtureFit own = fit(learned_mixture(member, mixture), options);
    if (own.converged()) {
      result.member_kappa.push_back(own.kappa());
      sum += own.kappa();
    } else {
      ++result.failures;
    }
  }
  const auto n = static_cast<double>(result.member_kappa.size());
  if (n > 1.0) {
    double square = 0.0;
    for (const double kappa : result.member_kappa) square += std::pow(kappa - sum / n, 2);
    result.ratio_error = std::sqrt((1.0 + 1.0 / n) * square / (n - 1.0));
  }
  return result;
}

}  // namespace slalom
