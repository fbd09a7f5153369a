// SPDX-License-Identifier: Apache-2.0
#include "engine/minimizer.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

namespace slalom::detail {

namespace {

/// Relative rounding error of -log L: smaller differences say nothing.
constexpr double k_rounding = 1e-13;
constexpr double k_first_damping = 1e-3;
constexpr double k_largest_damping = 1e12;
/// An expected decrease of -log L that nobody can see.
constexpr double k_negligible_decrement = 1e-9;
/// Curvature, in units of that of single parameters, that rounding cannot tell from none.
constexpr double k_flat = 1e-11;
/// Scaled gradient below which differences of -log L may drown in rounding.
constexpr double k_near_minimum = 1e-2;
/// Around a single minimum -log L rises about as the parabola does.
constexpr double k_promising = 0.7;
/// A start higher above the minimum than this hardly ever leads below it, unless that is little
/// beside the parabola (the first share is for the rise that is expected before it is computed),
constexpr double k_promising_rise = 2.0;
constexpr double k_expected_share = 0.5;
constexpr double k_promising_share = 0.15;
/// nor does one that is higher by more than so many times the decrease that its gradient promises.
constexpr double k_promising_descent = 2.5;
/// In units of the uncertainties: a run that comes this near to a known minimum will end there.
constexpr double k_same_minimum = 0.2;
/// An expected decrease of -log L below which a step is near enough to the minimum for its factor
/// to be worth another one.
constexpr double k_near_decrease = 0.5;
/// A step with an old factor must shrink the residual to this, or a new factor is cheaper.
constexpr double k_good_shrinkage = 0.4;
/// Residual from which the exact Hessian is worth more than the expected information.
constexpr double k_rough_residual = 0.1;
constexpr int k_most_rough_steps = 5;
/// A value that counts as zero except for its sign, which selects the side of a kink.
constexpr double k_side = 1e-300;

double dot(std::span<const double> a, std::span<const double> b, std::size_t n) {
  double sum = 0.0;
  for (std::size_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

double clamp(double x, double low, double high) { return std::min(std::max(x, low), high); }

}  // namespace

Minimizer::Minimizer(EngineState& state)
    : held(state.engine.arrays.n_shared, 0),
      s_(state),
      m_(state.engine.arrays),
      n_(state.engine.arrays.n_shared),
      kinked_(n_, 0),
      at_kink_(n_, 0) {
  place_memory();
  free_.reserve(n_);
  solved_.reserve(n_);
  find_kinks();
}

void Minimizer::place_memory() {
  const std::size_t matrix = m_.ld * m_.ld;
  const std::array vectors = {&lower,   &upper, &x_,     &gradient_, &scale_,
                              &fisher_, &step_, &trial_, &work_,     &eigen_};
  const std::size_t gammas = padded(m_.n_local);
  memory_.assign(2 * matrix + vectors.size() * m_.ld + gammas, 0.0);
  double* next = memory_.data();
  hessian_ = next;  // first, since the kernels load whole vectors of it and of matrix_
  matrix_.place(next + matrix, matrix);
  next += 2 * matrix;
  for (Slice* v : vectors) {
    v->place(next, n_);
    next += m_.ld;
  }
  gamma_.place(next, m_.n_local);
}

void Minimizer::find_kinks() {
  const ModelSpec& spec = s_.engine.spec;
  if (spec.histosys_code != HistosysCode::code0 && spec.normsys_code != NormsysCode::code1) return;
  const auto mark = [this](std::size_t parameter) {
    kinked_[s_.engine.places[parameter].index] = 1;
    any_kinks_ = true;
  };
  for (const ChannelSpec& channel : spec.channels) {
    for (const SampleSpec& sample : channel.samples) {
      for (const HistosysTerm& t : sample.histosys) {
        bool symmetric = true;
        for (std::size_t b = 0; b < t.hi.size(); ++b) {
          symmetric =
              symmetric && (t.hi[b] - sample.nominal[b]) + (t.lo[b] - sample.nominal[b]) == 0.0;
        }
        if (spec.histosys_code == HistosysCode::code0 && !symmetric) mark(t.parameter);
      }
      for (const NormsysTerm& t : sample.normsys) {
        if (spec.normsys_code == NormsysCode::code1 && t.hi * t.lo != 1.0) mark(t.parameter);
      }
    }
  }
}

bool Minimizer::evaluate(std::span<const double> x, Level level) {
  std::copy(x.begin(), x.end(), s_.arrays.theta);
  ++evaluations;
  return s_.evaluate(Mode::profile, level);
}

/// Makes the last evaluation the current point; x_ has been set by the caller.
void Minimizer::accept(Level level) {
  f_ = s_.arrays.nll;
  std::copy_n(s_.arrays.gradient, n_, gradient_.begin());
  std::copy_n(s_.arrays.gamma, m_.n_local, gamma_.begin());
  current_ = level != Level::gradient;
  if (!current_) return;
  exact_ = level == Level::hessian;
  of_factor_ = false;
  std::swap(s_.arrays.hessian, hessian_);
  set_scale(level);
}

/// Curvature of each parameter by itself: the unit in which gradients are judged and steps damped.
void Minimizer::set_scale(Level level) {
  for (std::size_t i = 0; i < n_; ++i) {
    const double h = hessian_[i * m_.ld + i];
    if (level == Level::fisher) fisher_[i] = h;
    scale_[i] = std::max(std::abs(h), 0.1 * fisher_[i]);
  }
}

/// At a kink the derivative has two sides. Moves to the side on which the function falls, or holds
/// the parameter at the kink if it rises on both.
void Minimizer::settle_kinks(Level level) {
  if (!any_kinks_) return;
  bool any = false;
  for (std::size_t i = 0; i < n_; ++i) {
    at_kink_[i] = 0;
    any = any || (kinked_[i] != 0 && held[i] == 0 && x_[i] == 0.0);
  }
  if (!any) return;
  const auto with_side = [this](double side) {
    trial_ = x_;
    for (std::size_t i = 0; i < n_; ++i) {
      if (kinked_[i] != 0 && held[i] == 0 && x_[i] == 0.0) trial_[i] = side;
    }
  };
  with_side(k_side);
  if (!evaluate(trial_, Level::gradient)) return;
  std::copy_n(s_.arrays.gradient, n_, work_.begin());
  with_side(-k_side);
  if (!evaluate(trial_, Level::gradient)) return;
  for (std::size_t i = 0; i < n_; ++i) {
    if (kinked_[i] == 0 || held[i] != 0 || x_[i] != 0.0) continue;
    if (work_[i] < 0.0 && upper[i] > 0.0) {
      x_[i] = k_side;
    } else if (s_.arrays.gradient[i] > 0.0 && lower[i] < 0.0) {
      x_[i] = -k_side;
    } else {
      at_kink_[i] = 1;
    }
  }
  if (evaluate(x_, level)) accept(level);
}

double Minimizer::bound_below(std::size_t i) const {
  return kinked_[i] != 0 && x_[i] > 0.0 ? std::max(lower[i], 0.0) : lower[i];
}

double Minimizer::bound_above(std::size_t i) const {
  return kinked_[i] != 0 && x_[i] < 0.0 ? std::min(upper[i], 0.0) : upper[i];
}

/// Parameters that may move: not held, not pushed against a bound, and with an effect.
void Minimizer::find_free() {
  free_.clear();
  for (std::size_t i = 0; i < n_; ++i) {
    if (held[i] != 0 || at_kink_[i] != 0 || lower[i] == upper[i]) continue;
    if (x_[i] <= lower[i] && gradient_[i] >= 0.0) continue;
    if (x_[i] >= upper[i] && gradient_[i] <= 0.0) continue;
    if (scale_[i] == 0.0 && gradient_[i] == 0.0) continue;
    free_.push_back(i);
  }
}

double Minimizer::residual(const double* gradient) const {
  double largest = 0.0;
  for (std::size_t i : free_) {
    const double scale = scale_[i] > 0.0 ? std::sqrt(scale_[i]) : 1.0;
    largest = std::max(largest, std::abs(gradient[i]) / scale);
  }
  return largest;
}

/// The residual at another point: its parameters at bounds count as find_free() has it.
double Minimizer::residual_at(const Slice& x, const double* gradient) const {
  double largest = 0.0;
  for (std::size_t i : solved_) {
    if (x[i] <= lower[i] && gradient[i] >= 0.0) continue;
    if (x[i] >= upper[i] && gradient[i] <= 0.0) continue;
    const double scale = scale_[i] > 0.0 ? std::sqrt(scale_[i]) : 1.0;
    largest = std::max(largest, std::abs(gradient[i]) / scale);
  }
  return largest;
}

/// Cholesky factor of the Hessian of the parameters in solved_, damped.
bool Minimizer::factorise(double damping) {
  const std::size_t n = solved_.size();
  matrix_ld_ = std::max(padded(n), k_lanes);
  factored_ = false;
  column_of_ = n_;
  const bool all = n == n_;
  for (std::size_t i = 0; i < n; ++i) {
    const double* source = hessian_ + solved_[i] * m_.ld;
    double* target = matrix_.data() + i * matrix_ld_;
    for (std::size_t j = i / k_lanes * k_lanes; j < i; ++j) target[j] = 0.0;
    if (all) {
      std::copy(source + i, source + n, target + i);
    } else {
      for (std::size_t j = i; j < n; ++j) target[j] = source[solved_[j]];
    }
    for (std::size_t j = n; j < matrix_ld_; ++j) target[j] = 0.0;
    target[i] += damping * (scale_[solved_[i]] > 0.0 ? scale_[solved_[i]] : 1.0);
  }
  if (!s_.engine.kernels->cholesky(matrix_.data(), n, matrix_ld_)) return false;
  factored_ = damping == 0.0 && n == free_.size();
  n_pairs_ = 0;
  factor_exact_ = exact_;
  of_factor_ = factored_;
  return true;
}

/// Damped Newton step inside the bounds: parameters that would leave them stop there, and the
/// others are solved for again. False if the matrix is not positive definite.
bool Minimizer::solve_step(double damping) {
  std::fill(step_.begin(), step_.end(), 0.0);
  solved_ = free_;
  step_damping_ = damping;
  clipped_ = false;
  constexpr int most_rounds = 12;
  for (int round = 0; !solved_.empty(); ++round) {
    if (!factorise(damping)) return false;
    for (std::size_t i = 0; i < solved_.size(); ++i) {
      const std::size_t p = solved_[i];
      double b = -gradient_[p];
      if (round > 0) {
        for (std::size_t q : free_) {
          if (step_[q] == 0.0 || q == p) continue;
          if (std::binary_search(solved_.begin(), solved_.end(), q)) continue;
          b -= hessian_[std::min(p, q) * m_.ld + std::max(p, q)] * step_[q];
        }
      }
      work_[i] = b;
    }
    s_.engine.kernels->solve(matrix_.data(), solved_.size(), matrix_ld_, work_.data());
    bool clipped = false;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < solved_.size(); ++i) {
      const std::size_t p = solved_[i];
      const double low = bound_below(p) - x_[p], high = bound_above(p) - x_[p];
      step_[p] = clamp(work_[i], low, high);
      if (work_[i] < low || work_[i] > high) {
        clipped = true;
      } else {
        solved_[kept++] = p;
      }
    }
    clipped_ = clipped_ || clipped;
    if (!clipped || round == most_rounds) return true;
    solved_.resize(kept);
    for (std::size_t p : solved_) step_[p] = 0.0;
  }
  return true;
}

/// Decrease that the quadratic model predicts for a fraction of the step.
double Minimizer::predicted_decrease(double fraction) const {
  double linear = 0.0, quadratic = 0.0;
  if (!clipped_) {  // (H + damping) step = -gradient
    for (std::size_t i : free_) {
      const double unit = scale_[i] > 0.0 ? scale_[i] : 1.0;
      linear += gradient_[i] * step_[i];
      quadratic -= step_damping_ * unit * step_[i] * step_[i];
    }
    return -fraction * (linear + 0.5 * fraction * (quadratic - linear));
  }
  for (std::size_t a = 0; a < free_.size(); ++a) {
    const std::size_t i = free_[a];
    if (step_[i] == 0.0) continue;
    linear += gradient_[i] * step_[i];
    const double* row = hessian_ + i * m_.ld;
    double sum = 0.5 * row[i] * step_[i];
    for (std::size_t b = a + 1; b < free_.size(); ++b) sum += row[free_[b]] * step_[free_[b]];
    quadratic += step_[i] * sum;
  }
  return -fraction * (linear + fraction * quadratic);
}

/// Whether the trial that was not feasible has a negative rate in a bin without events.
bool Minimizer::beyond_edge() const {
  for (std::size_t b = 0; b < m_.n_bins_padded; ++b) {
    if (s_.arrays.n[b] == 0.0 && s_.arrays.rate[b] < 0.0) return true;
  }
  return false;
}

/// Looks for a point that is better than the current one, raising the damping until there is one.
/// False if there is none. `rounding` is set where only rounding stands in the way.
bool Minimizer::try_steps(Level next, double* damping, bool* rounding) {
  const double noise = k_rounding * (1.0 + std::abs(f_));
  bool rejected = false;
  for (;;) {
    if (*damping > k_largest_damping) return false;
    if (!solve_step(*damping)) {
      *damping = std::max(10.0 * *damping, k_first_damping);
      continue;
    }
    const bool near = factored_ && exact_ && !clipped_ && !any_kinks_ &&
                      predicted_decrease(1.0) < k_near_decrease;
    Level level = near ? Level::gradient : next;
    double fraction = 1.0;
    bool feasible = false;
    for (; fraction > 1e-9; fraction *= 0.5) {
      for (std::size_t i = 0; i < n_; ++i) trial_[i] = x_[i] + fraction * step_[i];
      if (fraction == 1.0) {  // exactly at the bounds
        for (std::size_t i : free_) trial_[i] = clamp(trial_[i], bound_below(i), bound_above(i));
      }
      // After a rejection the value alone decides before derivatives are worth their time.
      feasible = evaluate(trial_, !rejected && fraction == 1.0 ? level : Level::value);
      if (feasible) break;
      if (beyond_edge() && ++beyond_edge_ > most_beyond_edge) return false;
    }
    const double predicted = predicted_decrease(fraction);
    const double actual = f_ - s_.arrays.nll;
    const double before = residual(gradient_.data());
    const bool small = feasible && std::abs(predicted) <= noise && before < k_near_minimum;
    const bool better = feasible && predicted > 0.0 && actual > 1e-4 * predicted;
    if ((small || better) && (rejected || fraction < 1.0)) {
      level = next;
      evaluate(trial_, level);
    }
    if (small) {
      // Too small to be seen in the function: the gradient decides.
      *rounding = true;
      if (actual < -noise || !(residual(s_.arrays.gradient) < before)) return false;
      x_ = trial_;
      accept(level);
      return true;
    }
    if (better) {
      const double gain = actual / predicted;
      last_decrease_ = actual;
      if (level == Level::gradient) remember_step();
      x_ = trial_;
      accept(level);
      if (gain > 0.75 && fraction == 1.0) {
        *damping = *damping < (actual < k_near_decrease ? 1e-2 : 1e-5) ? 0.0 : 0.1 * *damping;
      }
      if (gain < 0.25) *damping = std::max(4.0 * *damping, k_first_damping);
      return true;
    }
    rejected = true;
    *damping = std::max(5.0 * *damping, k_first_damping);
  }
}

/// b <- H^-1 b for the parameters in solved_, with H the factor and what the steps since then have
/// shown of it (BFGS in its two-loop form: Nocedal, Math. Comp. 35 (1980) 773).
void Minimizer::solve_corrected(std::span<double> b) {
  const std::size_t n = solved_.size();
  for (std::size_t k = n_pairs_; k-- > 0;) {
    Pair& pair = pairs_[k];
    pair.share = pair.inverse * dot(pair.step, b, n);
    for (std::size_t i = 0; i < n; ++i) b[i] -= pair.share * pair.change[i];
  }
  s_.engine.kernels->solve(matrix_.data(), n, matrix_ld_, b.data());
  for (std::size_t k = 0; k < n_pairs_; ++k) {
    const Pair& pair = pairs_[k];
    const double share = pair.share - pair.inverse * dot(pair.change, b, n);
    for (std::size_t i = 0; i < n; ++i) b[i] += share * pair.step[i];
  }
}

/// Whether the factor is of all free parameters, and perhaps of some that have come to a bound.
bool Minimizer::factor_covers() const {
  return factored_ && std::includes(solved_.begin(), solved_.end(), free_.begin(), free_.end());
}

/// The step to the minimum of the quadratic model of solve_corrected(), into work_; parameters of
/// the factor that are not free stay, and those that would leave their bounds stop there. False if
/// that is more than a few. Sets the decrease that the model predicts.
bool Minimizer::chord_step(double* predicted) {
  const std::size_t n = solved_.size();
  for (std::size_t i = 0; i < n; ++i) work_[i] = -gradient_[solved_[i]];
  solve_corrected(work_);
  n_pins_ = 0;
  const auto pin = [&](std::size_t i, double target) {
    if (n_pins_ == k_most_pins) return false;
    Pin& p = pins_[n_pins_++];
    p.place = i;
    p.target = target;
    p.column.assign(n_, 0.0);
    p.column[i] = 1.0;
    solve_corrected(p.column);
    return true;
  };
  std::size_t next_free = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (next_free < free_.size() && free_[next_free] == solved_[i]) {
      ++next_free;
    } else if (!pin(i, 0.0)) {
      return false;
    }
  }
  for (;;) {
    // Lagrange multipliers of the pins: their columns are added so that the targets are met.
    double matrix[k_most_pins][k_most_pins], force[k_most_pins];
    for (std::size_t a = 0; a < n_pins_; ++a) {
      force[a] = pins_[a].target - work_[pins_[a].place];
      for (std::size_t b = 0; b < n_pins_; ++b) matrix[a][b] = pins_[b].column[pins_[a].place];
    }
    for (std::size_t a = 0; a < n_pins_; ++a) {
      if (!(matrix[a][a] > 0.0)) return false;
      for (std::size_t b = a + 1; b < n_pins_; ++b) {
        const double ratio = matrix[b][a] / matrix[a][a];
        for (std::size_t c = a; c < n_pins_; ++c) matrix[b][c] -= ratio * matrix[a][c];
        force[b] -= ratio * force[a];
      }
    }
    for (std::size_t a = n_pins_; a-- > 0;) {
      for (std::size_t b = a + 1; b < n_pins_; ++b) force[a] -= matrix[a][b] * force[b];
      force[a] /= matrix[a][a];
    }
    *predicted = 0.0;
    bool inside = true;
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t p = solved_[i];
      double move = work_[i];
      for (std::size_t a = 0; a < n_pins_; ++a) move += force[a] * pins_[a].column[i];
      step_[p] = move;
      *predicted -= 0.5 * gradient_[p] * move;
    }
    for (std::size_t a = 0; a < n_pins_; ++a) {
      step_[solved_[pins_[a].place]] = pins_[a].target;
      *predicted -= 0.5 * force[a] * pins_[a].target;
    }
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t p = solved_[i];
      const double to = x_[p] + step_[p];
      if (to >= lower[p] && to <= upper[p]) continue;
      inside = false;
      for (std::size_t a = 0; a < n_pins_; ++a) {
        if (pins_[a].place == i) return false;  // rounding at a bound
      }
      if (!pin(i, (to < lower[p] ? lower[p] : upper[p]) - x_[p])) return false;
    }
    if (inside) return true;
  }
}

