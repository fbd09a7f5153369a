// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/minimize.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include "slalom/core/error.hpp"

namespace slalom {

namespace {

constexpr double k_infinity = std::numeric_limits<double>::infinity();
/// Relative rounding error of the function: smaller differences say nothing.
constexpr double k_rounding = 1e-13;
/// A sum of large terms that cancel has more; differences below this give way to gradients.
constexpr double k_uncertain = 1e-10;
/// Curvature in units of that of single variables below which a direction is flat, or falls.
constexpr double k_flat = 1e-11;
constexpr double k_falling = -1e-9;
/// How much of its curvature scale a variable keeps from one point to the next.
constexpr double k_scale_memory = 0.1;
/// Share of the expected decrease that a step must bring, and those at which the ball changes.
constexpr double k_accept = 1e-4, k_shrink_below = 0.25, k_grow_above = 0.75;
/// Share of the residual that is left by a step that is judged by it.
constexpr double k_flatter = 0.5;
/// A ball, in units of the uncertainties, in which nothing moves any more.
constexpr double k_smallest_radius = 1e-13;

using Indices = std::vector<std::size_t>;
using Vector = Eigen::VectorXd;
using Matrix = Eigen::MatrixXd;

[[noreturn]] void refuse(const std::string& what, const std::string& where) {
  throw Error(ErrorKind::usage, what, where);
}

/// Minimises gradient . p + p' matrix p / 2 over |p| <= radius, on the eigenvectors of the matrix.
Vector step_in_ball(const Matrix& matrix, const Vector& gradient, double radius) {
  const Eigen::SelfAdjointEigenSolver<Matrix> eigen(matrix);
  const Vector& values = eigen.eigenvalues();
  const Vector g = eigen.eigenvectors().transpose() * gradient;
  const auto n = values.size();
  if (!std::isfinite(radius)) radius = std::max(1.0, gradient.norm());
  const auto along = [&](double shift) {
    Vector p(n);
    for (Eigen::Index i = 0; i < n; ++i) {
      const double curvature = values[i] + shift;
      p[i] = curvature > 0.0 ? -g[i] / curvature : 0.0;
    }
    return p;
  };
  const double flat = k_flat * std::max(1.0, values.cwiseAbs().maxCoeff());
  double low = values[0] > flat ? 0.0 : flat - values[0];
  Vector p = along(low);
  if (p.norm() <= radius) {
    // Inside: the minimum of a bowl, or a saddle that is left along its falling direction.
    if (values[0] < -flat) {
      const double rest = std::sqrt(std::max(0.0, radius * radius - p.squaredNorm()));
      p[0] += (g[0] > 0.0 ? -1.0 : 1.0) * rest;
    }
    return eigen.eigenvectors() * p;
  }
  double high = low + gradient.norm() / radius;
  for (int i = 0; i < 200 && high - low > 1e-10 * high; ++i) {
    const double middle = 0.5 * (low + high);
    (along(middle).norm() > radius ? low : high) = middle;
  }
  return eigen.eigenvectors() * along(high);
}

/// One minimisation.
class Search {
 public:
  Search(const Objective& f, std::vector<double> start, const MinimizeOptions& options)
      : f_(f), options_(options), n_(start.size()), scale_(n_, 0.0) {
    check(start);
    result_.x = std::move(start);
    for (std::size_t i = 0; i < n_; ++i) {
      result_.x[i] = std::clamp(result_.x[i], lower(i), upper(i));
    }
    result_.gradient.assign(n_, 0.0);
    result_.hessian.assign(n_ * n_, 0.0);
    result_.at_bound.assign(n_, false);
    trial_ = result_;
  }

  MinimizeResult run() {
    result_.value = evaluate(result_);
    if (!std::isfinite(result_.value)) {
      result_.value = k_infinity;
      result_.message = "the function is not finite at the start";
      return std::move(result_);
    }
    set_scale();
    double radius = k_infinity;
    while (true) {
      find_free();
      result_.kkt_residual = residual(result_);
      if (result_.kkt_residual <= options_.tolerance && !falls()) return finish_converged();
      if (result_.iterations >= options_.max_iterations) {
        return finish(FitStatus::iteration_limit, "the limit of iterations was reached");
      }
      ++result_.iterations;
      const Vector step = make_step(radius);
      const double expected = -model(step);
      trial_.x = result_.x;
      for (std::size_t i = 0; i < n_; ++i) {
        trial_.x[i] = std::clamp(result_.x[i] + step[index(i)], lower(i), upper(i));
      }
      const double length = norm(step);
      if (trial_.x == result_.x || length < k_smallest_radius) return finish_without_step();
      trial_.value = evaluate(trial_);
      const double decrease = result_.value - trial_.value;
      const double size = 1.0 + std::abs(result_.value);
      const bool drowned = expected <= k_rounding * size;
      const bool flatter = std::abs(decrease) <= k_uncertain * size &&
                           expected <= k_uncertain * size &&
                           residual(trial_) < k_flatter * result_.kkt_residual;
      const bool better =
          std::isfinite(trial_.value) && (flatter || (!drowned && decrease >= k_accept * expected));
      if (!better) {
        if (drowned) return finish_without_step();
        radius = k_shrink_below * length;
        continue;
      }
      if (!flatter && decrease < k_shrink_below * expected) {
        radius = 0.5 * length;
      } else if (flatter || decrease > k_grow_above * expected) {
        radius = std::max(radius, 3.0 * length);
      }
      std::swap(result_.x, trial_.x);
      std::swap(result_.gradient, trial_.gradient);
      std::swap(result_.hessian, trial_.hessian);
      result_.value = trial_.value;
      set_scale();
    }
  }

