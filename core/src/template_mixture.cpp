// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/template_mixture.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <utility>

#include "slalom/core/error.hpp"

namespace slalom {

namespace {

using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;

constexpr double k_infinity = std::numeric_limits<double>::infinity();
/// Points that are evaluated together, so that what they need stays in the cache.
constexpr std::size_t k_block = 256;

Eigen::Index index(std::size_t i) { return static_cast<Eigen::Index>(i); }

[[noreturn]] void refuse(const std::string& what, const std::string& where) {
  throw Error(ErrorKind::model, what, where);
}

void check_numbers(const std::vector<double>& numbers, bool negative_too, const char* what,
                   const std::string& where) {
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (std::isfinite(numbers[i]) && (negative_too || numbers[i] >= 0.0)) continue;
    refuse(std::string(what) + (negative_too ? " is not finite" : " is not finite, or negative") +
               ": element " + std::to_string(i),
           where);
  }
}

void check_process(const MixtureProcess& p, std::size_t points, const std::string& where) {
  const bool exponential = p.family == MixtureFamily::exponential;
  const std::size_t d = p.start.size();
  if (exponential ? p.base.size() != points : !p.base.empty()) {
    refuse("the base has " + std::to_string(p.base.size()) +
               " numbers; an exponential mixture of " + std::to_string(points) +
               " points has as many, a linear one none",
           where);
  }
  if (!exponential && d == 0) refuse("a linear mixture has at least one component", where);
  if (p.columns.size() != d * points) {
    refuse("there are " + std::to_string(p.columns.size()) + " numbers for " + std::to_string(d) +
               " columns of " + std::to_string(points) + " points",
           where);
  }
  check_numbers(p.base, true, "the base", where);
  check_numbers(p.columns, exponential, "a column", where);
  check_numbers(p.start, exponential, "the start", where);
  if (exponential) return;
  double sum = 0.0;
  for (double s : p.start) sum += s;
  if (!(sum > 0.0)) refuse("the weights of the start have no sum above 0", where);
  if (!(std::isfinite(p.concentration) && p.concentration >= 1.0)) {
    refuse("the concentration is below 1, where the prior has no maximum", where);
  }
}

void check_prior(const ShapePrior& p, std::size_t number, std::size_t parameters) {
  const std::string where = "prior " + std::to_string(number);
  const std::size_t m = p.mean.size();
  if (m == 0 || p.first > parameters || m > parameters - p.first) {
    refuse("it does not fit into " + std::to_string(parameters) + " parameters", where);
  }
  if (p.precision.size() != m * m) {
    refuse("the precision has " + std::to_string(p.precision.size()) + " numbers for " +
               std::to_string(m) + " parameters",
           where);
  }
  check_numbers(p.mean, true, "the mean", where);
  check_numbers(p.precision, true, "the precision", where);
  if (!(p.degrees > 0.0)) refuse("degrees of freedom are above 0", where);
  const Eigen::Map<const Rows> precision(p.precision.data(), index(m), index(m));
  const double scale = precision.cwiseAbs().maxCoeff();
  if (!((precision - precision.transpose()).cwiseAbs().maxCoeff() <= 1e-9 * scale)) {
    refuse("the precision is not symmetric", where);
  }
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(precision, Eigen::EigenvaluesOnly);
  if (!(solver.eigenvalues()[0] >= -1e-9 * scale)) {
    refuse("the precision has a negative eigenvalue", where);
  }
}

}  // namespace

const char* to_string(MixtureFamily family) {
  return family == MixtureFamily::exponential ? "exponential" : "linear";
}

MixtureProcess exponential_mixture(const std::vector<double>& log_densities, std::size_t k) {
  if (k == 0 || log_densities.empty() || log_densities.size() % k != 0) {
    refuse(std::to_string(log_densities.size()) + " numbers are no " + std::to_string(k) +
               " log densities",
           "exponential mixture");
  }
  const std::size_t points = log_densities.size() / k;
  MixtureProcess p;
  p.base.assign(log_densities.end() - static_cast<std::ptrdiff_t>(points), log_densities.end());
  p.columns.resize((k - 1) * points);
  for (std::size_t i = 0; i < p.columns.size(); ++i) {
    p.columns[i] = log_densities[i] - p.base[i % points];
  }
  p.start.assign(k - 1, 1.0 / static_cast<double>(k));
  return p;
}

