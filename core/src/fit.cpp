// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/fit.hpp"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "edge.hpp"
#include "fit_state.hpp"

namespace slalom {

using detail::ChannelLayout;
using detail::Engine;
using detail::EngineState;
using detail::Level;
using detail::LocalMinimum;
using detail::Minimizer;
using detail::Mode;
using detail::ParameterPlace;

namespace {

/// Even part of a parameter's effect on the rates, in units of their Poisson uncertainties,
/// squared: below it the likelihood cannot bend enough for two minima.
constexpr double k_least_asymmetry = 0.05;
/// Each costs two evaluations; in models with hundreds of systematics only the most asymmetric ones
/// are looked at.
constexpr std::size_t k_most_candidates = 12;

/// Shared parameters with a histosys in a channel.
std::vector<std::size_t> histosys_parameters(const Engine& engine, const ChannelSpec& channel) {
  std::vector<bool> is_there(engine.shared.size(), false);
  for (const SampleSpec& sample : channel.samples) {
    for (const HistosysTerm& t : sample.histosys) is_there[engine.places[t.parameter].index] = true;
  }
  std::vector<std::size_t> result;
  for (std::size_t i = 0; i < is_there.size(); ++i) {
    if (is_there[i]) result.push_back(i);
  }
  return result;
}

std::vector<std::size_t> asymmetric_parameters(const Engine& engine) {
  std::vector<double> strength, even;
  for (const ChannelSpec& channel : engine.spec.channels) {
    const std::vector<std::size_t> parameters = histosys_parameters(engine, channel);
    if (parameters.empty()) continue;
    strength.resize(engine.shared.size(), 0.0);
    even.resize(engine.shared.size(), 0.0);
    for (std::size_t b = 0; b < channel.n_bins; ++b) {
      for (std::size_t i : parameters) even[i] = 0.0;
      double total = 0.0;
      for (const SampleSpec& sample : channel.samples) {
        total += sample.nominal[b];
        for (const HistosysTerm& t : sample.histosys) {
          even[engine.places[t.parameter].index] +=
              0.5 * ((t.hi[b] - sample.nominal[b]) + (t.lo[b] - sample.nominal[b]));
        }
      }
      for (std::size_t i : parameters) strength[i] += even[i] * even[i] / std::max(total, 1.0);
    }
  }
  std::vector<std::size_t> result;
  for (std::size_t i = 0; i < strength.size(); ++i) {
    if (strength[i] > k_least_asymmetry) result.push_back(i);
  }
  std::sort(result.begin(), result.end(),
            [&](std::size_t a, std::size_t b) { return strength[a] > strength[b]; });
  result.resize(std::min(result.size(), k_most_candidates));
  return result;
}

/// Poisson-constrained per-bin parameters that may well have no counts, each with the systematics
/// that scale its sample most.
std::vector<detail::WeakLocal> weak_locals(const Engine& engine) {
  constexpr double most_counts = 3.0;
  constexpr double least_effect = 0.4;
  std::vector<detail::WeakLocal> result;
  for (const ChannelSpec& channel : engine.spec.channels) {
    for (const SampleSpec& sample : channel.samples) {
      for (const BinwiseTerm& term : sample.binwise) {
        for (std::size_t b = 0; b < term.parameters.size(); ++b) {
          const Parameter& gamma = engine.spec.parameters[term.parameters[b]];
          const ParameterPlace place = engine.places[term.parameters[b]];
          if (gamma.constraint != ConstraintType::poisson || gamma.tau > most_counts) continue;
          if (!place.local || gamma.fixed) continue;
          const auto add = [&](std::size_t parameter, double up, double down) {
            const double effect = std::abs(up) >= std::abs(down) ? up : down;
            if (std::abs(effect) < least_effect) return;
            result.push_back({place.index, engine.places[parameter].index,
                              effect > 0.0 ? 1.0 : -1.0, std::abs(effect)});
          };
          for (const NormsysTerm& t : sample.normsys) {
            add(t.parameter, std::log(t.hi), -std::log(t.lo));
          }
          const double nominal = std::max(std::abs(sample.nominal[b]), 1e-9);
          for (const HistosysTerm& t : sample.histosys) {
            add(t.parameter, (t.hi[b] - sample.nominal[b]) / nominal,
                (sample.nominal[b] - t.lo[b]) / nominal);
          }
        }
      }
    }
  }
  std::sort(result.begin(), result.end(),
            [](const auto& a, const auto& b) { return a.effect > b.effect; });
  result.resize(std::min(result.size(), k_most_candidates));
  return result;
}

}  // namespace

detail::FitState::FitState(const Model& m) : model(m), state(m.engine()), minimizer(state) {
  find_candidates();
}

void detail::FitState::find_candidates() {
  asymmetric = asymmetric_parameters(model.engine());
  weak = weak_locals(model.engine());
}

void detail::refresh(Fitter& fitter) {
  FitState& f = FitAccess::state(fitter);
  f.state.refresh();
  f.find_candidates();
  f.references.clear();
  for (Minimizer::Factor* factor : {&f.best_factor, &f.kept_factor, &f.held_factor}) {
    factor->valid = false;
  }
}

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

/// Replaces an infeasible start by a feasible one: the suggested start, or a point of a fixed
/// sequence that spreads over the pre-fit uncertainties. False if none is found.
bool find_feasible_start(detail::FitState& f) {
  const ModelSpec& spec = f.model.spec();
  const std::vector<std::size_t>& shared = f.state.engine.shared;
  constexpr int most_trials = 300;
  constexpr double golden_ratio = 0.6180339887498949;
  for (int trial = 0; trial < most_trials; ++trial) {
    for (std::size_t i = 0; i < shared.size(); ++i) {
      if (f.minimizer.held[i] != 0) continue;
      const Parameter& p = spec.parameters[shared[i]];
      // Irrational steps fill the interval evenly, differently for each parameter.
      const double u =
          std::fmod((0.5 + trial * (static_cast<double>(i) + 1.0)) * golden_ratio, 1.0);
      const double spread = std::min(1.0, trial / 50.0) * (2.0 * u - 1.0);
      const double width = p.prefit_uncertainty();
      const double value =
          width > 0.0 ? p.init + 2.0 * width * spread : p.init * std::exp2(4.0 * spread);
      f.start[i] = std::min(std::max(value, f.minimizer.lower[i]), f.minimizer.upper[i]);
    }
    std::copy(f.start.begin(), f.start.end(), f.state.arrays.theta);
    if (f.state.evaluate(Mode::profile, Level::value)) return true;
  }
  return false;
}

void fill_result(Start start, detail::FitState& f, FitResult& result) {
  const ModelSpec& spec = f.model.spec();
  const std::size_t n = spec.parameters.size();
  const LocalMinimum& best = f.best;
  result.status = best.status;
  result.fixed = std::move(start.fixed);
  result.at_bound.assign(n, false);
  result.parameters = std::move(start.values);
  result.iterations = f.minimizer.iterations;
  result.evaluations = f.minimizer.evaluations;
  if (best.status == FitStatus::infeasible) {
    result.message = infeasible_message(f);
    return;
  }
  for (std::size_t i = 0; i < n; ++i) {
    const ParameterPlace place = f.state.engine.places[i];
    if (result.fixed[i]) continue;
    const double value = place.local ? best.gamma[place.index] : best.theta[place.index];
    result.parameters[i] = value;
    result.at_bound[i] = value <= spec.parameters[i].lower || value >= spec.parameters[i].upper;
  }
  result.twice_nll = 2.0 * best.nll;
  result.kkt_residual = best.kkt_residual;
  result.edm = best.edm;
  result.smallest_eigenvalue = best.smallest_eigenvalue;
}

/// Names the bins where a best fit is at the end of the likelihood.
std::string edge_message(const ModelSpec& spec, const FitResult& result) {
  std::string bins;
  for (const EmptyBin& empty : result.empty_bins) {
    for (const ChannelSpec& channel : spec.channels) {
      if (empty.bin < channel.first_bin || empty.bin >= channel.first_bin + channel.n_bins)
        continue;
      bins += (bins.empty() ? " in bin " : ", in bin ") +
              std::to_string(empty.bin - channel.first_bin) + " of channel '" + channel.name + "'";
    }
  }
  return bins.empty() ? "" : "; the likelihood ends there: no events are expected" + bins;
}

std::string status_message(const ModelSpec& spec, const FitResult& result) {
  switch (result.status) {
    case FitStatus::converged:
      return "converged" + edge_message(spec, result);
    case FitStatus::iteration_limit:
      return "the limit of iterations was reached; the largest scaled gradient component is " +
             std::to_string(result.kkt_residual);
    case FitStatus::stalled:
      if (result.kkt_residual < 1e-6) {
        return "the gradient is zero, but the likelihood does not rise in all directions: a "
               "combination of parameters is not determined";
      }
      return "no step lowers -log L although the largest scaled gradient component is " +
             std::to_string(result.kkt_residual);
    case FitStatus::infeasible:
      break;
  }
  return result.message;
}

/// A start that needs more iterations than this crawls; another way is tried first.
constexpr int k_first_iterations = 60;

bool unfinished(const LocalMinimum& minimum) {
  return minimum.status == FitStatus::iteration_limit || minimum.status == FitStatus::stalled;
}

bool lower(const LocalMinimum& a, const LocalMinimum& b) {
  return a.status != FitStatus::infeasible && (b.status == FitStatus::infeasible || a.nll < b.nll);
}

/// Where the likelihood pushes the rate of a nearly empty bin towards zero, its logarithm is a wall
/// that Newton's method crawls along. With more events in such bins the wall is soft; they are
/// taken away step by step, each fit starting from the last one, as interior-point methods do.
void fit_with_softened_bins(detail::FitState& f, const std::vector<double>& start) {
  double* n = f.state.arrays.n;
  const std::vector<double> counts(n, n + f.state.engine.arrays.n_bins_padded);
  std::vector<double> point = start;
  f.minimizer.fisher_steps = 2;
  for (double floor = 30.0; floor > 1e-7; floor *= 0.3) {
    bool raised = false;
    for (const ChannelLayout& c : f.state.engine.channels) {
      for (std::size_t i = c.bin0; i < c.bin0 + c.n_bins; ++i) {
        n[i] = counts[i] > 0.0 ? std::max(counts[i], floor) : 0.0;
        raised = raised || n[i] > counts[i];
      }
    }
    if (!raised) break;
    f.minimizer.run(point, f.other);
    if (f.other.status != FitStatus::infeasible) point = f.other.theta;
    f.minimizer.fisher_steps = 0;
  }
  std::copy(counts.begin(), counts.end(), n);
  f.minimizer.run(point, f.other);
}

/// What a rate that is small but not zero may cost in -log L.
constexpr double k_nothing = 1e-8;

/// Looks for the minimum at the end of the likelihood, from the start and, if that leads to a
/// higher one, from where the fit stopped. \return whether it is the best point now
bool finish_at_edge(detail::FitState& f, FitResult& result) {
  const std::array<std::vector<double>, 2> starts = {f.start, f.best.theta};
  for (const std::vector<double>& start : starts) {
    if (start.empty()) break;
    ++result.starts;
    std::vector<EmptyBin> edges;
    const double stiffness = &start == &starts.front() ? detail::k_soft_edge : detail::k_stiff_edge;
    if (!detail::fit_at_edge(f, start, stiffness, f.other, edges)) continue;
    if (edges.empty()) {  // inside after all
      f.minimizer.fisher_steps = 0;
      f.minimizer.run(std::vector<double>(f.other.theta), f.other);
      if (f.other.status != FitStatus::converged) continue;
    }
    if (f.best.status != FitStatus::infeasible && f.other.nll > f.best.nll + k_nothing) continue;
    std::swap(f.best, f.other);
    result.empty_bins = std::move(edges);
    return true;
  }
  return false;
}

/// Where a second minimum may be, seen from one at `value`: on the other side of zero, or nearer to
/// it.
std::vector<double> other_sides(double value) {
  std::vector<double> targets = {value > 0.0 ? -std::max(value, 0.5) : std::max(-value, 0.5)};
  if (std::abs(value) > 0.8) targets.push_back(0.4 * value);
  return targets;
}

/// Looks for a start with a parameter at `target` from which a lower minimum may be reached, and
/// goes there. True if it was lower.
bool search_at(detail::FitState& f, std::size_t p, double target, int* starts) {
  if (!f.minimizer.promising_start(p, target, f.start)) return false;
  ++*starts;
  f.minimizer.save(f.best_factor, true);
  f.minimizer.known = &f.best;
  f.minimizer.run(f.start, f.other);
  f.minimizer.known = nullptr;
  if (f.other.status == FitStatus::converged && f.other.nll < f.best.nll - 1e-9) {
    std::swap(f.best, f.other);
    return true;
  }
  // promising_start() needs the factor at the best point again.
  f.minimizer.resume(f.best, f.best_factor);
  return false;
}

/// Looks along each asymmetric parameter, and along those that scale a sample whose per-bin
/// parameter vanished because its constraint has no counts. Returns the number of additional
/// starts.
int search_other_minima(detail::FitState& f) {
  int starts = 0;
  // Every improvement moves the point that the others are seen from.
  for (std::size_t p : f.asymmetric) {
    for (double target : other_sides(f.best.theta[p])) {
      if (search_at(f, p, target, &starts)) break;
    }
  }
  for (const detail::WeakLocal& w : f.weak) {
    const detail::StateArrays& st = f.state.arrays;
    if (st.local_centre[w.local] > 0.0 || f.best.gamma[w.local] > st.local_lower[w.local]) continue;
    for (double distance : {0.7, 1.4}) {
      if (search_at(f, w.shared, f.best.theta[w.shared] + w.direction * distance, &starts)) break;
    }
  }
  return starts;
}

/// Shared factor of the expected information at the values of `start`, with the data expected
/// there: it depends on nothing else, so that fits do not depend on what was fitted before.
const Minimizer::Factor& reference_factor(const Start& start, detail::FitState& f) {
  for (const detail::Reference& r : f.references) {
    if (r.values == start.values && r.fixed == start.fixed) return r.factor;
  }
  constexpr std::size_t most_references = 4;
  if (f.references.size() == most_references) f.references.erase(f.references.begin());
  detail::Reference& added = f.references.emplace_back();
  added.values = start.values;
  added.fixed = start.fixed;
  const std::vector<double> data = f.state.data;
  std::vector<double> expected = f.model.expected_data(start.values);
  const bool possible = std::all_of(
      expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(f.model.n_bins()),
      [](double n) { return std::isfinite(n) && n >= 0.0; });
  if (possible) {
    f.state.set_data(expected);
    f.minimizer.prepare(f.start, added.factor);
    f.state.set_data(data);
  }
  return added.factor;
}

/// Whether a run may begin with a factor from elsewhere, which is then in its place.
bool take_factor(const Start& start, detail::FirstFactor first, detail::FitState& f) {
  switch (first) {
    case detail::FirstFactor::none:
      return false;
    case detail::FirstFactor::last:
      return true;
    case detail::FirstFactor::held:
      f.minimizer.restore(f.held_factor);
      return f.held_factor.valid;
    case detail::FirstFactor::reference:
      break;
  }
  const Minimizer::Factor& factor = reference_factor(start, f);
  f.minimizer.restore(factor);
  return factor.valid;
}

/// The start that was asked for, or another one if the likelihood is zero there.
void first_starts(const Start& start, const FitOptions& options, detail::FirstFactor first,
                  detail::FitState& f, FitResult& result) {
  f.minimizer.fisher_steps = options.warm_start ? 0 : 2;
  f.minimizer.reuse_factor = take_factor(start, first, f);
  f.minimizer.run(f.start, f.best);
  if (f.minimizer.reuse_factor && f.best.status != FitStatus::converged) {
    f.minimizer.reuse_factor = false;
    f.minimizer.run(f.start, f.best);
  }
  f.minimizer.reuse_factor = false;
  ++result.starts;
  if (f.best.status != FitStatus::infeasible) return;
  const std::vector<double> asked = f.start;
  ++result.starts;
  if (find_feasible_start(f)) {
    f.minimizer.fisher_steps = 2;
    f.minimizer.run(f.start, f.best);
  } else {
    f.start = asked;
  }
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
  return detail::run_fit(*state_, options, detail::FirstFactor::none);
}

FitResult detail::run_fit(FitState& f, const FitOptions& options, FirstFactor first) {
  Start start = make_start(f.model.spec(), options);
  apply(start, f);
  f.minimizer.tolerance = options.tolerance;
  f.minimizer.max_iterations = std::min(options.max_iterations, k_first_iterations);
  f.minimizer.iterations = f.minimizer.evaluations = 0;
  f.minimizer.most_beyond_edge = Minimizer::k_beyond_edge;
  FitResult result;
  first_starts(start, options, first, f, result);
  const bool given_up = f.minimizer.at_edge();
  bool at_edge = (given_up || detail::stopped_at_edge(f, f.best)) && finish_at_edge(f, result);
  if (!at_edge && given_up) {  // to the end
    f.minimizer.most_beyond_edge = std::numeric_limits<int>::max();
    first_starts(start, options, first, f, result);
  }
  if (unfinished(f.best) && options.search_minima) {
    ++result.starts;
    fit_with_softened_bins(f, f.start);
    if (f.other.status == FitStatus::converged || lower(f.other, f.best)) {
      std::swap(f.best, f.other);
    }
  }
  if (f.best.status == FitStatus::iteration_limit && options.max_iterations > k_first_iterations) {
    f.minimizer.max_iterations = options.max_iterations;
    f.minimizer.fisher_steps = 0;
    f.minimizer.run(std::vector<double>(f.best.theta), f.other);
    if (!lower(f.best, f.other)) std::swap(f.best, f.other);
  }
  if (f.best.status != FitStatus::converged && !at_edge && detail::has_edges(f)) {
    at_edge = finish_at_edge(f, result);
  }
  if (options.search_minima && f.best.status == FitStatus::converged && result.empty_bins.empty()) {
    result.starts += search_other_minima(f);
  }
  fill_result(std::move(start), f, result);
  result.message = status_message(f.model.spec(), result);
  return result;
}

namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// The inverse Hessian in blocks. Local parameters of different bins meet only through the shared
/// ones, so with D the (block-diagonal) Hessian of the local parameters and C its coupling,
/// cov_ss = (H_ss - C' D^-1 C)^-1, cov_ls = -D^-1 C cov_ss, cov_ll = D^-1 + D^-1 C cov_ss C' D^-1.
struct BlockInverse {
  bool valid = false;
  std::vector<std::size_t> shared;     ///< parameters
  std::vector<std::size_t> local;      ///< parameters, bin by bin
  std::vector<std::size_t> bin_begin;  ///< first local of each bin that has any, and the end
  Eigen::LLT<Matrix> schur;
  Matrix response;                    ///< D^-1 C [local][shared]
  std::vector<Matrix> local_inverse;  ///< D^-1 of each bin
};

/// Free local parameters of one bin with their part of the Hessian.
struct LocalBlock {
  std::vector<std::size_t> places;
  Matrix hessian;
};

LocalBlock local_block(const EngineState& state, const ChannelLayout& c, std::size_t b,
                       const std::vector<bool>& is_free) {
  const detail::StateArrays& st = state.arrays;
  LocalBlock block;
  for (std::size_t k = 0; k < c.n_groups; ++k) {
    const std::size_t i = c.local_begin + k * c.nb + b;
    if (is_free[state.engine.local[i]]) block.places.push_back(i);
  }
  const auto n = static_cast<Eigen::Index>(block.places.size());
  block.hessian.resize(n, n);
  for (Eigen::Index i = 0; i < n; ++i) {
    for (Eigen::Index j = 0; j < n; ++j) {
      block.hessian(i, j) = st.weight[c.bin0 + b] *
                            st.group_yield[block.places[static_cast<std::size_t>(i)]] *
                            st.group_yield[block.places[static_cast<std::size_t>(j)]];
    }
    const std::size_t place = block.places[static_cast<std::size_t>(i)];
    const Parameter& p = state.engine.spec.parameters[state.engine.local[place]];
    const double gamma = st.gamma[place];
    block.hessian(i, i) += p.constraint == ConstraintType::poisson
                               ? st.local_centre[place] / (gamma * gamma)
                               : st.local_weight[place];
  }
  return block;
}

/// Evaluates the Hessian at a result. At the end of the likelihood it is that of stationary_data(),
/// in which the events that stand for the force hold the rates as springs do; or, if `stiffness` is
/// not 0, that of the Lagrangian with springs of this stiffness.
bool evaluate_hessian(EngineState& state, const FitResult& result, double stiffness) {
  detail::StateArrays& st = state.arrays;
  state.set_parameters(result.parameters);
  if (result.empty_bins.empty()) return state.evaluate(Mode::full, Level::hessian);
  const std::vector<std::size_t> bins = detail::padded_bins(state.engine, result.empty_bins);
  state.engine.kernels->rates(state.engine.arrays, st);
  std::fill_n(st.edge_force, state.engine.arrays.n_bins_padded, 0.0);
  st.edge_rate = 0.0;
  st.edge_stiffness = stiffness;
  std::vector<double> counts;
  for (std::size_t i = 0; i < bins.size(); ++i) {
    const double force = result.empty_bins[i].force;
    st.edge_force[bins[i]] = force + stiffness * st.rate[bins[i]];
    counts.push_back(st.n[bins[i]]);
    if (stiffness == 0.0) st.n[bins[i]] = force * st.rate[bins[i]];
  }
  const bool finite = state.evaluate(Mode::full, Level::hessian);
  for (std::size_t i = 0; i < bins.size(); ++i) st.n[bins[i]] = counts[i];
  st.edge_stiffness = 0.0;
  return finite;
}

/// The softest of the springs of stationary_data().
double softest_spring(EngineState& state, const FitResult& result) {
  state.set_parameters(result.parameters);
  state.engine.kernels->rates(state.engine.arrays, state.arrays);
  const std::vector<std::size_t> bins = detail::padded_bins(state.engine, result.empty_bins);
  double softest = HUGE_VAL;
  for (std::size_t i = 0; i < bins.size(); ++i) {
    softest = std::min(softest, result.empty_bins[i].force / state.arrays.rate[bins[i]]);
  }
  return softest;
}

/// Evaluates the Hessian at a result and inverts it in blocks, without the parameters in `held`.
BlockInverse invert(EngineState& state, const FitResult& result, const std::vector<bool>& held = {},
                    double stiffness = 0.0) {
  BlockInverse inverse;
  const Engine& engine = state.engine;
  const detail::StateArrays& st = state.arrays;
  const std::size_t n = engine.spec.parameters.size();
  if (result.parameters.size() != n) return inverse;
  state.need_coupling();
  if (!evaluate_hessian(state, result, stiffness)) return inverse;
  const std::size_t ld = engine.arrays.ld;
  std::vector<bool> is_free(n);
  for (std::size_t i = 0; i < n; ++i) {
    is_free[i] = !result.fixed[i] && !result.at_bound[i] && (held.empty() || !held[i]);
  }
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < engine.shared.size(); ++i) {
    // A parameter without any effect has no uncertainty to speak of.
    if (!is_free[engine.shared[i]] || st.hessian[i * ld + i] == 0.0) continue;
    places.push_back(i);
    inverse.shared.push_back(engine.shared[i]);
  }
  const auto ns = static_cast<Eigen::Index>(places.size());
  Matrix schur(ns, ns);
  for (Eigen::Index i = 0; i < ns; ++i) {
    for (Eigen::Index j = i; j < ns; ++j) {
      schur(i, j) = schur(j, i) = st.hessian[places[static_cast<std::size_t>(i)] * ld +
                                             places[static_cast<std::size_t>(j)]];
    }
  }
  Matrix couplings(static_cast<Eigen::Index>(engine.arrays.n_local), ns);
  inverse.response.resize(couplings.rows(), ns);
  Eigen::Index row = 0;
  for (const ChannelLayout& c : engine.channels) {
    for (std::size_t b = 0; b < c.n_bins && c.n_groups > 0; ++b) {
      const LocalBlock block = local_block(state, c, b, is_free);
      if (block.places.empty()) continue;
      const Eigen::LLT<Matrix> llt(block.hessian);
      if (llt.info() != Eigen::Success) return inverse;
      const auto nl = static_cast<Eigen::Index>(block.places.size());
      auto coupling = couplings.middleRows(row, nl);
      inverse.bin_begin.push_back(inverse.local.size());
      for (Eigen::Index k = 0; k < nl; ++k) {
        const std::size_t place = block.places[static_cast<std::size_t>(k)];
        inverse.local.push_back(engine.local[place]);
        for (Eigen::Index j = 0; j < ns; ++j) {
          coupling(k, j) = st.coupling[place * ld + places[static_cast<std::size_t>(j)]];
        }
      }
      inverse.response.middleRows(row, nl) = coupling;
      if (ns > 0) llt.solveInPlace(inverse.response.middleRows(row, nl));
      inverse.local_inverse.push_back(llt.solve(Matrix::Identity(nl, nl)));
      row += nl;
    }
  }
  inverse.bin_begin.push_back(inverse.local.size());
  inverse.response.conservativeResize(row, ns);
  if (row > 0 && ns > 0) {  // Eigen reads the first element of an empty product
    schur.triangularView<Eigen::Lower>() -= couplings.topRows(row).transpose() * inverse.response;
  }
  inverse.schur.compute(schur);
  inverse.valid = inverse.schur.info() == Eigen::Success;
  return inverse;
}

