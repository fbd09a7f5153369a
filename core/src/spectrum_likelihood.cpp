// SPDX-License-Identifier: Apache-2.0
#include "spectrum_likelihood.hpp"

#include <Eigen/Cholesky>
#include <Eigen/QR>
#include <algorithm>
#include <array>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>
#include <limits>

#include "slalom/core/error.hpp"
#include "slalom/core/minimize.hpp"
#include "spectrum_terms.hpp"

namespace slalom::detail {

namespace {

using Vector = Eigen::VectorXd;
using Matrix = Eigen::MatrixXd;

/// Pivot of a Hessian scaled to a unit diagonal below which it says nothing.
constexpr double k_singular = 1e-13;
constexpr double k_infinity = std::numeric_limits<double>::infinity();

[[noreturn]] void refuse(const std::string& what, const std::string& where) {
  throw Error(ErrorKind::usage, what, where);
}

Eigen::Index index(std::size_t i) { return static_cast<Eigen::Index>(i); }

void check_edges(std::span<const double> edges, const SpectrumOptions& options) {
  if (edges.size() < 2) refuse("at least two edges expected", "edges");
  for (std::size_t i = 0; i < edges.size(); ++i) {
    const std::string where = "edges[" + std::to_string(i) + "]";
    if (!std::isfinite(edges[i])) refuse("an edge must be finite", where);
    if (i > 0 && !(edges[i] > edges[i - 1])) refuse("edges must rise", where);
  }
  if (options.family != SpectrumFamily::dijet) return;
  if (!std::isfinite(options.sqrt_s) || options.sqrt_s <= 0.0) {
    refuse("must be positive", "sqrt_s");
  }
  if (edges.front() <= 0.0 || edges.back() >= options.sqrt_s) {
    refuse("the dijet function needs masses above 0 and below sqrt_s = " +
               std::to_string(options.sqrt_s) + ", not " + std::to_string(edges.front()) + " to " +
               std::to_string(edges.back()),
           "edges");
  }
}

void check_options(const SpectrumOptions& options) {
  const bool dijet = options.family == SpectrumFamily::dijet;
  const std::size_t least = dijet ? 2 : 1, most = dijet ? 5 : 8;
  if (options.parameters < least || options.parameters > most) {
    refuse(std::string(to_string(options.family)) + " has " + std::to_string(least) + " to " +
               std::to_string(most) + " parameters, not " + std::to_string(options.parameters),
           "parameters");
  }
  if (options.max_iterations < 1) refuse("must be positive", "max_iterations");
  for (const MassWindow& window : options.blinded) {
    if (!(window.high > window.low)) refuse("a range must end above its beginning", "blinded");
  }
}

/// log Poisson(n | n) - log Poisson(n | rate); the form keeps the digits of large counts.
double deviance(double n, double rate) {
  if (n == 0.0) return rate;
  const double excess = (rate - n) / n;
  return n * (excess - std::log1p(excess));
}

/// The likelihood as a function of q and S, with derivatives.
class Likelihood {
 public:
  Likelihood(const SpectrumBasis& basis, const std::vector<BinRange>& groups,
             std::span<const double> counts, std::span<const double> shape)
      : counts_(counts.begin(), counts.end()),
        shape_(shape.begin(), shape.end()),
        terms_(index(basis.terms())) {
    Eigen::Index rows = 0;
    for (const BinRange& g : groups) rows += index((g.last - g.first) * SpectrumBasis::k_nodes);
    features_.resize(rows, terms_);
    weights_.resize(rows);
    Eigen::Index at = 0;
    for (const BinRange& g : groups) {
      const Eigen::Index from = index(g.first * SpectrumBasis::k_nodes);
      const Eigen::Index n = index((g.last - g.first) * SpectrumBasis::k_nodes);
      features_.middleRows(at, n) = basis.features().middleRows(from, n);
      weights_.segment(at, n) = basis.weights().segment(from, n);
      at += n;
      ends_.push_back(at);
    }
  }

