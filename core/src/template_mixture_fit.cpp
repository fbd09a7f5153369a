// SPDX-License-Identifier: Apache-2.0
#include <Eigen/Dense>
#include <algorithm>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>
#include <utility>

#include "slalom/core/error.hpp"
#include "slalom/core/minimize.hpp"
#include "slalom/core/template_mixture.hpp"

namespace slalom {

namespace {

using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;

Eigen::Index index(std::size_t i) { return static_cast<Eigen::Index>(i); }

MinimizeResult minimum(const TemplateMixture& mixture, std::vector<double> start,
                       const MixtureFitOptions& options, bool hold_kappa) {
  MinimizeOptions o;
  o.lower.assign(mixture.size(), -std::numeric_limits<double>::infinity());
  o.upper.assign(mixture.size(), std::numeric_limits<double>::infinity());
  o.lower[0] = options.kappa_low;
  o.upper[0] = options.kappa_high;
  std::size_t at = 1;
  for (const MixtureProcess* p : {&mixture.signal(), &mixture.background()}) {
    const bool linear = p->family == MixtureFamily::linear;
    for (std::size_t d = 0; d < p->start.size(); ++d, ++at) {
      if (linear) o.lower[at] = 0.0;
    }
  }
  o.held.assign(mixture.size(), false);
  o.held[0] = hold_kappa;
  o.tolerance = options.tolerance;
  return minimize([&](std::span<const double> x, std::span<double> g,
                      std::span<double> h) { return mixture.nll(x, g, h); },
                  std::move(start), o);
}

void check_options(const TemplateMixture& mixture, const MixtureFitOptions& o) {
  if (!(std::isfinite(o.kappa_low) && std::isfinite(o.kappa_high) && o.kappa_low < o.kappa_high)) {
    throw Error(ErrorKind::model, "the bounds of kappa are not finite and rising", "kappa");
  }
  if (!o.init.empty() && o.init.size() != mixture.size()) {
    throw Error(ErrorKind::model,
                "the start has " + std::to_string(o.init.size()) + " numbers for " +
                    std::to_string(mixture.size()) + " parameters",
                "init");
  }
}

/// Inverse of the Hessian of the parameters that move, and the sandwich around it.
void add_errors(const TemplateMixture& mixture, const std::vector<double>& hessian, bool hold_kappa,
                MixtureFit& fit) {
  const std::size_t n = mixture.size();
  std::vector<Eigen::Index> moving;
  for (std::size_t i = hold_kappa ? 1 : 0; i < n; ++i) {
    if (!fit.at_bound[i]) moving.push_back(index(i));
  }
  fit.covariance.assign(n * n, 0.0);
  fit.sandwich.assign(n * n, 0.0);
  if (moving.empty()) return;
  const Eigen::Map<const Rows> h(hessian.data(), index(n), index(n));
  const Eigen::LLT<Matrix> factor(Matrix(h(moving, moving)));
  if (factor.info() != Eigen::Success) {
    fit.message += "; no errors, since a direction has no curvature";
    return;
  }
  const Matrix inverse = factor.solve(Matrix::Identity(index(moving.size()), index(moving.size())));
  if (!inverse.allFinite()) return;
  const std::vector<double> scores = mixture.score_covariance(fit.parameters);
  const Eigen::Map<const Rows> b(scores.data(), index(n), index(n));
  const Matrix sandwich = inverse * Matrix(b(moving, moving)) * inverse;
  Eigen::Map<Rows>(fit.covariance.data(), index(n), index(n))(moving, moving) = inverse;
  Eigen::Map<Rows>(fit.sandwich.data(), index(n), index(n))(moving, moving) = sandwich;
}

/// log of the determinant of the Hessian of the parameters other than kappa that move.
double log_determinant(const MinimizeResult& m) {
  const std::size_t n = m.x.size();
  std::vector<Eigen::Index> moving;
  for (std::size_t i = 1; i < n; ++i) {
    if (!m.at_bound[i]) moving.push_back(index(i));
  }
  if (moving.empty()) return 0.0;
  const Eigen::Map<const Rows> h(m.hessian.data(), index(n), index(n));
  const Eigen::LLT<Matrix> factor(Matrix(h(moving, moving)));
  if (factor.info() != Eigen::Success) {
    throw Error(ErrorKind::numerical, "a direction has no curvature: there is no such integral",
                "kappa " + std::to_string(m.x[0]));
  }
  double sum = 0.0;
  for (Eigen::Index i = 0; i < index(moving.size()); ++i) {
    sum += 2.0 * std::log(factor.matrixLLT()(i, i));
  }
  return sum;
}

/// Error of kappa from the curvature, whether it is at a bound or not; 0 where there is none.
double width_of(const TemplateMixture& mixture, const MixtureFit& best) {
  const std::size_t n = mixture.size();
  std::vector<double> gradient(n), hessian(n * n);
  if (!std::isfinite(mixture.nll(best.parameters, gradient, hessian))) return 0.0;
  std::vector<Eigen::Index> moving = {0};
  for (std::size_t i = 1; i < n; ++i) {
    if (!best.at_bound[i]) moving.push_back(index(i));
  }
  const Eigen::Map<const Rows> h(hessian.data(), index(n), index(n));
  const Eigen::LLT<Matrix> factor(Matrix(h(moving, moving)));
  if (factor.info() != Eigen::Success) return 0.0;
  const Vector unit = Vector::Unit(index(moving.size()), 0);
  const double variance = factor.solve(unit)[0];
  return std::isfinite(variance) && variance > 0.0 ? std::sqrt(variance) : 0.0;
}

double root_of(double variance) { return variance > 0.0 ? std::sqrt(variance) : 0.0; }

/// The profile of -log L, followed from the best fit.
class Profile {
 public:
  Profile(const TemplateMixture& mixture, const MixtureFit& best, const MixtureFitOptions& options)
      : mixture_(mixture), best_(best), options_(options), near_(best.parameters) {}