MixtureProcess linear_mixture(std::vector<double> densities, std::size_t k, double concentration) {
  if (k == 0 || densities.empty() || densities.size() % k != 0) {
    refuse(std::to_string(densities.size()) + " numbers are no " + std::to_string(k) + " densities",
           "linear mixture");
  }
  MixtureProcess p;
  p.family = MixtureFamily::linear;
  p.columns = std::move(densities);
  p.start.assign(k, 1.0 / static_cast<double>(k));
  p.concentration = concentration;
  return p;
}

ShapePrior ridge_prior(std::size_t first, std::size_t k, double lambda) {
  if (k < 2 || !(std::isfinite(lambda) && lambda >= 0.0)) {
    refuse("it needs at least two simulations and a lambda that is not negative", "ridge");
  }
  ShapePrior p;
  p.first = first;
  p.mean.assign(k - 1, 1.0 / static_cast<double>(k));
  p.precision.assign((k - 1) * (k - 1), lambda);  // the last weight is 1 - the sum of the others
  for (std::size_t i = 0; i + 1 < k; ++i) p.precision[i * k] *= 2.0;
  return p;
}

// ------------------------------------------------------------------------------------------------
// The likelihood

/// What an evaluation computes besides the value.
struct TemplateMixture::Work {
  bool first = false, second = false;  // derivatives
  bool outer = false;                  // score covariance
  Vector gradient;
  Matrix hessian, products;
};

namespace {

/// A process at some parameters.
struct Shape {
  Vector density;     // [P]
  double sum = 1.0;   // linear: of the weights
  Vector mean;        // exponential: of the columns [D]
  Matrix covariance;  // exponential: of the columns [D * D]
};

using Columns = Eigen::Map<const Rows, 0, Eigen::OuterStride<>>;

/// Columns of a process in the rows of the mixture.
Columns columns_of(const std::vector<double>& rows, std::size_t points, std::size_t stride,
                   std::size_t offset, std::size_t d) {
  return {rows.data() + offset, index(points), index(d),
          Eigen::OuterStride<>(index(std::max<std::size_t>(stride, 1)))};
}

/// \returns whether there is such a density
bool make_density(const MixtureProcess& p, const Columns& f, const Eigen::Map<const Vector>& q,
                  const Eigen::Map<const Vector>& theta, Shape& shape) {
  if (p.family == MixtureFamily::linear) {
    shape.sum = theta.sum();
    if (!(shape.sum > 0.0)) return false;
    shape.density = f * (theta / shape.sum);
    return true;
  }
  shape.density = Eigen::Map<const Vector>(p.base.data(), index(p.base.size()));
  if (theta.size() > 0) shape.density += f * theta;
  const double top = shape.density.maxCoeff();
  if (!std::isfinite(top)) return false;
  shape.density = (shape.density.array() - top).exp();
  const double z = q.dot(shape.density);
  if (!(z > 0.0)) return false;
  shape.density /= z;
  return true;
}

/// Mean and covariance of the columns of an exponential process.
void make_moments(const Columns& f, const Eigen::Map<const Vector>& q, bool second, Shape& shape) {
  const Vector p = q.cwiseProduct(shape.density);
  shape.mean = f.transpose() * p;
  if (!second) return;
  const Eigen::Index d = f.cols();
  shape.covariance = Matrix::Zero(d, d);
  if (d == 0) return;  // a known shape; Eigen's product of nothing reads through a null pointer
  Rows centred, weighted;
  for (Eigen::Index begin = 0; begin < f.rows(); begin += index(k_block)) {
    const Eigen::Index n = std::min(index(k_block), f.rows() - begin);
    if (p.segment(begin, n).maxCoeff() <= 0.0) continue;
    centred = f.middleRows(begin, n).rowwise() - shape.mean.transpose();
    weighted = p.segment(begin, n).asDiagonal() * centred;
    shape.covariance.triangularView<Eigen::Lower>() += centred.transpose() * weighted;
  }
}

void mirror(Matrix& m) { m.triangularView<Eigen::StrictlyUpper>() = m.transpose(); }

}  // namespace

