// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/gaussian_process.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>

#include "slalom/core/error.hpp"
#include "slalom/core/minimize.hpp"

namespace slalom {

namespace {

using Vector = Eigen::VectorXd;
using Matrix = Eigen::MatrixXd;

constexpr std::size_t k_most_points = 2000;
/// The variance is sought within this factor of that of the points.
constexpr double k_variance_range = 1e6;
/// Starts of the length, as shares of the range of x: the likelihood may have several maxima.
constexpr double k_starts[] = {0.05, 0.2, 0.7};

[[noreturn]] void refuse(const std::string& what, const std::string& where) {
  throw Error(ErrorKind::usage, what, where);
}

void check(std::span<const double> x, std::span<const double> y, std::span<const double> noise,
           const GaussianProcessOptions& options) {
  if (x.size() != y.size() || x.size() != noise.size()) {
    refuse("as many places, values and standard deviations expected", "gaussian_process");
  }
  if (x.size() < 2 || x.size() > k_most_points) {
    refuse("2 to " + std::to_string(k_most_points) + " points expected", "x");
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::string where = "[" + std::to_string(i) + "]";
    if (!std::isfinite(x[i])) refuse("must be finite", "x" + where);
    if (!std::isfinite(y[i])) refuse("must be finite", "y" + where);
    if (!std::isfinite(noise[i]) || noise[i] <= 0.0) refuse("must be positive", "noise" + where);
    if (std::find(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(i), x[i]) !=
        x.begin() + static_cast<std::ptrdiff_t>(i)) {
      refuse("the place is there already", "x" + where);
    }
  }
  const auto positive = [](const std::optional<double>& value, const char* name) {
    if (value && !(std::isfinite(*value) && *value > 0.0)) refuse("must be positive", name);
  };
  positive(options.length, "length");
  positive(options.variance, "variance");
}

/// The points, and minus the log of their marginal likelihood by logarithms of variance and length.
class Marginal {
 public:
  Marginal(std::span<const double> x, const Vector& y, std::span<const double> noise)
      : y_(y), noise2_(static_cast<Eigen::Index>(noise.size())) {
    const auto n = static_cast<Eigen::Index>(x.size());
    squares_.resize(n, n);
    for (Eigen::Index i = 0; i < n; ++i) {
      const auto a = static_cast<std::size_t>(i);
      noise2_[i] = noise[a] * noise[a];
      for (Eigen::Index j = 0; j < n; ++j) {
        const double d = x[a] - x[static_cast<std::size_t>(j)];
        squares_(i, j) = d * d;
      }
    }
  }

  /// The covariance of the curve, without noise.
  Matrix kernel(double variance, double length) const {
    return variance * (-0.5 / (length * length) * squares_).array().exp().matrix();
  }
  Eigen::LLT<Matrix> factor(const Matrix& kernel) const {
    return Eigen::LLT<Matrix>(kernel + Matrix(noise2_.asDiagonal()));
  }
  static double log_determinant(const Eigen::LLT<Matrix>& factors) {
    return 2.0 * factors.matrixLLT().diagonal().array().log().sum();
  }

