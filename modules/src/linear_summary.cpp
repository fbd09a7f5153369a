// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/linear_summary.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cholesky_solve.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/log.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <tuple>

#include "slalom/core/error.hpp"

namespace slalom {

namespace {

void require(bool condition, const char* message) {
  if (!condition) throw Error(ErrorKind::usage, message, "linear_summary");
}

Tensor cholesky(const Tensor& matrix, const char* what) {
  Tensor factor, info;
  std::tie(factor, info) = at::linalg_cholesky_ex(matrix);
  if (info.item<int>() != 0) {
    throw Error(ErrorKind::numerical, std::string(what) + " is not positive definite",
                "linear_summary");
  }
  return factor;
}

Tensor as_matrix(const Tensor& prior) { return prior.dim() == 1 ? at::diag(prior) : prior; }

/// C^-1 D' [K + 1, P] of the regularised C.
Tensor solve_gram(const LinearMoments& m, double ridge) {
  const Tensor regular = m.gram + ridge * at::diag(at::diag(m.gram));
  return at::cholesky_solve(m.slopes.t(), cholesky(regular, "the matrix of the outputs"));
}

Tensor information_of(const LinearMoments& m, const Tensor& solution, const Tensor& prior) {
  const Tensor plain = m.slopes.matmul(solution);
  // Symmetric to rounding; exactly, for the factorisation's derivative.
  return 0.5 * (plain + plain.t()) + as_matrix(prior).to(plain.options());
}

/// Column of the inverse of a positive matrix.
Tensor inverse_column(const Tensor& matrix, std::int64_t column) {
  require(column >= 0 && column < matrix.size(0), "no such parameter");
  Tensor unit = at::zeros({matrix.size(0), 1}, matrix.options());
  unit[column][0] = 1.0;
  return at::cholesky_solve(unit, cholesky(matrix, "the information")).squeeze(1);
}

void check_entries(const Tensor& score, const Tensor& weights, const Tensor& slopes,
                   const Tensor& prior) {
  require(weights.dim() == 1 && weights.size(0) == score.size(0), "weights [n] expected");
  require(slopes.dim() == 2 && slopes.size(1) == score.size(0), "slopes [P, n] expected");
  require(prior.size(0) == slopes.size(0), "the prior has another number of parameters");
}

}  // namespace

Tensor with_constant(const Tensor& outputs) {
  require(outputs.dim() == 1 || outputs.dim() == 2, "outputs [n] or [n, K] expected");
  const Tensor t = (outputs.dim() == 1 ? outputs.unsqueeze(1) : outputs).to(at::kDouble);
  return at::cat({t, at::ones({t.size(0), 1}, t.options())}, 1);
}

LinearMoments linear_moments(const Tensor& outputs, const Tensor& weights, const Tensor& slopes) {
  const Tensor t = with_constant(outputs);
  require(weights.dim() == 1 && weights.size(0) == t.size(0), "weights [n] expected");
  require(slopes.dim() == 2 && slopes.size(1) == t.size(0), "slopes [P, n] expected");
  return {t.t().matmul(t * weights.to(at::kDouble).unsqueeze(1)), slopes.to(at::kDouble).matmul(t)};
}

Tensor linear_information(const LinearMoments& moments, const Tensor& prior, double ridge) {
  require(prior.size(0) == moments.slopes.size(0), "the prior has another number of parameters");
  return information_of(moments, solve_gram(moments, ridge), prior);
}

Tensor log_uncertainty(const Tensor& information, std::int64_t interest) {
  return 0.5 * at::log(inverse_column(information, interest)[interest]);
}

Tensor efficient_score_coefficients(const LinearMoments& moments, const Tensor& prior,
                                    std::int64_t interest, double ridge) {
  const Tensor solution = solve_gram(moments, ridge);
  const Tensor information = information_of(moments, solution, prior);
  return solution.matmul(inverse_column(information, interest));
}

Tensor efficient_score(const Tensor& outputs, const Tensor& coefficients) {
  return with_constant(outputs).matmul(coefficients);
}

Tensor binned_information(const Tensor& score, const Tensor& weights, const Tensor& slopes,
                          const Tensor& prior, const Tensor& edges) {
  check_entries(score, weights, slopes, prior);
  const std::int64_t bins = edges.size(0) + 1;
  const Tensor at_edge = edges.detach().to(score.scalar_type()).contiguous();
  const Tensor bin = at::searchsorted(at_edge, score.detach().contiguous(), false, true);
  const Tensor w = weights.to(at::kDouble), g = slopes.to(at::kDouble);
  const Tensor nu = at::zeros({bins}, w.options()).index_add(0, bin, w);
  const Tensor d = at::zeros({g.size(0), bins}, w.options()).index_add(1, bin, g);
  const Tensor populated = nu > 0.0;
  const Tensor inverse =
      at::where(populated, 1.0 / at::where(populated, nu, at::ones({}, w.options())),
                at::zeros({}, w.options()));
  return d.matmul((d * inverse).t()) + as_matrix(prior).to(w.options());
}

namespace {

using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;

/// Sums below each candidate, and the search over edges.
class EdgeSearch {
 public:
  EdgeSearch(const Tensor& score, const Tensor& weights, const Tensor& slopes, const Tensor& prior,
             const EdgeOptions& options)
      : options_(options), n_(score.size(0)), p_(slopes.size(0)) {
    const Tensor x = score.detach().to(at::kCPU, at::kDouble).contiguous(),
                 w = weights.detach().to(at::kCPU, at::kDouble).contiguous(),
                 g = slopes.detach().to(at::kCPU, at::kDouble).contiguous(),
                 m = as_matrix(prior).detach().to(at::kCPU, at::kDouble).contiguous();
    prior_ = Eigen::Map<const Matrix>(m.data_ptr<double>(), p_, p_);
    collect(x.data_ptr<double>(), w.data_ptr<double>(), g.data_ptr<double>());
  }