/// Remembers a step to trial_ from x_, and how the gradient changed.
void Minimizer::remember_step() {
  const std::size_t n = solved_.size();
  if (n_pairs_ == k_most_pairs) return;
  Pair& pair = pairs_[n_pairs_];
  pair.step.resize(n_);
  pair.change.resize(n_);
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t p = solved_[i];
    pair.step[i] = trial_[p] - x_[p];
    pair.change[i] = s_.arrays.gradient[p] - gradient_[p];
  }
  const double curvature = dot(pair.step, pair.change, n);
  if (!(curvature > 0.0)) return;
  pair.inverse = 1.0 / curvature;
  ++n_pairs_;
}

/// A step with a factor from a point before this one; false, at the same point, if it does not go
/// down as it should. Sets shrinkage_.
bool Minimizer::try_chord() {
  double predicted = 0.0;
  if (!factor_covers() || !chord_step(&predicted)) return false;
  trial_ = x_;
  for (std::size_t p : solved_) trial_[p] = clamp(x_[p] + step_[p], lower[p], upper[p]);
  if (!evaluate(trial_, Level::gradient)) return false;
  const double noise = k_rounding * (1.0 + std::abs(f_));
  const double decrease = f_ - s_.arrays.nll;
  const double before = residual(gradient_.data());
  const double after = residual_at(trial_, s_.arrays.gradient);
  const bool near = after < k_good_shrinkage * before && decrease > -noise;
  if (!near && !(decrease > 0.3 * predicted && decrease > noise)) return false;
  shrinkage_ = after / before;
  last_decrease_ = decrease;
  remember_step();
  x_ = trial_;
  accept(Level::gradient);
  return true;
}