TemplateMixture::TemplateMixture(MixtureProcess signal, MixtureProcess background,
                                 std::vector<double> measure, std::vector<ShapePrior> priors)
    : processes_{std::move(signal), std::move(background)},
      measure_(std::move(measure)),
      data_(measure_.size(), 0.0) {
  if (measure_.empty()) refuse("there are no points", "measure");
  check_numbers(measure_, false, "the measure", "measure");
  check_process(processes_[0], points(), "signal");
  check_process(processes_[1], points(), "background");
  const std::size_t stride = size() - 1;
  rows_.resize(points() * stride);
  std::size_t offset = 0;
  for (const MixtureProcess& p : processes_) {
    for (std::size_t d = 0; d < p.start.size(); ++d, ++offset) {
      for (std::size_t i = 0; i < points(); ++i) {
        rows_[i * stride + offset] = p.columns[d * points() + i];
      }
    }
  }
  set_priors(std::move(priors));
}

void TemplateMixture::set_data(std::vector<double> data) {
  if (data.size() != points()) {
    refuse("there are " + std::to_string(data.size()) + " numbers for " + std::to_string(points()) +
               " points",
           "data");
  }
  check_numbers(data, false, "the data", "data");
  data_ = std::move(data);
  total_ = Eigen::Map<const Vector>(data_.data(), index(points())).sum();
}

void TemplateMixture::set_priors(std::vector<ShapePrior> priors) {
  for (std::size_t i = 0; i < priors.size(); ++i) check_prior(priors[i], i, size());
  priors_ = std::move(priors);
}

std::vector<double> TemplateMixture::start(double kappa) const {
  std::vector<double> x = {kappa};
  for (const MixtureProcess& p : processes_) x.insert(x.end(), p.start.begin(), p.start.end());
  return x;
}