  double operator()(std::span<const double> at, std::span<double> gradient,
                    std::span<double> hessian) const {
    const double length = std::exp(at[1]);
    const Matrix k = kernel(std::exp(at[0]), length);
    const Eigen::LLT<Matrix> factors = factor(k);
    if (factors.info() != Eigen::Success) return std::numeric_limits<double>::infinity();
    const Vector alpha = factors.solve(y_);
    const double value = 0.5 * (y_.dot(alpha) + log_determinant(factors));
    if (gradient.empty() && hessian.empty()) return value;
    const Matrix inverse = factors.solve(Matrix::Identity(k.rows(), k.cols()));
    const Matrix d = squares_ / (length * length);
    const Matrix by_length = k.cwiseProduct(d);
    const Matrix* first[] = {&k, &by_length};
    const Matrix by_length_twice = by_length.cwiseProduct(d) - 2.0 * by_length;
    const Matrix* second[2][2] = {{&k, &by_length}, {&by_length, &by_length_twice}};
    for (std::size_t i = 0; i < 2; ++i) {
      if (!gradient.empty()) {
        gradient[i] = 0.5 * (inverse.cwiseProduct(*first[i]).sum() - alpha.dot(*first[i] * alpha));
      }
      for (std::size_t j = 0; j < 2 && !hessian.empty(); ++j) {
        const Matrix ki = inverse * *first[i], kj = inverse * *first[j];
        hessian[2 * i + j] = (*first[i] * alpha).dot(inverse * (*first[j] * alpha)) -
                             0.5 * alpha.dot(*second[i][j] * alpha) +
                             0.5 * inverse.cwiseProduct(*second[i][j]).sum() -
                             0.5 * ki.cwiseProduct(kj.transpose()).sum();
      }
    }
    return value;
  }

 private:
  Vector y_, noise2_;
  Matrix squares_;
};

/// Variance and length of the largest marginal likelihood.
void optimise(const Marginal& marginal, const Vector& y, std::span<const double> x,
              const GaussianProcessOptions& options, GaussianProcess& process) {
  std::vector<double> sorted(x.begin(), x.end());
  std::sort(sorted.begin(), sorted.end());
  const double range = sorted.back() - sorted.front();
  double nearest = range;
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    nearest = std::min(nearest, sorted[i] - sorted[i - 1]);
  }
  const double size =
      std::max(y.squaredNorm() / static_cast<double>(y.size()), std::numeric_limits<double>::min());
  MinimizeOptions search;
  search.lower = {std::log(size / k_variance_range), std::log(0.5 * nearest)};
  search.upper = {std::log(size * k_variance_range), std::log(10.0 * range)};
  search.held = {options.variance.has_value(), options.length.has_value()};
  for (std::size_t i = 0; i < 2; ++i) {  // what is given need not lie in the range of the search
    const std::optional<double>& given = i == 0 ? options.variance : options.length;
    if (given) search.lower[i] = search.upper[i] = std::log(*given);
  }
  double least = std::numeric_limits<double>::infinity();
  for (const double share : k_starts) {
    const MinimizeResult found =
        minimize([&](std::span<const double> at, std::span<double> gradient,
                     std::span<double> hessian) { return marginal(at, gradient, hessian); },
                 {options.variance ? std::log(*options.variance) : std::log(size),
                  options.length ? std::log(*options.length) : std::log(share * range)},
                 search);
    const bool better = found.value < least || (found.converged() && !process.converged);
    if (!better) continue;
    least = found.value;
    process.converged = found.converged();
    process.message = found.converged() ? "" : found.message;
    process.variance = std::exp(found.x[0]);
    process.length = std::exp(found.x[1]);
  }
}

}  // namespace

GaussianProcessValue GaussianProcess::at(double place) const {
  if (!std::isfinite(place)) refuse("must be finite", "place");
  const auto n = static_cast<Eigen::Index>(x.size());
  Vector k(n);
  for (Eigen::Index i = 0; i < n; ++i) {
    const double d = (place - x[static_cast<std::size_t>(i)]) / length;
    k[i] = variance * std::exp(-0.5 * d * d);
  }
  const Eigen::Map<const Vector> alpha(coefficients.data(), n);
  const Eigen::Map<const Matrix> matrix(inverse.data(), n, n);
  return {mean + k.dot(alpha), std::sqrt(std::max(0.0, variance - k.dot(matrix * k)))};
}