/// The exact Hessian at the current point.
bool Minimizer::make_exact() {
  if (!evaluate(x_, Level::hessian)) return false;
  accept(Level::hessian);
  find_free();
  return true;
}

/// At a point with no gradient but negative curvature: moves along the most negative direction.
bool Minimizer::escape_saddle() {
  // Power iteration on (shift - scaled Hessian) finds the lowest eigenvalue.
  const std::size_t n = free_.size();
  std::vector<double> v(n), u(n);
  for (std::size_t a = 0; a < n; ++a) v[a] = 1.0 + 0.1 * std::sin(1.0 + static_cast<double>(a));
  const auto unit = [this](std::size_t i) { return 1.0 / std::sqrt(std::max(scale_[i], 1e-300)); };
  for (int iteration = 0; iteration < 300; ++iteration) {
    double norm = 0.0;
    for (std::size_t a = 0; a < n; ++a) {
      double sum = (static_cast<double>(n) + 1.0) * v[a];
      for (std::size_t b = 0; b < n; ++b) {
        const std::size_t i = std::min(free_[a], free_[b]), j = std::max(free_[a], free_[b]);
        sum -= unit(i) * unit(j) * hessian_[i * m_.ld + j] * v[b];
      }
      u[a] = sum;
      norm += sum * sum;
    }
    for (std::size_t a = 0; a < n; ++a) v[a] = u[a] / std::sqrt(norm);
  }
  for (double length : {1.0, -1.0, 0.1, -0.1, 0.01, -0.01}) {
    trial_ = x_;
    for (std::size_t a = 0; a < n; ++a) {
      const std::size_t i = free_[a];
      trial_[i] = clamp(x_[i] + length * unit(i) * v[a], bound_below(i), bound_above(i));
    }
    if (evaluate(trial_, Level::hessian) && s_.arrays.nll < f_) {
      x_ = trial_;
      accept(Level::hessian);
      return true;
    }
  }
  return false;
}

