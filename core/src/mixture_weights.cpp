// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/mixture_weights.hpp"

#include <Eigen/Dense>
#include <cmath>

#include "slalom/core/error.hpp"

namespace slalom {

namespace {

using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;

Eigen::Index index(std::size_t i) { return static_cast<Eigen::Index>(i); }

/// Numbers and their standard deviations, with that of 1 - sum if asked for.
void spread(const Vector& x, const Matrix& covariance, bool last, std::vector<double>& value,
            std::vector<double>& width) {
  value.assign(x.begin(), x.end());
  width.clear();
  for (Eigen::Index i = 0; i < x.size(); ++i) {
    width.push_back(std::sqrt(std::max(covariance(i, i), 0.0)));
  }
  if (!last) return;
  value.push_back(1.0 - x.sum());
  width.push_back(std::sqrt(std::max(covariance.sum(), 0.0)));
}

}  // namespace

MixtureWeights mixture_weights(const TemplateMixture& mixture, const MixtureFit& best,
                               std::size_t process, bool last) {
  const auto refuse = [](const std::string& what) {
    throw Error(ErrorKind::usage, what, "mixture weights");
  };
  const std::size_t n = mixture.size();
  if (process > 1 || best.parameters.size() != n || best.covariance.size() != n * n) {
    refuse("the fit is one of another mixture, or the process neither 0 nor 1");
  }
  const MixtureProcess& p = process == 0 ? mixture.signal() : mixture.background();
  const bool linear = p.family == MixtureFamily::linear;
  if (linear && last) refuse("a linear process has no weight beside its parameters");
  const std::size_t first = process == 0 ? 1 : 1 + mixture.signal().start.size();
  const Eigen::Index d = index(p.start.size()), at = index(first);
  Vector x = Eigen::Map<const Vector>(best.parameters.data() + first, d);
  Matrix covariance =
      Eigen::Map<const Rows>(best.covariance.data(), index(n), index(n)).block(at, at, d, d);
  if (linear) {
    // Along the simplex: d(x_i / S) = (dx_i - x_i / S sum dx) / S.
    const double sum = x.sum();
    x /= sum;
    const Matrix slope = (Matrix::Identity(d, d) - x * Vector::Ones(d).transpose()) / sum;
    covariance = slope * covariance * slope.transpose();
  }
  MixtureWeights result;
  spread(x, covariance, last, result.value, result.error);
  if (linear) {
    // Dirichlet of equal concentrations.
    const double k = static_cast<double>(d);
    result.prior_mean.assign(p.start.size(), 1.0 / k);
    result.prior_width.assign(p.start.size(),
                              std::sqrt((1.0 - 1.0 / k) / k / (k * p.concentration + 1.0)));
    return result;
  }
  for (const ShapePrior& prior : mixture.priors()) {
    if (prior.first != first || index(prior.mean.size()) != d) continue;
    const Eigen::LLT<Matrix> factor{Matrix(Eigen::Map<const Rows>(prior.precision.data(), d, d))};
    if (factor.info() != Eigen::Success) continue;  // says nothing about some of them
    spread(Eigen::Map<const Vector>(prior.mean.data(), d), factor.solve(Matrix::Identity(d, d)),
           last, result.prior_mean, result.prior_width);
    break;
  }
  return result;
}

}  // namespace slalom