  /// 2 (L(kappa) - L(best)), or nothing if the fit fails.
  bool rise(double kappa, double& result) {
    near_[0] = kappa;
    const MinimizeResult m = minimum(mixture_, near_, options_, true);
    if (m.status == FitStatus::infeasible || !m.converged()) {
      near_ = best_.parameters;
      return false;
    }
    near_ = m.x;
    result = 2.0 * (m.value - best_.nll);
    return true;
  }

 private:
  const TemplateMixture& mixture_;
  const MixtureFit& best_;
  const MixtureFitOptions& options_;
  std::vector<double> near_;
};

IntervalSide side_of(const TemplateMixture& mixture, const MixtureFit& best,
                     const MixtureFitOptions& options, double level, double bound) {
  Profile profile(mixture, best, options);
  IntervalSide side;
  const double sign = bound > best.kappa() ? 1.0 : -1.0;
  double inside = best.kappa(), f_inside = -level;
  double step = std::max(best.laplace_error(), 1e-4 * std::abs(bound - inside));
  double outside = inside, f_outside = 0.0;
  const auto fails = [&] {
    side.value = inside;
    side.message = "a conditional fit failed";
    return side;
  };
  // Outwards until the level is passed, or the bound is met.
  for (;;) {
    outside = inside + sign * step;
    const bool end = sign * (outside - bound) >= 0.0;
    if (end) outside = bound;
    double rise = 0.0;
    if (!profile.rise(outside, rise)) return fails();
    f_outside = rise - level;
    if (f_outside >= 0.0) break;
    inside = outside;
    f_inside = f_outside;
    if (end) {
      side.value = bound;
      side.at_bound = side.converged = true;
      return side;
    }
    step *= 1.5;
  }
  // The root of the rise is nearly linear: regula falsi (Illinois) on it.
  const auto root = [&](double f) {
    return std::sqrt(std::max(f + level, 0.0)) - std::sqrt(level);
  };
  double g_inside = root(f_inside), g_outside = root(f_outside);
  int last = 0;
  for (int i = 0; i < 60; ++i) {
    const double next = (inside * g_outside - outside * g_inside) / (g_outside - g_inside);
    side.value = next;
    double rise = 0.0;
    if (!profile.rise(next, rise)) return fails();
    const double g = root(rise - level);
    if (std::abs(g) < 1e-6 * std::sqrt(level) || std::abs(outside - inside) < 1e-12) break;
    const int now = g < 0.0 ? -1 : 1;
    (g < 0.0 ? inside : outside) = next;
    (g < 0.0 ? g_inside : g_outside) = g;
    if (now == last) (g < 0.0 ? g_outside : g_inside) *= 0.5;
    last = now;
  }
  side.converged = true;
  return side;
}

}  // namespace

double MixtureFit::laplace_error() const {
  return covariance.empty() ? 0.0 : root_of(covariance[0]);
}
double MixtureFit::sandwich_error() const { return sandwich.empty() ? 0.0 : root_of(sandwich[0]); }

MixtureFit fit(const TemplateMixture& mixture, const MixtureFitOptions& options) {
  check_options(mixture, options);
  const double kappa = std::clamp(0.1, options.kappa_low, options.kappa_high);
  const MinimizeResult m =
      minimum(mixture, options.init.empty() ? mixture.start(kappa) : options.init, options,
              options.hold_kappa);
  MixtureFit result;
  result.status = m.status;
  result.message = m.message;
  result.nll = m.value;
  result.parameters = m.x;
  result.at_bound = m.at_bound;
  result.evaluations = m.evaluations;
  if (m.status != FitStatus::infeasible) {
    add_errors(mixture, m.hessian, options.hold_kappa, result);
  }
  return result;
}

Interval profile_interval(const TemplateMixture& mixture, const MixtureFit& best,
                          const MixtureFitOptions& options, double level) {
  check_options(mixture, options);
  if (!best.converged() || best.parameters.size() != mixture.size() || !(level > 0.0)) {
    throw Error(ErrorKind::usage, "an interval needs a converged fit and a level above 0", "kappa");
  }
  return {side_of(mixture, best, options, level, options.kappa_low),
          side_of(mixture, best, options, level, options.kappa_high)};
}

KappaPosterior kappa_posterior(const TemplateMixture& mixture, const MixtureFit& best,
                               const MixtureFitOptions& options, std::size_t points, double range) {
  check_options(mixture, options);
  if (!best.converged() || best.parameters.size() != mixture.size() || points < 3 ||
      !(range > 0.0)) {
    throw Error(ErrorKind::usage, "a posterior needs a converged fit, and at least 3 points",
                "kappa");
  }
  double sigma = width_of(mixture, best);
  if (sigma == 0.0) sigma = options.kappa_high - options.kappa_low;
  const double low = std::max(options.kappa_low, best.kappa() - range * sigma);
  const double high = std::min(options.kappa_high, best.kappa() + range * sigma);
  KappaPosterior result;
  std::vector<double> log_density(points);
  for (std::size_t i = 0; i < points; ++i) {
    result.kappa.push_back(low +
                           (high - low) * static_cast<double>(i) / static_cast<double>(points - 1));
  }
  // From the best fit outwards, each conditional fit from its neighbour.
  const auto first = std::lower_bound(result.kappa.begin(), result.kappa.end(), best.kappa());
  const std::size_t middle = static_cast<std::size_t>(first - result.kappa.begin());
  const auto conditional = [&](std::size_t i, std::vector<double>& near) {
    near[0] = result.kappa[i];
    const MinimizeResult m = minimum(mixture, near, options, true);
    if (m.status == FitStatus::infeasible) {
      log_density[i] = -std::numeric_limits<double>::infinity();
      return;
    }
    if (!m.converged()) {
      throw Error(ErrorKind::numerical, "a conditional fit failed: " + m.message,
                  "kappa " + std::to_string(near[0]));
    }
    near = m.x;
    log_density[i] = best.nll - m.value - 0.5 * log_determinant(m);
  };
  std::vector<double> near = best.parameters;
  for (std::size_t i = middle; i < points; ++i) conditional(i, near);
  near = best.parameters;
  for (std::size_t i = middle; i-- > 0;) conditional(i, near);

  const double top = *std::max_element(log_density.begin(), log_density.end());
  const double width = (high - low) / static_cast<double>(points - 1);
  double sum = 0.0, mean = 0.0, square = 0.0;
  for (std::size_t i = 0; i < points; ++i) {
    const double w = (i == 0 || i + 1 == points) ? 0.5 * width : width;  // trapezoidal rule
    result.density.push_back(std::exp(log_density[i] - top));
    sum += w * result.density[i];
    mean += w * result.density[i] * result.kappa[i];
  }
  mean /= sum;
  for (std::size_t i = 0; i < points; ++i) {
    const double w = (i == 0 || i + 1 == points) ? 0.5 * width : width;
    square += w * result.density[i] * std::pow(result.kappa[i] - mean, 2);
    result.density[i] /= sum;
  }
  result.mean = mean;
  result.sigma = std::sqrt(square / sum);
  return result;
}

namespace {

/// The density is linear between the points of the grid; so its integral is quadratic.
double quantile(const KappaPosterior& posterior, double p) {
  const std::vector<double>&kappa = posterior.kappa, &density = posterior.density;
  double below = 0.0;
  for (std::size_t i = 0; i + 1 < kappa.size(); ++i) {
    const double h = kappa[i + 1] - kappa[i], a = density[i], b = density[i + 1];
    const double area = 0.5 * h * (a + b);
    if (below + area < p && i + 2 < kappa.size()) {
      below += area;
      continue;
    }
    const double left = std::clamp(p - below, 0.0, area), slope = (b - a) / h;
    const double root = std::sqrt(std::max(a * a + 2.0 * slope * left, 0.0));
    return kappa[i] + (a + root > 0.0 ? 2.0 * left / (a + root) : 0.0);
  }
  return kappa.back();
}

}  // namespace

Interval KappaPosterior::central(double probability) const {
  if (!(probability > 0.0 && probability < 1.0) || kappa.size() < 2) {
    throw Error(ErrorKind::usage, "a probability is above 0 and below 1", "central interval");
  }
  Interval result;
  result.lower = {quantile(*this, 0.5 * (1.0 - probability)), false, true, {}};
  result.upper = {quantile(*this, 0.5 * (1.0 + probability)), false, true, {}};
  return result;
}

double KappaPosterior::median() const {
  if (kappa.size() < 2) throw Error(ErrorKind::usage, "there is no density", "median");
  return quantile(*this, 0.5);
}

PullTest pull_test(const TemplateMixture& mixture, const MixtureFit& best, double least) {
  if (!best.converged() || best.covariance.empty()) {
    throw Error(ErrorKind::usage, "a test of the shapes needs a converged fit with errors",
                "pull test");
  }
  // With precision = L L^T, L^T (x - mean) has the unit matrix as its prior covariance. All priors
  // together, since data correlate what they leave apart.
  const std::size_t n = mixture.size();
  Matrix whiten = Matrix::Zero(index(n), index(n));
  Vector pulls = Vector::Zero(index(n));
  std::vector<Eigen::Index> used;
  for (const ShapePrior& prior : mixture.priors()) {
    const Eigen::Index m = index(prior.mean.size()), at = index(prior.first);
    const Eigen::LLT<Matrix> factor{Matrix(Eigen::Map<const Rows>(prior.precision.data(), m, m))};
    if (factor.info() != Eigen::Success || whiten.block(at, at, m, m).any()) {
      throw Error(ErrorKind::usage, "a prior is singular, or overlaps another one", "pull test");
    }
    const Matrix lower = factor.matrixL();
    whiten.block(at, at, m, m) = lower.transpose();
    pulls.segment(at, m) =
        lower.transpose() * (Eigen::Map<const Vector>(best.parameters.data() + at, m) -
                             Eigen::Map<const Vector>(prior.mean.data(), m));
    for (Eigen::Index i = 0; i < m; ++i) used.push_back(at + i);
  }
  PullTest result;
  if (used.empty()) return result;
  const Eigen::Map<const Rows> covariance(best.covariance.data(), index(n), index(n));
  const Matrix posterior = whiten * covariance * whiten.transpose();
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(Matrix(posterior(used, used)));
  const Vector along = solver.eigenvectors().transpose() * Vector(pulls(used));
  result.chi2_prior = along.squaredNorm();
  for (Eigen::Index i = 0; i < along.size(); ++i) {
    const double measured = 1.0 - solver.eigenvalues()[i];
    if (measured < least) continue;
    result.chi2 += along[i] * along[i] / measured;
    ++result.degrees;
  }
  const auto tail = [](double chi2, std::size_t degrees) {
    return degrees == 0 ? 1.0
                        : boost::math::gamma_q(0.5 * static_cast<double>(degrees), 0.5 * chi2);
  };
  result.p_prior = tail(result.chi2_prior, used.size());
  result.p_value = tail(result.chi2, result.degrees);
  return result;
}

}  // namespace slalom