  std::vector<double> run() {
    start();
    descend();
    std::vector<std::size_t> best = edges_;
    double lowest = variance(information_of(best));
    // Other starts: the best edges for one direction of the slopes are found exactly, and give the
    // next direction.
    Vector direction = direction_of(finest());
    for (int round = 0; round < k_rounds; ++round) {
      if (!best_for(direction)) break;
      direction = direction_of(information_of(edges_));
      descend();
      const double found = variance(information_of(edges_));
      if (found < lowest) {
        lowest = found;
        best = edges_;
      }
    }
    std::vector<double> result;
    for (std::size_t j = 1; j + 1 < best.size(); ++j) result.push_back(places_[best[j]]);
    return result;
  }

 private:
  /// Column k of `sums_` holds w, w^2 and slopes of all entries below place k.
  void collect(const double* x, const double* w, const double* g) {
    std::vector<std::int64_t> order(static_cast<std::size_t>(n_));
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](auto a, auto b) { return x[a] < x[b]; });
    const double step = options_.candidates > 0
                            ? static_cast<double>(n_) / static_cast<double>(options_.candidates)
                            : 1.0;
    Vector sum = Vector::Zero(2 + p_);
    std::vector<Vector> columns{sum};
    places_.push_back(-std::numeric_limits<double>::infinity());
    double next = step;
    for (std::int64_t k = 0; k < n_; ++k) {
      const std::int64_t i = order[static_cast<std::size_t>(k)];
      if (k > 0) {
        const double below = x[order[static_cast<std::size_t>(k - 1)]];
        if (static_cast<double>(k) >= next && below < x[i]) {
          places_.push_back(std::max(0.5 * (below + x[i]), std::nextafter(below, x[i])));
          columns.push_back(sum);
          while (next <= static_cast<double>(k)) next += step;
        }
      }
      sum[0] += w[i];
      sum[1] += w[i] * w[i];
      for (std::int64_t p = 0; p < p_; ++p) sum[2 + p] += g[p * n_ + i];
    }
    places_.push_back(std::numeric_limits<double>::infinity());
    columns.push_back(sum);
    sums_.resize(2 + p_, static_cast<Eigen::Index>(columns.size()));
    for (std::size_t k = 0; k < columns.size(); ++k)
      sums_.col(static_cast<Eigen::Index>(k)) = columns[k];
  }

  /// Equal shares of the weight.
  void start() {
    const std::size_t last = places_.size() - 1;
    edges_ = {0};
    for (std::int64_t b = 1; b < options_.bins; ++b) {
      const double share =
          sums_(0, sums_.cols() - 1) * static_cast<double>(b) / static_cast<double>(options_.bins);
      std::size_t k = edges_.back() + 1;
      while (k < last && sums_(0, static_cast<Eigen::Index>(k)) < share) ++k;
      edges_.push_back(k);
    }
    edges_.push_back(last);
    for (std::size_t j = 0; j + 1 < edges_.size(); ++j) {
      if (edges_[j] < edges_[j + 1] && allowed(difference(edges_[j], edges_[j + 1]))) continue;
      throw Error(ErrorKind::usage,
                  "too few entries for " + std::to_string(options_.bins) + " bins", "find_edges");
    }
  }

  Vector difference(std::size_t from, std::size_t to) const {
    return sums_.col(static_cast<Eigen::Index>(to)) - sums_.col(static_cast<Eigen::Index>(from));
  }
  bool allowed(const Vector& bin) const {
    return bin[0] > 0.0 && bin[0] >= options_.min_yield &&
           bin[0] * bin[0] >= options_.min_effective * bin[1];
  }
  Matrix information(const Vector& bin) const {
    const Vector d = bin.tail(p_);
    return d * d.transpose() / bin[0];
  }

  static constexpr int k_rounds = 4;
  /// Places that an exact search looks at, at most: its time grows with their square.
  static constexpr std::size_t k_coarse = 400;

  /// Coordinate descent.
  void descend() {
    for (std::int64_t sweep = 0; sweep < options_.max_sweeps; ++sweep) {
      bool moved = false;
      for (std::size_t j = 1; j + 1 < edges_.size(); ++j) moved = move_edge(j) || moved;
      if (!moved) break;
    }
  }