/// Expected further decrease of -log L: g' H^-1 g / 2, with the factor in matrix_.
double Minimizer::newton_decrement() {
  for (std::size_t i = 0; i < solved_.size(); ++i) work_[i] = gradient_[solved_[i]];
  s_.engine.kernels->solve(matrix_.data(), solved_.size(), matrix_ld_, work_.data());
  double sum = 0.0;
  for (std::size_t i = 0; i < solved_.size(); ++i) sum += gradient_[solved_[i]] * work_[i];
  return 0.5 * sum;
}

/// Smallest eigenvalue of the Hessian scaled to a unit diagonal, by inverse iteration with the
/// factor in matrix_, from the parameter that the others determine most. A few steps give its size,
/// which is all it is used for.
double Minimizer::smallest_eigenvalue() {
  const std::size_t n = solved_.size();
  if (n == 0) return 1.0;
  std::fill_n(trial_.begin(), n, 0.0);  // becomes the square root of the diagonal of R'R
  for (std::size_t k = 0; k < n; ++k) {
    const double* row = matrix_.data() + k * matrix_ld_;
    trial_[k] += 1.0 / (row[k] * row[k]);
    for (std::size_t i = k + 1; i < n; ++i) trial_[i] += row[i] * row[i];
  }
  std::size_t least = 0;
  double pivot = 2.0;
  column_of_ = n_;  // eigen_ is used here as well
  for (std::size_t i = 0; i < n; ++i) {
    const double inverse = matrix_[i * matrix_ld_ + i];
    const double ratio = 1.0 / (inverse * inverse * trial_[i]);
    if (ratio < pivot) least = i;
    pivot = std::min(pivot, ratio);
    trial_[i] = std::sqrt(trial_[i]);
    eigen_[i] = i % 2 == 0 ? 0.01 : -0.01;
  }
  eigen_[least] = 1.0;
  double before = 0.0, value = 0.0;
  for (int iteration = 0; iteration < 12; ++iteration) {
    double norm = 0.0;
    for (std::size_t i = 0; i < n; ++i) norm += eigen_[i] * eigen_[i];
    norm = std::sqrt(norm);
    for (std::size_t i = 0; i < n; ++i) {
      eigen_[i] /= norm;
      work_[i] = trial_[i] * eigen_[i];
    }
    s_.engine.kernels->solve(matrix_.data(), n, matrix_ld_, work_.data());
    double rayleigh = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      work_[i] *= trial_[i];
      rayleigh += work_[i] * eigen_[i];
      eigen_[i] = work_[i];
    }
    value = 1.0 / rayleigh;
    if (std::abs(value - before) < 0.1 * value) break;
    before = value;
  }
  return value;
}