double TemplateMixture::evaluate(std::span<const double> x, Work& work) const {
  if (x.size() != size()) {
    throw Error(ErrorKind::usage,
                "there are " + std::to_string(x.size()) + " numbers for " + std::to_string(size()) +
                    " parameters",
                "template mixture");
  }
  const std::size_t n_all = size(), stride = n_all - 1;
  const Eigen::Map<const Vector> n(data_.data(), index(points()));
  const Eigen::Map<const Vector> q(measure_.data(), index(points()));
  const double kappa = x[0];
  const double fraction[2] = {kappa, 1.0 - kappa};
  const std::size_t offsets[2] = {0, processes_[0].start.size()};

  Shape shapes[2];
  for (std::size_t c = 0; c < 2; ++c) {
    const std::size_t d = processes_[c].start.size();
    const Columns f = columns_of(rows_, points(), stride, offsets[c], d);
    const Eigen::Map<const Vector> theta(x.data() + 1 + offsets[c], index(d));
    if (!make_density(processes_[c], f, q, theta, shapes[c])) return k_infinity;
    if ((work.first || work.outer) && processes_[c].family == MixtureFamily::exponential) {
      make_moments(f, q, work.second, shapes[c]);
      if (work.second) mirror(shapes[c].covariance);
    }
  }

  const Vector ratio = fraction[0] * shapes[0].density + fraction[1] * shapes[1].density;
  double value = 0.0;
  for (Eigen::Index i = 0; i < n.size(); ++i) {
    if (n[i] == 0.0) continue;
    if (!(ratio[i] > 0.0)) return k_infinity;
    value -= n[i] * std::log(ratio[i]);
  }

  if (work.first || work.outer) {
    work.gradient = Vector::Zero(index(n_all));
    work.products = Matrix::Zero(index(n_all), index(n_all));
    Vector slope[2];                  // sum n d(density) / R
    Matrix curvature[2];              // exponential: sum n (density / R) times products of columns
    double strength[2] = {0.0, 0.0};  // sum n density / R
    for (std::size_t c = 0; c < 2; ++c) {
      const Eigen::Index d = index(processes_[c].start.size());
      slope[c] = Vector::Zero(d);
      curvature[c] = Matrix::Zero(d, d);
    }
    Rows g, weighted, centred;
    for (Eigen::Index begin = 0; begin < n.size(); begin += index(k_block)) {
      const Eigen::Index m = std::min(index(k_block), n.size() - begin);
      const auto counts = n.segment(begin, m);
      if (counts.maxCoeff() <= 0.0) continue;
      // Points without data may have no density: they do not count.
      const Vector inverse =
          (counts.array() > 0.0).select(ratio.segment(begin, m).cwiseInverse(), Vector::Zero(m));
      g.resize(m, index(n_all));
      g.col(0) = (shapes[0].density - shapes[1].density).segment(begin, m).cwiseProduct(inverse);
      for (std::size_t c = 0; c < 2; ++c) {
        const Eigen::Index d = index(processes_[c].start.size());
        const Vector share = shapes[c].density.segment(begin, m).cwiseProduct(inverse);
        strength[c] += counts.dot(share);
        if (d == 0) continue;
        const Columns f =
            columns_of(rows_, points(), stride, offsets[c], processes_[c].start.size());
        auto part = g.middleCols(1 + index(offsets[c]), d);
        if (processes_[c].family == MixtureFamily::exponential) {
          centred = f.middleRows(begin, m).rowwise() - shapes[c].mean.transpose();
          part = share.asDiagonal() * centred;
          if (work.second) {
            weighted = counts.asDiagonal() * part;
            curvature[c].triangularView<Eigen::Lower>() += centred.transpose() * weighted;
          }
        } else {
          part = (inverse / shapes[c].sum).asDiagonal() *
                 (f.middleRows(begin, m).colwise() - shapes[c].density.segment(begin, m));
        }
        slope[c] += part.transpose() * counts;
        part *= fraction[c];
      }
      work.gradient[0] -= counts.dot(g.col(0));
      if (work.second || work.outer) {
        weighted = counts.asDiagonal() * g;
        work.products.triangularView<Eigen::Lower>() += g.transpose() * weighted;
      }
    }
    for (std::size_t c = 0; c < 2; ++c) {
      work.gradient.segment(1 + index(offsets[c]), slope[c].size()) = -fraction[c] * slope[c];
    }
    mirror(work.products);
    if (work.second) {
      work.hessian = work.products;
      for (std::size_t c = 0; c < 2; ++c) {
        const Eigen::Index d = slope[c].size(), at = 1 + index(offsets[c]);
        if (d == 0) continue;
        const Vector cross = (c == 0 ? -1.0 : 1.0) * slope[c];
        work.hessian.block(at, 0, d, 1) += cross;
        work.hessian.block(0, at, 1, d) += cross.transpose();
        auto block = work.hessian.block(at, at, d, d);
        if (processes_[c].family == MixtureFamily::exponential) {
          mirror(curvature[c]);
          block -= fraction[c] * (curvature[c] - strength[c] * shapes[c].covariance);
        } else {
          const Vector s = (fraction[c] / shapes[c].sum) * slope[c];
          block.colwise() += s;
          block.rowwise() += s.transpose();
        }
      }
    }
  }
  return value;
}