  double operator()(std::span<const double> x, std::span<double> gradient,
                    std::span<double> hessian) const {
    const bool with_signal = !shape_.empty();
    const Eigen::Index size = terms_ + (with_signal ? 1 : 0);
    const Eigen::Map<const Vector> q(x.data(), terms_);
    const double signal = with_signal ? x[x.size() - 1] : 0.0;
    const Vector e = weights_.array() * (features_ * q).array().exp();
    const auto n_groups = index(ends_.size());
    double value = 0.0;
    Vector slopes(n_groups), bends(n_groups);  // first and second derivatives by the rates
    for (Eigen::Index g = 0; g < n_groups; ++g) {
      const auto i = static_cast<std::size_t>(g);
      const double n = counts_[i];
      const double rate =
          e.segment(begin(i), ends_[i] - begin(i)).sum() + (with_signal ? signal * shape_[i] : 0.0);
      if (!std::isfinite(rate) || rate < 0.0 || (n > 0.0 && rate == 0.0)) return k_infinity;
      value += deviance(n, rate);
      slopes[g] = n > 0.0 ? 1.0 - n / rate : 1.0;
      bends[g] = n > 0.0 ? n / (rate * rate) : 0.0;
    }
    if (gradient.empty() && hessian.empty()) return value;
    Matrix jacobian = Matrix::Zero(n_groups, size);
    Vector scaled = e;
    for (Eigen::Index g = 0; g < n_groups; ++g) {
      const auto i = static_cast<std::size_t>(g);
      const Eigen::Index from = begin(i), n = ends_[i] - from;
      jacobian.row(g).head(terms_) = features_.middleRows(from, n).transpose() * e.segment(from, n);
      if (with_signal) jacobian(g, terms_) = shape_[i];
      scaled.segment(from, n) *= slopes[g];
    }
    if (!gradient.empty()) {
      Eigen::Map<Vector>(gradient.data(), size) = jacobian.transpose() * slopes;
    }
    if (!hessian.empty()) {
      Matrix h = jacobian.transpose() * bends.asDiagonal() * jacobian;
      h.topLeftCorner(terms_, terms_) += features_.transpose() * scaled.asDiagonal() * features_;
      Eigen::Map<Matrix>(hessian.data(), size, size) = 0.5 * (h + h.transpose());
    }
    return value;
  }

 private:
  Eigen::Index begin(std::size_t group) const { return group == 0 ? 0 : ends_[group - 1]; }