void Minimizer::finish(LocalMinimum& result, FitStatus status) {
  result.status = status;
  result.nll = f_;
  result.theta.assign(x_.begin(), x_.end());
  result.gamma.assign(gamma_.begin(), gamma_.end());
  for (double& x : result.theta) {
    if (std::abs(x) == k_side) x = 0.0;
  }
}

void Minimizer::run(const std::vector<double>& start, LocalMinimum& result) {
  result.status = FitStatus::infeasible;
  result.nll = result.kkt_residual = result.edm = result.smallest_eigenvalue = 0.0;
  result.theta.clear();
  result.gamma.clear();
  x_ = start;
  std::fill(at_kink_.begin(), at_kink_.end(), 0);
  const bool reuse = reuse_factor && factored_ && !any_kinks_;
  if (!reuse) std::fill(fisher_.begin(), fisher_.end(), 0.0);
  Level level = reuse ? Level::gradient : fisher_steps > 0 ? Level::fisher : Level::hessian;
  if (!evaluate(x_, level)) return;
  accept(level);
  double damping = 0.0;
  bool chord = reuse;
  shrinkage_ = 0.3;
  beyond_edge_ = 0;
  FitStatus status = FitStatus::converged;
  for (int iteration = 0;; ++iteration) {
    settle_kinks(level);
    find_free();
    result.kkt_residual = residual(gradient_.data());
    if (result.kkt_residual <= tolerance) {
      if (prove_minimum()) break;
      if (exact_ && escape_saddle()) continue;
      status = FitStatus::stalled;
      break;
    }
    if (iteration >= max_iterations) {
      status = FitStatus::iteration_limit;
      break;
    }
    ++iterations;
    if (!current_) {
      // A rough factor is good for a few steps downhill, but not to the end.
      const bool rough = reuse && !factor_exact_;
      const bool far = result.kkt_residual > k_rough_residual;
      const bool tried = chord && (!rough || (far && iteration < k_most_rough_steps));
      const double last_shrinkage = shrinkage_;
      if (tried && try_chord()) {
        chord = rough || shrinkage_ < k_good_shrinkage ||
                shrinkage_ * last_shrinkage < k_good_shrinkage * k_good_shrinkage;
        if (n_pairs_ == k_most_pairs) chord = shrinkage_ < 0.1;
        if (!hopeless()) continue;
        status = FitStatus::stalled;
        break;
      }
      if (rough && far && fisher_steps > 0 && evaluate(x_, Level::fisher)) {
        accept(Level::fisher);
        find_free();
      } else if (!make_exact()) {
        status = FitStatus::stalled;
        break;
      }
    }
    level = !reuse && iteration + 1 < fisher_steps ? Level::fisher : Level::hessian;
    bool rounding = false;
    const double before = result.kkt_residual;
    if (try_steps(level, &damping, &rounding)) {
      shrinkage_ = residual(gradient_.data()) / before;
      chord = !current_ && shrinkage_ < k_good_shrinkage;
      if (!hopeless()) continue;
      status = FitStatus::stalled;
      break;
    }
    // A step with the expected information may fail where one with the Hessian succeeds.
    if (!exact_ && !at_edge() && evaluate(x_, Level::hessian)) {
      accept(Level::hessian);
      damping = 0.0;
      continue;
    }
    // Where rounding hides further progress, the decrement says whether any is left.
    status = rounding && prove_minimum() && newton_decrement() < k_negligible_decrement
                 ? FitStatus::converged
                 : FitStatus::stalled;
    break;
  }
  if (status == FitStatus::converged) {
    result.edm = newton_decrement();
    result.smallest_eigenvalue = smallest_eigenvalue();
    if (result.smallest_eigenvalue < k_flat) status = FitStatus::stalled;
  }
  finish(result, status);
}

