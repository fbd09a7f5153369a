// SPDX-License-Identifier: Apache-2.0
#include "edge.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace slalom::detail {

namespace {

constexpr int k_most_rounds = 25;
/// Rounds get stiffer until then, and afterwards where they converge slowly.
constexpr double k_good_stiffness = 1e5;
/// Beyond it rounding of the rates would be seen in the gradient.
constexpr double k_most_stiffness = 1e6;
/// The rate is met when it is this near to k_edge_rate.
constexpr double k_accuracy = 0.5 * k_edge_rate;
/// In the units of the gradient one event counts as the uncertainty of a rate of none.
constexpr double k_unit_stiffness = 1.0;

/// Calls function(padded bin, bin of the main data) for all bins without events.
template <typename Function>
void for_empty_bins(const FitState& f, Function&& function) {
  for (const ChannelLayout& c : f.state.engine.channels) {
    for (std::size_t b = 0; b < c.n_bins; ++b) {
      if (f.state.arrays.n[c.bin0 + b] == 0.0) function(c.bin0 + b, c.data0 + b);
    }
  }
}

/// Evaluates at the shared parameters of a minimum.
bool evaluate_at(FitState& f, const LocalMinimum& minimum, Level level) {
  std::copy(minimum.theta.begin(), minimum.theta.end(), f.state.arrays.theta);
  return f.state.evaluate(Mode::profile, level);
}

/// New multipliers from the rates of the last evaluation. \return the largest violation
double update_forces(FitState& f) {
  StateArrays& st = f.state.arrays;
  double worst = 0.0;
  for_empty_bins(f, [&](std::size_t bin, std::size_t) {
    const double excess = st.rate[bin] - st.edge_rate;
    st.edge_force[bin] = std::max(0.0, st.edge_force[bin] - st.edge_stiffness * excess);
    worst = std::max(worst, st.edge_force[bin] > 0.0 ? std::abs(excess) : -excess);
  });
  return worst;
}

/// Largest component of the gradient, in units that the stiffness does not make larger.
double lagrangian_residual(FitState& f, const LocalMinimum& minimum) {
  StateArrays& st = f.state.arrays;
  const double stiffness = st.edge_stiffness;
  st.edge_stiffness = k_unit_stiffness;
  double worst = evaluate_at(f, minimum, Level::hessian) ? 0.0 : HUGE_VAL;
  st.edge_stiffness = stiffness;
  const Minimizer& m = f.minimizer;
  for (std::size_t i = 0; i < minimum.theta.size(); ++i) {
    const double x = minimum.theta[i], slope = st.gradient[i];
    if (m.held[i] != 0 || m.at_kink(i) || (x <= m.lower[i] && slope >= 0.0)) continue;
    if (x >= m.upper[i] && slope <= 0.0) continue;
    const double curvature = std::abs(st.hessian[i * f.state.engine.arrays.ld + i]);
    worst = std::max(worst, std::abs(slope) / (curvature > 0.0 ? std::sqrt(curvature) : 1.0));
  }
  return worst;
}

/// -log L itself at a minimum of the augmented Lagrangian, or false if it is not finite.
bool take_value(FitState& f, LocalMinimum& minimum) {
  StateArrays& st = f.state.arrays;
  std::copy(minimum.theta.begin(), minimum.theta.end(), st.theta);
  std::copy(minimum.gamma.begin(), minimum.gamma.end(), st.gamma);
  if (!f.state.evaluate(Mode::full, Level::value)) return false;
  minimum.nll = st.nll;
  return true;
}

/// The rounds of the method of multipliers; false if they do not end at a minimum.
bool find_multipliers(FitState& f, const std::vector<double>& start, double tolerance,
                      LocalMinimum& result) {
  StateArrays& st = f.state.arrays;
  std::vector<double> point = start;
  double before = HUGE_VAL;
  f.minimizer.fisher_steps = 2;
  for (int round = 0; round < k_most_rounds; ++round) {
    f.minimizer.run(point, result);
    if (result.status == FitStatus::infeasible) return false;
    point = result.theta;
    f.minimizer.fisher_steps = 1;  // the exact Hessian knows no scale of what is linear
    if (!evaluate_at(f, result, Level::value)) return false;
    const double worst = update_forces(f);
    if (worst <= k_accuracy && result.status == FitStatus::converged) {
      result.kkt_residual = lagrangian_residual(f, result);
      if (result.kkt_residual <= tolerance) return true;
    }
    if (st.edge_stiffness < k_good_stiffness || worst > 0.1 * before) {
      st.edge_stiffness = std::min(10.0 * st.edge_stiffness, k_most_stiffness);
    }
    before = worst;
  }
  return false;
}

}  // namespace

bool has_edges(const FitState& f) {
  bool any = false;
  for_empty_bins(f, [&](std::size_t, std::size_t) { any = true; });
  return any;
}

bool stopped_at_edge(FitState& f, const LocalMinimum& minimum) {
  constexpr double k_small = 1e-4;
  if (minimum.status == FitStatus::infeasible || minimum.status == FitStatus::converged) {
    return false;
  }
  if (!evaluate_at(f, minimum, Level::value)) return false;
  bool any = false;
  for_empty_bins(
      f, [&](std::size_t bin, std::size_t) { any = any || f.state.arrays.rate[bin] < k_small; });
  return any;
}

std::vector<std::size_t> padded_bins(const Engine& engine, const std::vector<EmptyBin>& edges) {
  std::vector<std::size_t> result;
  for (const EmptyBin& edge : edges) {
    for (const ChannelLayout& c : engine.channels) {
      const bool inside = edge.bin >= c.data0 && edge.bin < c.data0 + c.n_bins;
      if (inside) result.push_back(c.bin0 + (edge.bin - c.data0));
    }
  }
  return result;
}

bool fit_at_edge(FitState& f, const std::vector<double>& start, double stiffness,
                 LocalMinimum& result, std::vector<EmptyBin>& edges) {
  StateArrays& st = f.state.arrays;
  const double tolerance = f.minimizer.tolerance;
  const int most_beyond_edge = f.minimizer.most_beyond_edge;
  f.minimizer.most_beyond_edge = std::numeric_limits<int>::max();
  std::fill_n(st.edge_force, f.state.engine.arrays.n_bins_padded, 0.0);
  st.edge_stiffness = stiffness;
  st.edge_rate = k_edge_rate;
  // Stiffness makes the units of the gradient larger.
  f.minimizer.tolerance = 0.01 * tolerance;
  const bool found = find_multipliers(f, start, tolerance, result);
  edges.clear();
  for_empty_bins(f, [&](std::size_t bin, std::size_t in_data) {
    if (st.edge_force[bin] > 0.0) edges.push_back({in_data, st.edge_force[bin]});
  });
  f.minimizer.tolerance = tolerance;
  f.minimizer.most_beyond_edge = most_beyond_edge;
  st.edge_stiffness = 0.0;
  if (found && take_value(f, result)) return true;
  edges.clear();
  return false;
}

}  // namespace slalom::detail

namespace slalom {

std::vector<double> stationary_data(const Model& model, std::span<const double> data,
                                    const FitResult& fit) {
  std::vector<double> result(data.begin(), data.end());
  if (fit.empty_bins.empty()) return result;
  const std::vector<double> rates = model.expected_data(fit.parameters, false);
  for (const EmptyBin& edge : fit.empty_bins) result[edge.bin] = edge.force * rates[edge.bin];
  return result;
}

}  // namespace slalom