  std::vector<double> counts_, shape_;
  Eigen::Index terms_;
  Matrix features_;
  Vector weights_;
  std::vector<Eigen::Index> ends_;
};

/// The inverse of a matrix that is positive definite; else an empty one.
Matrix inverse(const Matrix& matrix) {
  const Vector diagonal = matrix.diagonal();
  if (!(diagonal.minCoeff() > 0.0)) return {};
  const Vector scale = diagonal.cwiseSqrt().cwiseInverse();
  const Eigen::LDLT<Matrix> factors(scale.asDiagonal() * matrix * scale.asDiagonal());
  if (factors.info() != Eigen::Success || !(factors.vectorD().minCoeff() > k_singular)) return {};
  const Matrix unit = Matrix::Identity(matrix.rows(), matrix.cols());
  return scale.asDiagonal() * factors.solve(unit) * scale.asDiagonal();
}

}  // namespace

SpectrumBasis::SpectrumBasis(std::span<const double> edges, const SpectrumOptions& options)
    : edges_(edges.begin(), edges.end()), options_(options) {
  check_options(options);
  check_edges(edges, options);
  const SpectrumTerms terms{options.family, options.parameters, options.sqrt_s, edges_.front(),
                            edges_.back()};
  const Eigen::Index rows = index(bins() * k_nodes);
  Matrix natural(rows, index(options.parameters));
  weights_.resize(rows);
  for (std::size_t b = 0; b < bins(); ++b) {
    const double centre = 0.5 * (edges_[b] + edges_[b + 1]);
    const double half = 0.5 * (edges_[b + 1] - edges_[b]);
    for (std::size_t i = 0; i < k_nodes; ++i) {
      const Eigen::Index row = index(b * k_nodes + i);
      natural.row(row) = terms.at(centre + half * k_gauss_nodes[i]);
      weights_[row] = half * k_gauss_weights[i];
    }
  }
  // natural = Q R: the columns of Q, each of mean square 1, are the orthonormal terms.
  const Eigen::HouseholderQR<Matrix> qr(natural);
  const double scale = std::sqrt(static_cast<double>(rows));
  const Eigen::Index k = natural.cols();
  features_ = scale * (qr.householderQ() * Matrix::Identity(rows, k));
  const Matrix r = qr.matrixQR().topRows(k).triangularView<Eigen::Upper>();
  transform_ = scale * r.triangularView<Eigen::Upper>().solve(Matrix::Identity(k, k));
  if (!transform_.allFinite()) {
    refuse("the terms of the function cannot be told apart on these edges", "edges");
  }
}

Vector SpectrumBasis::start(std::span<const double> counts, const std::vector<bool>& use) const {
  double total = 0.0, n = 0.0;
  for (std::size_t b = 0; b < bins(); ++b) {
    if (!use[b]) continue;
    total += counts[b];
    n += 1.0;
  }
  // Bins without events count as a part of one, less than what others have.
  const double offset = std::max(1e-3, 0.5 * std::min(1.0, total / n));
  Matrix design(index(bins()), features_.cols());
  Vector target(index(bins()));
  Eigen::Index row = 0;
  for (std::size_t b = 0; b < bins(); ++b) {
    if (!use[b]) continue;
    const double count = counts[b] + offset;
    const double weight = std::sqrt(count);
    design.row(row) = weight * features_.row(index(b * k_nodes + k_nodes / 2));
    target[row] = weight * std::log(count / (edges_[b + 1] - edges_[b]));
    ++row;
  }
  return design.topRows(row).colPivHouseholderQr().solve(target.head(row));
}

std::pair<Vector, Matrix> SpectrumBasis::rates(const Vector& coefficients) const {
  const Vector e = weights_.array() * (features_ * coefficients).array().exp();
  Vector values(index(bins()));
  Matrix derivatives(index(bins()), features_.cols());
  for (std::size_t b = 0; b < bins(); ++b) {
    const Eigen::Index from = index(b * k_nodes), n = index(k_nodes);
    values[index(b)] = e.segment(from, n).sum();
    derivatives.row(index(b)) = features_.middleRows(from, n).transpose() * e.segment(from, n);
  }
  return {values, derivatives};
}

double SpectrumMinimum::signal_error() const {
  if (!signal_free || covariance.size() == 0) return 0.0;
  const Eigen::Index last = covariance.rows() - 1;
  return std::sqrt(std::max(0.0, covariance(last, last)));
}

SpectrumMinimum fit_groups(const SpectrumBasis& basis, const std::vector<BinRange>& groups,
                           std::span<const double> counts, const SignalTerm& signal,
                           const Vector& start) {
  const Likelihood likelihood(basis, groups, counts, signal.shape);
  std::vector<double> x(start.data(), start.data() + start.size());
  MinimizeOptions options;
  options.max_iterations = basis.options().max_iterations;
  const bool with_signal = !signal.shape.empty();
  if (with_signal) {
    options.lower.assign(x.size(), -k_infinity);
    options.held.assign(x.size(), false);
    x.push_back(signal.start);
    options.lower.push_back(signal.held ? -k_infinity : signal.lower);
    options.held.push_back(signal.held);
  }
  const MinimizeResult found =
      minimize([&](std::span<const double> at, std::span<double> gradient,
                   std::span<double> hessian) { return likelihood(at, gradient, hessian); },
               std::move(x), options);
  SpectrumMinimum result;
  result.status = found.status;
  result.message = found.message;
  result.nll = found.value;
  const Eigen::Index terms = index(basis.terms());
  result.coefficients = Eigen::Map<const Vector>(found.x.data(), terms);
  if (with_signal) result.signal = found.x.back();
  result.signal_free = with_signal && !signal.held && !found.at_bound.back();
  if (found.hessian.empty() || !std::isfinite(found.value)) return result;
  const Eigen::Index size = index(found.x.size());
  const Eigen::Map<const Matrix> hessian(found.hessian.data(), size, size);
  const Eigen::Index free = result.signal_free ? size : terms;
  result.covariance = inverse(hessian.topLeftCorner(free, free));
  if (result.covariance.size() == 0 && result.converged()) {
    result.status = FitStatus::stalled;
    result.message = "the data do not determine all parameters";
  }
  return result;
}

std::vector<double> grouped(const std::vector<BinRange>& groups, std::span<const double> counts) {
  std::vector<double> result;
  result.reserve(groups.size());
  for (const BinRange& g : groups) {
    double sum = 0.0;
    for (std::size_t b = g.first; b < g.last; ++b) sum += counts[b];
    result.push_back(sum);
  }
  return result;
}

std::vector<bool> outside(std::span<const double> edges, const std::vector<MassWindow>& ranges) {
  std::vector<bool> result(edges.size() - 1, true);
  for (std::size_t b = 0; b + 1 < edges.size(); ++b) {
    const double centre = 0.5 * (edges[b] + edges[b + 1]);
    for (const MassWindow& range : ranges) {
      if (centre > range.low && centre < range.high) result[b] = false;
    }
  }
  return result;
}

std::vector<BinRange> single_bins(const std::vector<bool>& use) {
  std::vector<BinRange> result;
  for (std::size_t b = 0; b < use.size(); ++b) {
    if (use[b]) result.push_back({b, b + 1});
  }
  return result;
}

void check_counts(const SpectrumBasis& basis, std::span<const double> counts) {
  if (counts.size() != basis.bins()) {
    refuse(std::to_string(counts.size()) + " counts for " + std::to_string(basis.bins()) + " bins",
           "counts");
  }
  for (std::size_t b = 0; b < counts.size(); ++b) {
    if (!std::isfinite(counts[b]) || counts[b] < 0.0) {
      refuse("a count must be finite and not negative", "counts[" + std::to_string(b) + "]");
    }
  }
}

void check_groups(const SpectrumBasis& basis, const std::vector<BinRange>& groups,
                  std::span<const double> grouped_counts) {
  if (groups.size() < basis.terms()) {
    refuse(std::to_string(groups.size()) + " bins for " + std::to_string(basis.terms()) +
               " parameters of the background",
           "edges");
  }
  if (std::all_of(grouped_counts.begin(), grouped_counts.end(),
                  [](double n) { return n == 0.0; })) {
    refuse("there are no events in the bins of the fit", "counts");
  }
}

SpectrumFit describe(const SpectrumBasis& basis, const std::vector<BinRange>& groups,
                     std::span<const double> counts, const SpectrumMinimum& minimum) {
  SpectrumFit fit;
  fit.status = minimum.status;
  fit.message = minimum.message;
  fit.family = basis.options().family;
  fit.sqrt_s = basis.options().sqrt_s;
  fit.edges = basis.edges();
  const auto [rates, derivatives] = basis.rates(minimum.coefficients);
  const Vector p = basis.transform() * minimum.coefficients;
  fit.parameters.assign(p.data(), p.data() + p.size());
  fit.expected.assign(rates.data(), rates.data() + rates.size());
  fit.error.assign(basis.bins(), 0.0);
  if (minimum.covariance.size() > 0) {
    const Eigen::Index k = p.size();
    const Matrix covariance = minimum.covariance.topLeftCorner(k, k);
    const Matrix natural = basis.transform() * covariance * basis.transform().transpose();
    fit.covariance.assign(natural.data(), natural.data() + natural.size());
    const Vector variance = (derivatives * covariance).cwiseProduct(derivatives).rowwise().sum();
    for (std::size_t b = 0; b < basis.bins(); ++b) {
      fit.error[b] = std::sqrt(std::max(0.0, variance[index(b)]));
    }
  }
  fit.fitted.assign(basis.bins(), false);
  for (const BinRange& g : groups) {
    for (std::size_t b = g.first; b < g.last; ++b) fit.fitted[b] = true;
  }
  const std::vector<double> expected = grouped(groups, fit.expected);
  const std::vector<double> observed = grouped(groups, counts);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const double difference = observed[g] - expected[g];
    if (expected[g] > 0.0) fit.chi2 += difference * difference / expected[g];
  }
  fit.deviance = 2.0 * minimum.nll;
  fit.bins = groups.size();
  fit.degrees_of_freedom = fit.bins - std::min(fit.bins, basis.terms());
  fit.p_value = chi2_above(fit.deviance, fit.degrees_of_freedom);
  fit.chi2_p_value = chi2_above(fit.chi2, fit.degrees_of_freedom);
  return fit;
}

double chi2_above(double x, std::size_t degrees_of_freedom) {
  if (degrees_of_freedom == 0 || !std::isfinite(x)) return degrees_of_freedom == 0 ? 1.0 : 0.0;
  return boost::math::gamma_q(0.5 * static_cast<double>(degrees_of_freedom),
                              0.5 * std::max(0.0, x));
}

}  // namespace slalom::detail