/// Whether this run will end in the known minimum or above it. A step that decreased -log L by some
/// amount is followed by smaller ones where the method converges, which is when it is asked.
bool Minimizer::hopeless() const {
  if (!known) return false;
  if (exact_ && last_decrease_ < 0.5 && f_ - 2.0 * last_decrease_ > known->nll) return true;
  for (std::size_t i : free_) {
    if (std::abs(x_[i] - known->theta[i]) * std::sqrt(scale_[i]) > k_same_minimum) return false;
  }
  return true;
}

/// Positive curvature of the exact Hessian in all free directions; leaves its factor in matrix_.
bool Minimizer::prove_minimum() {
  // Steps with this factor converged, so that the Hessian here cannot differ much from it.
  const bool proven = !current_ && factor_covers() && factor_exact_;
  if (proven && free_ == solved_) return true;
  if (!(proven && of_factor_) && (!exact_ || !current_) && !make_exact()) return false;
  solved_ = free_;
  return factorise(0.0);
}

bool Minimizer::prepare(const std::vector<double>& point, Factor& factor) {
  factor.valid = false;
  x_ = point;
  if (!evaluate(x_, Level::fisher)) return false;
  accept(Level::fisher);
  free_.clear();  // those at a bound may leave it
  for (std::size_t i = 0; i < n_; ++i) {
    if (held[i] == 0 && lower[i] < upper[i] && scale_[i] > 0.0) free_.push_back(i);
  }
  solved_ = free_;
  if (!factorise(0.0)) return false;
  save(factor, false);
  return factor.valid;
}