  Matrix information_of(const std::vector<std::size_t>& edges) const {
    Matrix total = prior_;
    for (std::size_t k = 0; k + 1 < edges.size(); ++k) {
      total += information(difference(edges[k], edges[k + 1]));
    }
    return total;
  }

  /// About `k_coarse` of all places, the ends included.
  std::vector<std::size_t> coarse() const {
    const std::size_t last = places_.size() - 1, n = std::min(last, k_coarse);
    std::vector<std::size_t> result;
    for (std::size_t k = 0; k <= n; ++k) result.push_back(k * last / n);
    return result;
  }

  /// Information with as many bins as there are coarse places.
  Matrix finest() const {
    Matrix total = prior_;
    const std::vector<std::size_t> places = coarse();
    for (std::size_t k = 0; k + 1 < places.size(); ++k) {
      const Vector bin = difference(places[k], places[k + 1]);
      if (bin[0] > 0.0) total += information(bin);
    }
    return total;
  }

  /// I^-1 e_s: along it, information is that of the parameter of interest with others profiled.
  Vector direction_of(const Matrix& information) const {
    return information.ldlt().solve(Vector::Unit(p_, options_.interest));
  }

  /// The edges with the largest sum of (D . direction)^2 / nu, exactly (dynamic programming over
  /// the coarse places). \returns false if no bins are allowed
  bool best_for(const Vector& direction) {
    const std::vector<std::size_t> places = coarse();
    const std::size_t n = places.size();
    const auto bins = static_cast<std::size_t>(options_.bins);
    constexpr double k_never = -HUGE_VAL;
    std::vector<std::vector<double>> value(bins + 1, std::vector<double>(n, k_never));
    std::vector<std::vector<std::size_t>> from(bins + 1, std::vector<std::size_t>(n, 0));
    value[0][0] = 0.0;
    for (std::size_t right = 1; right < n; ++right) {
      for (std::size_t left = 0; left < right; ++left) {
        const Vector bin = difference(places[left], places[right]);
        if (!allowed(bin)) continue;
        const double slope = bin.tail(p_).dot(direction), gain = slope * slope / bin[0];
        for (std::size_t b = 1; b <= bins; ++b) {
          if (value[b - 1][left] + gain <= value[b][right]) continue;
          value[b][right] = value[b - 1][left] + gain;
          from[b][right] = left;
        }
      }
    }
    if (value[bins][n - 1] == k_never) return false;
    std::size_t right = n - 1;
    for (std::size_t b = bins; b > 0; --b) {
      edges_[b] = places[right];
      right = from[b][right];
    }
    edges_[0] = 0;
    return true;
  }

  /// Variance of the parameter of interest.
  double variance(const Matrix& information) const {
    const Eigen::LDLT<Matrix> factor(information);
    if (factor.info() != Eigen::Success || !factor.isPositive()) return HUGE_VAL;
    const double v = factor.solve(Vector::Unit(p_, options_.interest))[options_.interest];
    return v > 0.0 ? v : HUGE_VAL;
  }

  bool move_edge(std::size_t j) {
    Matrix rest = prior_;
    for (std::size_t k = 0; k + 1 < edges_.size(); ++k) {
      if (k + 1 != j && k != j) rest += information(difference(edges_[k], edges_[k + 1]));
    }
    const auto value = [&](std::size_t place) {
      const Vector left = difference(edges_[j - 1], place),
                   right = difference(place, edges_[j + 1]);
      if (!allowed(left) || !allowed(right)) return HUGE_VAL;
      return variance(rest + information(left) + information(right));
    };
    constexpr double k_better = 1e-12;
    std::size_t best = edges_[j];
    double lowest = value(best) * (1.0 - k_better);
    for (std::size_t place = edges_[j - 1] + 1; place < edges_[j + 1]; ++place) {
      const double v = value(place);
      if (v < lowest) {
        lowest = v;
        best = place;
      }
    }
    const bool moved = best != edges_[j];
    edges_[j] = best;
    return moved;
  }

  EdgeOptions options_;
  Eigen::Index n_, p_;
  Matrix prior_;
  std::vector<double> places_;
  Matrix sums_;
  std::vector<std::size_t> edges_;
};

}  // namespace

Tensor find_edges(const Tensor& score, const Tensor& weights, const Tensor& slopes,
                  const Tensor& prior, const EdgeOptions& options) {
  require(score.dim() == 1, "a score [n] expected");
  check_entries(score, weights, slopes, prior);
  require(options.bins > 1, "at least two bins expected");
  require(options.interest >= 0 && options.interest < slopes.size(0), "no such parameter");
  const std::vector<double> edges = EdgeSearch(score, weights, slopes, prior, options).run();
  Tensor result = at::zeros({static_cast<std::int64_t>(edges.size())}, at::kDouble);
  std::copy(edges.begin(), edges.end(), result.data_ptr<double>());
  return result.to(score.device());
}

}  // namespace slalom