double TemplateMixture::add_priors(std::span<const double> x, std::span<double> gradient,
                                   std::span<double> hessian) const {
  const std::size_t n_all = size();
  Eigen::Map<Rows> h(hessian.data(), hessian.empty() ? 0 : index(n_all),
                     hessian.empty() ? 0 : index(n_all));
  double value = 0.0;
  for (const ShapePrior& prior : priors_) {
    const Eigen::Index m = index(prior.mean.size()), at = index(prior.first);
    const Eigen::Map<const Rows> precision(prior.precision.data(), m, m);
    const Vector d =
        Eigen::Map<const Vector>(x.data() + at, m) - Eigen::Map<const Vector>(prior.mean.data(), m);
    const Vector pull = precision * d;
    const double square = d.dot(pull);
    const bool gaussian = std::isinf(prior.degrees);
    const double power = prior.degrees + static_cast<double>(m);
    const double factor = gaussian ? 1.0 : power / (prior.degrees + square);
    value += gaussian ? 0.5 * square : 0.5 * power * std::log1p(square / prior.degrees);
    if (!gradient.empty()) Eigen::Map<Vector>(gradient.data() + at, m) += factor * pull;
    if (!hessian.empty()) {
      h.block(at, at, m, m) += factor * precision;
      if (!gaussian)
        h.block(at, at, m, m) -= (2.0 * factor * factor / power) * pull * pull.transpose();
    }
  }
  std::size_t at = 1;
  for (const MixtureProcess& p : processes_) {
    const std::size_t d = p.start.size();
    if (p.family == MixtureFamily::linear) {
      double sum = 0.0;
      for (std::size_t i = 0; i < d; ++i) sum += x[at + i];
      const double stiffness = std::max(total_, 1.0), extra = p.concentration - 1.0;
      value += 0.5 * stiffness * (sum - 1.0) * (sum - 1.0);
      for (std::size_t i = 0; i < d && extra > 0.0; ++i) value -= extra * std::log(x[at + i] / sum);
      for (std::size_t i = 0; i < d; ++i) {
        const double all = extra * static_cast<double>(d) / sum;
        if (!gradient.empty()) {
          gradient[at + i] += stiffness * (sum - 1.0);
          if (extra > 0.0) gradient[at + i] += all - extra / x[at + i];
        }
        for (std::size_t j = 0; j < d && !hessian.empty(); ++j) {
          h(index(at + i), index(at + j)) += stiffness - all / sum;
        }
        if (!hessian.empty() && extra > 0.0) {
          h(index(at + i), index(at + i)) += extra / (x[at + i] * x[at + i]);
        }
      }
    }
    at += d;
  }
  return std::isnan(value) ? k_infinity : value;
}

double TemplateMixture::nll(std::span<const double> x, std::span<double> gradient,
                            std::span<double> hessian) const {
  Work work;
  work.first = !gradient.empty() || !hessian.empty();
  work.second = !hessian.empty();
  const double value = evaluate(x, work);
  if (std::isinf(value)) return value;
  if (!gradient.empty()) {
    Eigen::Map<Vector>(gradient.data(), index(gradient.size())) = work.gradient;
  }
  if (!hessian.empty()) {
    Eigen::Map<Rows>(hessian.data(), index(size()), index(size())) = work.hessian;
  }
  return value + add_priors(x, gradient, hessian);
}

std::vector<double> TemplateMixture::score_covariance(std::span<const double> x) const {
  Work work;
  work.outer = true;
  if (std::isinf(evaluate(x, work))) {
    throw Error(ErrorKind::numerical, "the likelihood is 0 there", "template mixture");
  }
  std::vector<double> result(size() * size());
  Eigen::Map<Rows> b(result.data(), index(size()), index(size()));
  b = work.products;
  if (total_ > 0.0) b -= work.gradient * work.gradient.transpose() / total_;
  return result;
}

std::vector<double> TemplateMixture::density(std::size_t process, std::span<const double> x) const {
  if (process > 1 || x.size() != size()) {
    throw Error(ErrorKind::usage, "no such process, or not as many numbers as parameters",
                "template mixture");
  }
  const std::size_t d = processes_[process].start.size();
  const std::size_t offset = process == 0 ? 0 : processes_[0].start.size();
  Shape shape;
  if (!make_density(processes_[process], columns_of(rows_, points(), size() - 1, offset, d),
                    Eigen::Map<const Vector>(measure_.data(), index(points())),
                    Eigen::Map<const Vector>(x.data() + 1 + offset, index(d)), shape)) {
    throw Error(ErrorKind::numerical, "there is no density with these parameters",
                process == 0 ? "signal" : "background");
  }
  return {shape.density.begin(), shape.density.end()};
}

}  // namespace slalom