void Minimizer::save(Factor& factor, bool with_hessian) const {
  factor.valid = factored_;
  if (!factored_) return;
  const std::size_t size = solved_.size() * matrix_ld_;
  factor.matrix.assign(matrix_.begin(), matrix_.begin() + size);
  factor.ld = matrix_ld_;
  factor.solved = solved_;
  factor.scale.assign(scale_.begin(), scale_.end());
  factor.exact = factor_exact_;
  factor.hessian.clear();
  if (with_hessian && of_factor_) factor.hessian.assign(hessian_, hessian_ + m_.ld * m_.ld);
}

void Minimizer::restore(const Factor& factor) {
  factored_ = factor.valid;
  column_of_ = n_;
  n_pairs_ = 0;
  if (!factor.valid) return;
  std::copy(factor.matrix.begin(), factor.matrix.end(), matrix_.begin());
  matrix_ld_ = factor.ld;
  solved_ = factor.solved;
  scale_ = factor.scale;
  factor_exact_ = factor.exact;
  of_factor_ = !factor.hessian.empty();
  if (of_factor_) {
    std::copy(factor.hessian.begin(), factor.hessian.end(), hessian_);
    exact_ = factor.exact;
  }
  std::fill(fisher_.begin(), fisher_.end(), 0.0);
}

