// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/fit.hpp"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "engine/engine.hpp"
#include "engine/minimizer.hpp"

namespace slalom {

using detail::ChannelLayout;
using detail::Engine;
using detail::EngineState;
using detail::k_no_parameter;
using detail::Level;
using detail::LocalMinimum;
using detail::Minimizer;
using detail::Mode;
using detail::ParameterPlace;

namespace detail {

/// Everything a Fitter reuses.
struct FitState {
  explicit FitState(const Model& m) : model(m), state(m.engine()), minimizer(state) {}
  Model model;
  EngineState state;
  Minimizer minimizer;
  std::vector<double> start;  ///< shared parameters
  LocalMinimum best, other;
};

}  // namespace detail

const char* to_string(FitStatus status) {
  switch (status) {
    case FitStatus::converged:
      return "converged";
    case FitStatus::iteration_limit:
      return "iteration_limit";
    case FitStatus::stalled:
      return "stalled";
    case FitStatus::infeasible:
      break;
  }
  return "infeasible";
}

namespace {

[[noreturn]] void bad_option(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::model, message, where);
}

/// Value and state of every parameter at the start of a fit.
struct Start {
  std::vector<double> values;
  std::vector<bool> fixed;
};

Start make_start(const ModelSpec& spec, const FitOptions& options) {
  const std::size_t n = spec.parameters.size();
  Start start{spec.initial(), std::vector<bool>(n)};
  for (std::size_t i = 0; i < n; ++i) start.fixed[i] = spec.parameters[i].fixed;
  if (!options.init.empty()) {
    if (options.init.size() != n) {
      bad_option(
          std::to_string(n) + " values expected, found " + std::to_string(options.init.size()),
          "init");
    }
    start.values = options.init;
  }
  for (std::size_t i : options.floating) {
    if (i >= n) bad_option("no parameter has index " + std::to_string(i), "floating");
    start.fixed[i] = false;
  }
  for (const auto& [i, value] : options.fixed) {
    if (i >= n) bad_option("no parameter has index " + std::to_string(i), "fixed");
    start.fixed[i] = true;
    start.values[i] = value;
  }
  for (std::size_t i = 0; i < n; ++i) {
    const Parameter& p = spec.parameters[i];
    if (!std::isfinite(start.values[i])) bad_option("the start is not finite", p.name);
    if (!start.fixed[i] && (start.values[i] < p.lower || start.values[i] > p.upper)) {
      bad_option("the start " + std::to_string(start.values[i]) + " is outside the bounds [" +
                     std::to_string(p.lower) + ", " + std::to_string(p.upper) + "]",
                 p.name);
    }
  }
  return start;
}

/// Hands start and bounds to the minimiser.
void apply(const Start& start, detail::FitState& f) {
  const ModelSpec& spec = f.model.spec();
  f.start.assign(f.state.engine.shared.size(), 0.0);
  for (std::size_t i = 0; i < start.values.size(); ++i) {
    const Parameter& p = spec.parameters[i];
    const ParameterPlace place = f.state.engine.places[i];
    const double low = start.fixed[i] ? start.values[i] : p.lower;
    const double high = start.fixed[i] ? start.values[i] : p.upper;
    if (place.local) {
      f.state.arrays.local_lower[place.index] = low;
      f.state.arrays.local_upper[place.index] = high;
      f.state.arrays.gamma[place.index] = start.values[i];
    } else {
      f.start[place.index] = start.values[i];
      f.minimizer.held[place.index] = start.fixed[i] ? 1 : 0;
      f.minimizer.lower[place.index] = low;
      f.minimizer.upper[place.index] = high;
    }
  }
}

/// Where the likelihood is zero whatever the other parameters are, as far as one point can tell.
std::string infeasible_message(detail::FitState& f) {
  std::copy(f.start.begin(), f.start.end(), f.state.arrays.theta);
  f.state.engine.kernels->rates(f.state.engine.arrays, f.state.arrays);
  const ModelSpec& spec = f.model.spec();
  for (std::size_t i = 0; i < spec.channels.size(); ++i) {
    const ChannelLayout& c = f.state.engine.channels[i];
    for (std::size_t b = 0; b < c.n_bins; ++b) {
      const double rate = f.state.arrays.rate[c.bin0 + b], n = f.state.arrays.n[c.bin0 + b];
      if (rate > 0.0 || (rate == 0.0 && n == 0.0)) continue;
      return "no starting point with a finite likelihood was found; at the start " +
             std::to_string(rate) + " events are expected in bin " + std::to_string(b) +
             " of channel '" + spec.channels[i].name + "', where " + std::to_string(n) +
             " were observed";
    }
  }
  return "no starting point with a finite likelihood was found";
}

void fill_result(const Start& start, detail::FitState& f, FitResult& result) {
  const ModelSpec& spec = f.model.spec();
  const std::size_t n = spec.parameters.size();
  const LocalMinimum& best = f.best;
  result.status = best.status;
  result.fixed = start.fixed;
  result.at_bound.assign(n, false);
  result.parameters = start.values;
  result.iterations = f.minimizer.iterations;
  result.evaluations = f.minimizer.evaluations;
  if (best.status == FitStatus::infeasible) {
    result.message = infeasible_message(f);
    return;
  }
  for (std::size_t i = 0; i < n; ++i) {
    const ParameterPlace place = f.state.engine.places[i];
    if (start.fixed[i]) continue;
    const double value = place.local ? best.gamma[place.index] : best.theta[place.index];
    result.parameters[i] = value;
    result.at_bound[i] = value <= spec.parameters[i].lower || value >= spec.parameters[i].upper;
  }
  result.twice_nll = 2.0 * best.nll;
  result.kkt_residual = best.kkt_residual;
  result.edm = best.edm;
  result.smallest_eigenvalue = best.smallest_eigenvalue;
}

std::string status_message(const FitResult& result) {
  switch (result.status) {
    case FitStatus::converged:
      return "converged";
    case FitStatus::iteration_limit:
      return "the limit of iterations was reached; the largest scaled gradient component is " +
             std::to_string(result.kkt_residual);
    case FitStatus::stalled:
      return "no step lowers -log L although the largest scaled gradient component is " +
             std::to_string(result.kkt_residual) + ", or the curvature there is not positive";
    case FitStatus::infeasible:
      break;
  }
  return result.message;
}

}  // namespace

Fitter::Fitter(const Model& model) : state_(std::make_unique<detail::FitState>(model)) {}
Fitter::~Fitter() = default;
Fitter::Fitter(Fitter&&) noexcept = default;
Fitter& Fitter::operator=(Fitter&&) noexcept = default;

const Model& Fitter::model() const { return state_->model; }
void Fitter::set_data(std::span<const double> data) { state_->state.set_data(data); }
std::span<const double> Fitter::data() const { return state_->state.data; }

FitResult Fitter::fit(const FitOptions& options) {
  detail::FitState& f = *state_;
  const Start start = make_start(f.model.spec(), options);
  apply(start, f);
  f.minimizer.tolerance = options.tolerance;
  f.minimizer.max_iterations = options.max_iterations;
  f.minimizer.iterations = f.minimizer.evaluations = 0;
  FitResult result;
  f.minimizer.run(f.start, f.best);
  result.starts = 1;
  fill_result(start, f, result);
  result.message = status_message(result);
  return result;
}

}  // namespace slalom