GaussianProcess fit_gaussian_process(std::span<const double> x, std::span<const double> y,
                                     std::span<const double> noise,
                                     const GaussianProcessOptions& options) {
  check(x, y, noise, options);
  GaussianProcess process;
  process.x.assign(x.begin(), x.end());
  if (options.subtract_mean) {
    double sum = 0.0, weights = 0.0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      sum += y[i] / (noise[i] * noise[i]);
      weights += 1.0 / (noise[i] * noise[i]);
    }
    process.mean = sum / weights;
  }
  const Vector rest =
      Eigen::Map<const Vector>(y.data(), static_cast<Eigen::Index>(y.size())).array() -
      process.mean;
  const Marginal marginal(x, rest, noise);
  if (options.length && options.variance) {
    process.length = *options.length;
    process.variance = *options.variance;
    process.converged = true;
  } else {
    optimise(marginal, rest, x, options, process);
  }
  const Eigen::LLT<Matrix> factors =
      marginal.factor(marginal.kernel(process.variance, process.length));
  if (factors.info() != Eigen::Success) {
    throw Error(ErrorKind::numerical, "the covariance of the points is singular: too little noise",
                "gaussian_process");
  }
  const Vector alpha = factors.solve(rest);
  const Matrix inverse = factors.solve(Matrix::Identity(rest.size(), rest.size()));
  process.coefficients.assign(alpha.data(), alpha.data() + alpha.size());
  process.inverse.assign(inverse.data(), inverse.data() + inverse.size());
  process.log_marginal =
      -0.5 * (rest.dot(alpha) + Marginal::log_determinant(factors) +
              static_cast<double>(rest.size()) * std::log(2.0 * std::numbers::pi));
  return process;
}

CurveMaximum maximum_of(const GaussianProcess& curve, double low, double high, double drop,
                        std::size_t steps) {
  if (!std::isfinite(low) || !std::isfinite(high) || !(low < high)) {
    refuse("a range with an end above its beginning expected", "maximum_of");
  }
  if (!(drop > 0.0) || steps < 1) refuse("drop and steps must be positive", "maximum_of");
  const double h = (high - low) / static_cast<double>(steps);
  std::vector<double> values;
  for (std::size_t i = 0; i <= steps; ++i) {
    values.push_back(curve.at(low + h * static_cast<double>(i)).value);
  }
  const auto best =
      static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin());
  CurveMaximum result;
  // Golden sections between the neighbours of the largest value.
  double a = low + h * static_cast<double>(best == 0 ? 0 : best - 1);
  double b = low + h * static_cast<double>(best == steps ? steps : best + 1);
  constexpr double k_golden = 0.6180339887498949;
  for (int i = 0; i < 60; ++i) {
    const double c = b - k_golden * (b - a), d = a + k_golden * (b - a);
    (curve.at(c).value > curve.at(d).value ? b : a) = curve.at(c).value > curve.at(d).value ? d : c;
  }
  result.place = 0.5 * (a + b);
  for (const double end : {low, high}) {  // a maximum at an end of the range is no stationary point
    if (curve.at(end).value > curve.at(result.place).value) result.place = end;
  }
  result.value = curve.at(result.place).value;
  const double level = result.value - drop;
  const auto crossing = [&](double inside, double outside) {
    for (int i = 0; i < 80; ++i) {
      const double middle = 0.5 * (inside + outside);
      (curve.at(middle).value > level ? inside : outside) = middle;
    }
    return 0.5 * (inside + outside);
  };
  std::size_t i = best;
  while (i > 0 && values[i] > level) --i;
  result.lower_at_end = values[i] > level;
  result.lower = result.lower_at_end
                     ? low
                     : crossing(std::min(result.place, low + h * static_cast<double>(i + 1)),
                                low + h * static_cast<double>(i));
  i = best;
  while (i < steps && values[i] > level) ++i;
  result.upper_at_end = values[i] > level;
  result.upper = result.upper_at_end
                     ? high
                     : crossing(std::max(result.place, low + h * (static_cast<double>(i) - 1.0)),
                                low + h * static_cast<double>(i));
  return result;
}

}  // namespace slalom
