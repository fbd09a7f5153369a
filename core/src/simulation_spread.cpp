// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/simulation_spread.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>

#include "slalom/core/error.hpp"

namespace slalom {

namespace {

using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;

Eigen::Index index(std::size_t i) { return static_cast<Eigen::Index>(i); }

[[noreturn]] void refuse(const std::string& what, const char* where) {
  throw Error(ErrorKind::model, what, where);
}

/// How far the covariance is moved towards a multiple of the unit matrix, 0 to 1.
double shrinkage_of(const Matrix& centred, const Matrix& covariance, Shrinkage kind) {
  // Both estimators are written for the covariance with 1 / K; the ratio does not change below.
  const double d = static_cast<double>(covariance.rows()), k = static_cast<double>(centred.rows());
  const double trace = covariance.trace(), square = covariance.squaredNorm();
  const double spread =
      square - trace * trace / d;  // d times the distance from the target, squared
  if (spread <= 1e-12 * square) return 1.0;
  if (kind == Shrinkage::oas) {
    const double n = k - 1.0;  // draws, of which one made the mean
    return std::min(1.0,
                    ((1.0 - 2.0 / d) * square + trace * trace) / ((n + 1.0 - 2.0 / d) * spread));
  }
  double noise = 0.0;  // of the elements of the covariance, estimated from its terms
  for (Eigen::Index i = 0; i < centred.rows(); ++i) {
    const Vector x = centred.row(i).transpose();
    noise += (x * x.transpose() - covariance).squaredNorm();
  }
  return std::min(1.0, noise / (k * k) / spread);
}

}  // namespace

const char* to_string(Shrinkage shrinkage) {
  switch (shrinkage) {
    case Shrinkage::none:
      return "none";
    case Shrinkage::oas:
      return "oas";
    case Shrinkage::ledoit_wolf:
      return "ledoit_wolf";
  }
  return "unknown";
}

SimulationSpread simulation_spread(const std::vector<double>& log_densities,
                                   const std::vector<double>& measure, std::size_t k,
                                   const SpreadOptions& options) {
  constexpr const char* where = "simulation spread";
  const std::size_t points = measure.size();
  if (k < 2 || points == 0 || log_densities.size() != k * points) {
    refuse(std::to_string(log_densities.size()) + " numbers are no " + std::to_string(k) +
               " log densities of " + std::to_string(points) + " points, or these are too few",
           where);
  }
  const Eigen::Map<const Rows> given(log_densities.data(), index(k), index(points));
  const Eigen::Map<const Vector> q(measure.data(), index(points));
  if (!given.allFinite() || !q.allFinite() || q.minCoeff() < 0.0 || !(q.sum() > 0.0)) {
    refuse("a log density is not finite, or the measure is negative or nothing", where);
  }
  SimulationSpread result;
  result.simulations = k;
  const Vector mean = given.colwise().mean().transpose();
  result.mean.assign(mean.begin(), mean.end());
  Vector p = q.array() * (mean.array() - mean.maxCoeff()).exp();
  p /= p.sum();
  Rows centred = given.rowwise() - mean.transpose();
  centred.colwise() -= Vector(centred * p);  // constants do not matter
  const Matrix gram = centred * p.asDiagonal() * centred.transpose();
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(gram);
  const double largest = solver.eigenvalues()[index(k) - 1];
  if (!(largest > 0.0)) refuse("all simulations are equal", where);
  std::vector<Eigen::Index> kept;
  for (Eigen::Index i = index(k); i-- > 0;) {
    if (options.max_directions > 0 && kept.size() == options.max_directions) break;
    if (solver.eigenvalues()[i] <= std::max(options.least_variance, 1e-13) * largest) break;
    kept.push_back(i);
  }
  result.dimension = kept.size();
  result.directions.resize(kept.size() * points);
  result.coordinates.resize(k * kept.size());
  for (std::size_t d = 0; d < kept.size(); ++d) {
    const double root = std::sqrt(solver.eigenvalues()[kept[d]]);
    Vector v = solver.eigenvectors().col(kept[d]);
    Eigen::Index largest_part = 0;
    v.cwiseAbs().maxCoeff(&largest_part);
    if (v[largest_part] < 0.0) v = -v;  // the sign of an eigenvector is arbitrary; this is not
    Eigen::Map<Vector>(result.directions.data() + d * points, index(points)) =
        centred.transpose() * v / root;
    for (std::size_t i = 0; i < k; ++i) {
      result.coordinates[i * kept.size() + d] = root * v[index(i)];
    }
  }
  return result;
}

MixtureProcess spread_mixture(const SimulationSpread& spread) {
  MixtureProcess p;
  p.base = spread.mean;
  p.columns = spread.directions;
  p.start.assign(spread.dimension, 0.0);
  return p;
}

ShapePrior population_prior(const std::vector<double>& coordinates, std::size_t k,
                            std::size_t first, const PopulationOptions& options) {
  constexpr const char* where = "population prior";
  if (k < 2 || coordinates.empty() || coordinates.size() % k != 0) {
    refuse(std::to_string(coordinates.size()) + " numbers are no coordinates of " +
               std::to_string(k) + " simulations, or these are too few",
           where);
  }
  if (!(std::isfinite(options.scale) && options.scale > 0.0)) {
    refuse("the scale is not above 0", where);
  }
  const std::size_t d = coordinates.size() / k;
  const bool plain = options.shrinkage == Shrinkage::none;
  if (plain && k < d + (options.student ? 3 : 2)) {
    refuse(std::to_string(k) + " simulations are too few for a covariance of " + std::to_string(d) +
               " parameters without shrinkage",
           where);
  }
  const Eigen::Map<const Rows> a(coordinates.data(), index(k), index(d));
  if (!a.allFinite()) refuse("a coordinate is not finite", where);
  const Vector mean = a.colwise().mean().transpose();
  const Matrix centred = a.rowwise() - mean.transpose();
  const double count = static_cast<double>(k), dimension = static_cast<double>(d);
  Matrix scale = centred.transpose() * centred / (count - 1.0);
  double factor = 1.0 + 1.0 / count;
  if (plain) {
    factor *= (count - 1.0) / (count - dimension);
  } else {
    const Matrix biased = scale * ((count - 1.0) / count);
    const double rho = shrinkage_of(centred, biased, options.shrinkage);
    const Matrix target = Matrix::Identity(index(d), index(d)) * (scale.trace() / dimension);
    scale = (1.0 - rho) * scale + rho * target;
  }
  scale *= factor * options.scale * options.scale;
  const Eigen::LLT<Matrix> cholesky(scale);
  const Matrix precision = cholesky.solve(Matrix::Identity(index(d), index(d)));
  if (cholesky.info() != Eigen::Success || !precision.allFinite()) {
    refuse("the covariance is singular: fewer directions, or more simulations", where);
  }
  ShapePrior prior;
  prior.first = first;
  prior.mean.assign(mean.begin(), mean.end());
  prior.precision.resize(d * d);
  Eigen::Map<Rows>(prior.precision.data(), index(d), index(d)) =
      0.5 * (precision + precision.transpose());
  if (options.student) prior.degrees = plain ? count - dimension : count - 1.0;
  return prior;
}

}  // namespace slalom