/// Square roots of the diagonal of an inverse; 0 for what is not in it.
std::vector<double> errors_of(const BlockInverse& inverse, std::size_t n) {
  std::vector<double> errors(n, 0.0);
  if (!inverse.valid) return errors;
  const auto ns = static_cast<Eigen::Index>(inverse.shared.size());
  Matrix half = Matrix::Identity(ns, ns);
  if (ns > 0) inverse.schur.matrixL().solveInPlace(half);
  for (Eigen::Index i = 0; i < ns; ++i) {
    errors[inverse.shared[static_cast<std::size_t>(i)]] = half.col(i).norm();
  }
  const Matrix local = half * inverse.response.transpose();
  for (std::size_t bin = 0; bin < inverse.local_inverse.size(); ++bin) {
    const Matrix& block = inverse.local_inverse[bin];
    for (Eigen::Index k = 0; k < block.rows(); ++k) {
      const auto i = static_cast<Eigen::Index>(inverse.bin_begin[bin]) + k;
      errors[inverse.local[static_cast<std::size_t>(i)]] =
          std::sqrt(block(k, k) + local.col(i).squaredNorm());
    }
  }
  return errors;
}

/// Parameters that the end of the likelihood holds: their variance is that of its springs. Empty if
/// it holds none.
std::vector<bool> held_at_end(EngineState& state, const FitResult& result) {
  if (result.empty_bins.empty()) return {};
  const std::size_t n = state.engine.spec.parameters.size();
  const double softer = 0.25 * softest_spring(state, result);
  const std::vector<double> soft = errors_of(invert(state, result, {}, softer), n);
  const std::vector<double> stiff = errors_of(invert(state, result), n);
  std::vector<bool> held(n);
  for (std::size_t i = 0; i < n; ++i) held[i] = stiff[i] < 0.7 * soft[i];
  return held;
}

}  // namespace

