// SPDX-License-Identifier: Apache-2.0
#include "polynomial.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>

#include "slalom/modules/density_ratio.hpp"
#include "to_tensor.hpp"

namespace slalom::detail {

namespace {

/// P_k(t) and its first two derivatives.
struct Legendre {
  double value, first, second;
};

/// All up to a degree: (k + 1) P_{k+1} = (2 k + 1) t P_k - k P_{k-1}, differentiated.
std::vector<Legendre> legendre(double t, std::int64_t degree) {
  std::vector<Legendre> result{{1.0, 0.0, 0.0}, {t, 1.0, 0.0}};
  for (std::int64_t order = 1; order < degree; ++order) {
    const auto k = static_cast<double>(order);
    const Legendre& p = result[static_cast<std::size_t>(order)];
    const Legendre& q = result[static_cast<std::size_t>(order) - 1];
    const double a = (2.0 * k + 1.0) / (k + 1.0), b = k / (k + 1.0);
    result.push_back({a * t * p.value - b * q.value, a * (p.value + t * p.first) - b * q.first,
                      a * (2.0 * p.first + t * p.second) - b * q.second});
  }
  return result;
}

}  // namespace

Polynomials::Polynomials(const std::vector<ParameterInput>& parameters, std::int64_t degree)
    : degree_(degree),
      exponents_(polynomial_degrees(static_cast<std::int64_t>(parameters.size()), degree)) {
  for (const ParameterInput& parameter : parameters) {
    middle_.push_back(0.5 * (parameter.low + parameter.high));
    half_.push_back(0.5 * (parameter.high - parameter.low));
  }
}

Tensor Polynomials::operator()(const Tensor& theta) const {
  const Tensor t = (theta.to(at::kDouble) - to_tensor(middle_).to(theta.device())) /
                   to_tensor(half_).to(theta.device());
  std::vector<std::vector<Tensor>> factors;
  for (std::size_t a = 0; a < parameters(); ++a) {
    const Tensor x = t.select(1, static_cast<std::int64_t>(a));
    factors.push_back({at::ones_like(x), x});
    std::vector<Tensor>& p = factors.back();
    for (std::int64_t order = 1; order < degree_; ++order) {
      const auto k = static_cast<double>(order);
      const Tensor next =
          (2.0 * k + 1.0) / (k + 1.0) * x * p.back() - k / (k + 1.0) * p[p.size() - 2];
      p.push_back(next);
    }
  }
  std::vector<Tensor> columns;
  for (const std::vector<std::int64_t>& exponents : exponents_) {
    Tensor column = factors[0][static_cast<std::size_t>(exponents[0])];
    for (std::size_t a = 1; a < parameters(); ++a) {
      column = column * factors[a][static_cast<std::size_t>(exponents[a])];
    }
    columns.push_back(column);
  }
  return at::stack(columns, 1);
}

PolynomialJets Polynomials::jets(const std::vector<double>& theta) const {
  const std::size_t p = parameters(), n = terms();
  PolynomialJets result{std::vector<double>(n), std::vector<double>(p * n),
                        std::vector<double>(p * p * n)};
  std::vector<std::vector<Legendre>> all;
  for (std::size_t a = 0; a < p; ++a) {
    all.push_back(legendre((theta[a] - middle_[a]) / half_[a], degree_));
  }
  std::vector<Legendre> factors(p);
  for (std::size_t k = 0; k < n; ++k) {
    for (std::size_t a = 0; a < p; ++a) {
      factors[a] = all[a][static_cast<std::size_t>(exponents_[k][a])];
    }
    // Product over parameters, of which some are differentiated.
    const auto product = [&](std::size_t first, std::size_t second) {
      double result_of = 1.0;
      for (std::size_t a = 0; a < p; ++a) {
        const bool once = a == first || a == second, twice = a == first && a == second;
        result_of *= twice  ? factors[a].second / (half_[a] * half_[a])
                     : once ? factors[a].first / half_[a]
                            : factors[a].value;
      }
      return result_of;
    };
    result.value[k] = product(p, p);
    for (std::size_t a = 0; a < p; ++a) {
      result.gradient[a * n + k] = product(a, p);
      for (std::size_t b = 0; b < p; ++b) result.hessian[(a * p + b) * n + k] = product(a, b);
    }
  }
  return result;
}

}  // namespace slalom::detail