 private:
  static Eigen::Index index(std::size_t i) { return static_cast<Eigen::Index>(i); }
  double lower(std::size_t i) const {
    return options_.lower.empty() ? -k_infinity : options_.lower[i];
  }
  double upper(std::size_t i) const {
    return options_.upper.empty() ? k_infinity : options_.upper[i];
  }
  bool held(std::size_t i) const {
    return (!options_.held.empty() && options_.held[i]) || lower(i) == upper(i);
  }
  double hessian(std::size_t i, std::size_t j) const { return result_.hessian[i * n_ + j]; }

  void check(const std::vector<double>& start) const {
    if (!f_) refuse("there is no function to minimise", "minimize");
    const auto length = [this](std::size_t size, const char* what) {
      if (size != 0 && size != n_) {
        refuse("there are " + std::to_string(n_) + " variables, but " + std::to_string(size) +
                   " values of " + what,
               what);
      }
    };
    length(options_.lower.size(), "lower");
    length(options_.upper.size(), "upper");
    length(options_.held.size(), "held");
    if (!(options_.tolerance > 0.0)) refuse("the tolerance must be above 0", "tolerance");
    for (std::size_t i = 0; i < n_; ++i) {
      if (!std::isfinite(start[i]))
        refuse("the start is not finite", "start[" + std::to_string(i) + "]");
      if (!(lower(i) <= upper(i))) {
        refuse("the lower bound is above the upper one", "lower[" + std::to_string(i) + "]");
      }
    }
  }

  /// Value and derivatives; infinity where any of them is not finite.
  double evaluate(MinimizeResult& at) {
    ++result_.evaluations;
    const double value = f_(at.x, at.gradient, at.hessian);
    const auto finite = [](double x) { return std::isfinite(x); };
    const bool good = std::isfinite(value) &&
                      std::all_of(at.gradient.begin(), at.gradient.end(), finite) &&
                      std::all_of(at.hessian.begin(), at.hessian.end(), finite);
    return good ? value : k_infinity;
  }

  /// Curvature of each variable by itself, with some memory: at an inflection it means nothing.
  /// Less than one over the square of its range counts as none, and would be a unit made of
  /// rounding.
  void set_scale() {
    for (std::size_t i = 0; i < n_; ++i) {
      const double range = upper(i) - lower(i);
      const double least = range > 0.0 ? 1.0 / (range * range) : 0.0;
      scale_[i] = std::max({std::abs(hessian(i, i)), k_scale_memory * scale_[i], least});
    }
  }
  double unit(std::size_t i) const { return scale_[i] > 0.0 ? std::sqrt(scale_[i]) : 1.0; }

  void find_free() {
    free_.clear();
    for (std::size_t i = 0; i < n_; ++i) {
      const double g = result_.gradient[i];
      result_.at_bound[i] = !held(i) && ((result_.x[i] <= lower(i) && g >= 0.0) ||
                                         (result_.x[i] >= upper(i) && g <= 0.0));
      if (!held(i) && !result_.at_bound[i]) free_.push_back(i);
    }
  }

  double residual(const MinimizeResult& at) const {
    double largest = 0.0;
    for (std::size_t i = 0; i < n_; ++i) {
      const double g = at.gradient[i];
      const bool pressed = (at.x[i] <= lower(i) && g >= 0.0) || (at.x[i] >= upper(i) && g <= 0.0);
      if (!held(i) && !pressed) largest = std::max(largest, std::abs(g) / unit(i));
    }
    return largest;
  }

  /// Hessian of some variables in units of their scales.
  Matrix scaled_hessian(const Indices& of) const {
    Matrix m(index(of.size()), index(of.size()));
    for (std::size_t a = 0; a < of.size(); ++a) {
      for (std::size_t b = 0; b < of.size(); ++b) {
        m(index(a), index(b)) = hessian(of[a], of[b]) / (unit(of[a]) * unit(of[b]));
      }
    }
    return m;
  }

  /// Whether the function falls in some free direction although its slope is 0.
  bool falls() {
    smallest_ = 1.0;
    if (free_.empty()) return false;
    const Matrix m = scaled_hessian(free_);
    if (Eigen::LLT<Matrix>(m - k_flat * Matrix::Identity(m.rows(), m.cols())).info() ==
        Eigen::Success) {
      return false;
    }
    smallest_ = Eigen::SelfAdjointEigenSolver<Matrix>(m, Eigen::EigenvaluesOnly).eigenvalues()[0];
    return smallest_ < k_falling;
  }