void Minimizer::resume(const LocalMinimum& minimum, const Factor& factor) {
  x_ = minimum.theta;
  f_ = minimum.nll;
  restore(factor);
}

bool Minimizer::hold(const Factor& factor, std::size_t p, Factor& result,
                     std::vector<double>& slope) {
  result.valid = false;
  if (!factor.valid || factor.hessian.empty()) return false;
  restore(factor);
  const auto found = std::lower_bound(solved_.begin(), solved_.end(), p);
  if (found == solved_.end() || *found != p) return false;
  solved_.erase(found);
  free_ = solved_;
  if (!factorise(0.0)) return false;
  for (std::size_t i = 0; i < solved_.size(); ++i) {
    const std::size_t q = solved_[i];
    work_[i] = -hessian_[std::min(p, q) * m_.ld + std::max(p, q)];
  }
  s_.engine.kernels->solve(matrix_.data(), solved_.size(), matrix_ld_, work_.data());
  slope.assign(n_, 0.0);
  for (std::size_t i = 0; i < solved_.size(); ++i) slope[solved_[i]] = work_[i];
  save(result, false);
  return true;
}

bool Minimizer::promising_start(std::size_t p, double target, std::vector<double>& start) {
  const auto found = std::lower_bound(solved_.begin(), solved_.end(), p);
  if (found == solved_.end() || *found != p) return false;
  const auto place = static_cast<std::size_t>(found - solved_.begin());
  const std::size_t n = solved_.size();
  const auto solve = [this, n](Slice& b) {
    s_.engine.kernels->solve(matrix_.data(), n, matrix_ld_, b.data());
  };
  start.assign(x_.begin(), x_.end());
  start[p] = clamp(target, lower[p], upper[p]);
  if (start[p] == x_[p] || !evaluate(start, Level::gradient)) return false;
  // Newton step of the others with p held: H^-1 (g - c e_p), with c such that p stays.
  if (column_of_ != p) {
    std::fill(eigen_.begin(), eigen_.end(), 0.0);
    eigen_[place] = 1.0;
    solve(eigen_);
    column_of_ = p;
  }
  for (std::size_t i = 0; i < n; ++i) work_[i] = i == place ? 0.0 : s_.arrays.gradient[solved_[i]];
  solve(work_);
  const double variance = eigen_[place];
  const double c = work_[place] / variance;
  const double distance = start[p] - x_[p];
  const double parabola = 0.5 * distance * distance / variance;
  double expected = s_.arrays.nll - f_;
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t q = solved_[i];
    if (i == place) continue;
    const double step = c * eigen_[i] - work_[i];
    expected += 0.5 * s_.arrays.gradient[q] * step;
    start[q] = clamp(x_[q] + step, lower[q], upper[q]);
  }
  const auto promising = [parabola](double rise, double share) {
    return rise < std::min(k_promising * parabola, std::max(k_promising_rise, share * parabola));
  };
  if (!promising(expected, k_expected_share) || !evaluate(start, Level::gradient)) return false;
  const double rise = s_.arrays.nll - f_;
  if (!promising(rise, k_promising_share)) return false;
  // What is left to go down from there must make up for the rise. Beside a kink no gradient says.
  if (any_kinks_) return true;
  for (std::size_t i = 0; i < n; ++i) work_[i] = s_.arrays.gradient[solved_[i]];
  solve(work_);
  double decrement = 0.0;
  for (std::size_t i = 0; i < n; ++i) decrement += 0.5 * s_.arrays.gradient[solved_[i]] * work_[i];
  return rise < k_promising_descent * decrement;
}

}  // namespace slalom::detail