std::vector<double> Fitter::errors(const FitResult& result) {
  EngineState& state = state_->state;
  return errors_of(invert(state, result, held_at_end(state, result)), state_->model.n_parameters());
}

Covariance Fitter::covariance(const FitResult& result) {
  Covariance covariance;
  covariance.errors.assign(state_->model.n_parameters(), 0.0);
  EngineState& state = state_->state;
  const BlockInverse inverse = invert(state, result, held_at_end(state, result));
  if (!inverse.valid) return covariance;
  const auto ns = static_cast<Eigen::Index>(inverse.shared.size());
  const auto nl = static_cast<Eigen::Index>(inverse.local.size());
  const Matrix ss = ns > 0 ? Matrix(inverse.schur.solve(Matrix::Identity(ns, ns))) : Matrix(0, 0);
  const Matrix ls = -(inverse.response * ss);
  Matrix ll = -(ls * inverse.response.transpose());
  for (std::size_t bin = 0; bin < inverse.local_inverse.size(); ++bin) {
    const Matrix& block = inverse.local_inverse[bin];
    const auto first = static_cast<Eigen::Index>(inverse.bin_begin[bin]);
    ll.block(first, first, block.rows(), block.rows()) += block;
  }
  // Rows in the order of the parameters.
  std::vector<std::pair<std::size_t, Eigen::Index>> order;
  for (Eigen::Index i = 0; i < ns; ++i)
    order.push_back({inverse.shared[static_cast<std::size_t>(i)], i});
  for (Eigen::Index i = 0; i < nl; ++i) {
    order.push_back({inverse.local[static_cast<std::size_t>(i)], ns + i});
  }
  std::sort(order.begin(), order.end());
  const auto element = [&](Eigen::Index i, Eigen::Index j) {
    if (i < ns && j < ns) return ss(i, j);
    if (i < ns) return ls(j - ns, i);
    return j < ns ? ls(i - ns, j) : ll(i - ns, j - ns);
  };
  covariance.matrix.reserve(order.size() * order.size());
  for (const auto& [p, i] : order) {
    covariance.parameters.push_back(p);
    covariance.errors[p] = std::sqrt(element(i, i));
    for (const auto& [q, j] : order) covariance.matrix.push_back(element(i, j));
  }
  covariance.valid = true;
  return covariance;
}