  double model(const Vector& step) const {
    double sum = 0.0;
    for (std::size_t i = 0; i < n_; ++i) {
      if (step[index(i)] == 0.0) continue;
      double curvature = 0.0;
      for (std::size_t j = 0; j < n_; ++j) curvature += hessian(i, j) * step[index(j)];
      sum += step[index(i)] * (result_.gradient[i] + 0.5 * curvature);
    }
    return sum;
  }
  double norm(const Vector& step) const {
    double sum = 0.0;
    for (std::size_t i = 0; i < n_; ++i) sum += std::pow(unit(i) * step[index(i)], 2);
    return std::sqrt(sum);
  }

  /// Minimum of the model in the ball and the bounds: what leaves the bounds is held there, and the
  /// rest is solved again. If that is no better than a step down the slope, that one.
  Vector make_step(double radius) const {
    Vector step = Vector::Zero(index(n_));
    Indices moving = free_;
    bool clipped = false;
    while (!moving.empty()) {
      Vector g(index(moving.size()));
      for (std::size_t a = 0; a < moving.size(); ++a) {
        double slope = result_.gradient[moving[a]];
        for (std::size_t j = 0; j < n_; ++j) {
          if (!std::binary_search(moving.begin(), moving.end(), j)) {
            slope += hessian(moving[a], j) * step[index(j)];
          }
        }
        g[index(a)] = slope / unit(moving[a]);
      }
      const Vector p = solve(scaled_hessian(moving), g, radius);
      Indices inside;
      for (std::size_t a = 0; a < moving.size(); ++a) {
        const std::size_t i = moving[a];
        const double x = result_.x[i] + p[index(a)] / unit(i);
        if (x >= lower(i) && x <= upper(i)) {
          inside.push_back(i);
          step[index(i)] = p[index(a)] / unit(i);
        } else {
          step[index(i)] = (x < lower(i) ? lower(i) : upper(i)) - result_.x[i];
        }
      }
      if (inside.size() == moving.size()) break;
      clipped = true;
      moving = std::move(inside);
    }
    if (!clipped) return step;
    const Vector down = slope_step(radius);
    return model(down) < model(step) ? down : step;
  }

  static Vector solve(const Matrix& matrix, const Vector& g, double radius) {
    const Eigen::LLT<Matrix> factor(matrix);
    if (factor.info() == Eigen::Success) {
      Vector p = -factor.solve(g);
      if (p.allFinite() && p.norm() <= radius) return p;
    }
    return step_in_ball(matrix, g, radius);
  }

  /// Along the negative gradient, projected on the bounds, as far as the model falls enough.
  Vector slope_step(double radius) const {
    Vector step(index(n_));
    double size = 1.0;
    for (int halving = 0; halving < 60; ++halving, size *= 0.5) {
      step.setZero();
      double slope = 0.0;
      for (std::size_t i : free_) {
        const double x = result_.x[i] - size * result_.gradient[i] / (unit(i) * unit(i));
        step[index(i)] = std::clamp(x, lower(i), upper(i)) - result_.x[i];
        slope += result_.gradient[i] * step[index(i)];
      }
      if (norm(step) <= radius && model(step) <= 0.1 * slope) break;
    }
    return step;
  }

  MinimizeResult finish(FitStatus status, std::string message) {
    result_.status = status;
    result_.message = std::move(message);
    if (!free_.empty()) {
      Vector g(index(free_.size()));
      for (std::size_t a = 0; a < free_.size(); ++a) {
        g[index(a)] = result_.gradient[free_[a]] / unit(free_[a]);
      }
      const Vector p = scaled_hessian(free_).completeOrthogonalDecomposition().solve(g);
      result_.edm = std::abs(0.5 * g.dot(p));
    }
    return std::move(result_);
  }
  MinimizeResult finish_converged() {
    return finish(FitStatus::converged,
                  smallest_ > k_flat ? "converged" : "converged; a direction has no curvature");
  }
  /// No step leads lower: the minimum to the rounding of the function, or a place of no derivative.
  MinimizeResult finish_without_step() {
    const bool saddle = falls();
    const double rounding = 10.0 * k_rounding * (1.0 + std::abs(result_.value));
    MinimizeResult result = finish(FitStatus::stalled, "no step leads to a lower value");
    if (!saddle && result.edm <= rounding) {
      result.status = FitStatus::converged;
      result.message = "converged to the rounding of the function";
    }
    return result;
  }

  const Objective& f_;
  const MinimizeOptions& options_;
  std::size_t n_;
  std::vector<double> scale_;
  Indices free_;
  double smallest_ = 1.0;
  MinimizeResult result_, trial_;
};

}  // namespace

MinimizeResult minimize(const Objective& f, std::vector<double> start,
                        const MinimizeOptions& options) {
  return Search(f, std::move(start), options).run();
}

}  // namespace slalom
