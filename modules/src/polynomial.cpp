// SPDX-License-Identifier: Apache-2.0
#include "polynomial.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <cmath>

#include "slalom/modules/density_ratio.hpp"
#include "to_tensor.hpp"

namespace slalom::detail {

namespace {

/// t^k and its first two derivatives.
struct Power {
  double value, first, second;
};

Power power(double t, std::int64_t k) {
  const auto n = static_cast<double>(k);
  return {std::pow(t, n), k > 0 ? n * std::pow(t, n - 1.0) : 0.0,
          k > 1 ? n * (n - 1.0) * std::pow(t, n - 2.0) : 0.0};
}

}  // namespace

Monomials::Monomials(const std::vector<ParameterInput>& parameters, std::int64_t degree)
    : degree_(degree), exponents_(monomials(static_cast<std::int64_t>(parameters.size()), degree)) {
  for (const ParameterInput& parameter : parameters) {
    middle_.push_back(0.5 * (parameter.low + parameter.high));
    half_.push_back(0.5 * (parameter.high - parameter.low));
  }
}

Tensor Monomials::operator()(const Tensor& theta) const {
  const Tensor t = (theta.to(at::kDouble) - to_tensor(middle_).to(theta.device())) /
                   to_tensor(half_).to(theta.device());
  std::vector<std::vector<Tensor>> powers;
  for (std::size_t a = 0; a < parameters(); ++a) {
    const Tensor x = t.select(1, static_cast<std::int64_t>(a));
    powers.push_back({at::ones_like(x)});
    for (std::int64_t k = 0; k < degree_; ++k) powers.back().push_back(powers.back().back() * x);
  }
  std::vector<Tensor> columns;
  for (const std::vector<std::int64_t>& exponents : exponents_) {
    Tensor column = powers[0][static_cast<std::size_t>(exponents[0])];
    for (std::size_t a = 1; a < parameters(); ++a) {
      column = column * powers[a][static_cast<std::size_t>(exponents[a])];
    }
    columns.push_back(column);
  }
  return at::stack(columns, 1);
}

MonomialJets Monomials::jets(const std::vector<double>& theta) const {
  const std::size_t p = parameters(), n = terms();
  MonomialJets result{std::vector<double>(n), std::vector<double>(p * n),
                      std::vector<double>(p * p * n)};
  std::vector<Power> powers(p);
  for (std::size_t k = 0; k < n; ++k) {
    for (std::size_t a = 0; a < p; ++a) {
      powers[a] = power((theta[a] - middle_[a]) / half_[a], exponents_[k][a]);
    }
    // Product over parameters, of which some are differentiated.
    const auto product = [&](std::size_t first, std::size_t second) {
      double result_of = 1.0;
      for (std::size_t a = 0; a < p; ++a) {
        const bool once = a == first || a == second, twice = a == first && a == second;
        result_of *= twice  ? powers[a].second / (half_[a] * half_[a])
                     : once ? powers[a].first / half_[a]
                            : powers[a].value;
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