std::vector<double> Fitter::solve(const FitResult& result, std::span<const double> right) {
  const std::size_t n = state_->model.n_parameters();
  if (right.size() != n) {
    bad_option(std::to_string(n) + " values expected, found " + std::to_string(right.size()),
               "right");
  }
  const BlockInverse inverse = invert(state_->state, result);
  if (!inverse.valid) return {};
  const auto pick = [&](const std::vector<std::size_t>& parameters) {
    Eigen::VectorXd picked(static_cast<Eigen::Index>(parameters.size()));
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      picked[static_cast<Eigen::Index>(i)] = right[parameters[i]];
    }
    return picked;
  };
  Eigen::VectorXd shared = pick(inverse.shared);
  Eigen::VectorXd local = pick(inverse.local);
  if (local.size() > 0) shared -= inverse.response.transpose() * local;
  if (shared.size() > 0) shared = inverse.schur.solve(shared).eval();
  for (std::size_t bin = 0; bin < inverse.local_inverse.size(); ++bin) {
    const Matrix& block = inverse.local_inverse[bin];
    const auto first = static_cast<Eigen::Index>(inverse.bin_begin[bin]);
    local.segment(first, block.rows()) = (block * local.segment(first, block.rows())).eval();
  }
  if (local.size() > 0) local -= inverse.response * shared;
  std::vector<double> solution(n, 0.0);
  for (std::size_t i = 0; i < inverse.shared.size(); ++i) {
    solution[inverse.shared[i]] = shared[static_cast<Eigen::Index>(i)];
  }
  for (std::size_t i = 0; i < inverse.local.size(); ++i) {
    solution[inverse.local[i]] = local[static_cast<Eigen::Index>(i)];
  }
  return solution;
}

FitResult fit(const Model& model, const FitOptions& options) { return Fitter(model).fit(options); }

}  // namespace slalom
