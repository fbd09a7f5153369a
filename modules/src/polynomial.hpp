// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "slalom/modules/classifier.hpp"

/// \file
/// Products of Legendre polynomials in parameters that are mapped from their ranges to [-1, 1]:
/// orthogonal where theta is uniform, so that coefficients are learned one by one.
namespace slalom::detail {

/// Polynomials at one theta, with derivatives by theta in its own units.
struct PolynomialJets {
  std::vector<double> value;     ///< [terms]
  std::vector<double> gradient;  ///< [p][terms]
  std::vector<double> hessian;   ///< [p][p][terms]
};

/// The polynomials of some parameters up to a total degree.
class Polynomials {
 public:
  /// Of no parameters.
  Polynomials() = default;
  Polynomials(const std::vector<ParameterInput>& parameters, std::int64_t degree);
  /// Number of them.
  std::size_t terms() const { return exponents_.size(); }
  /// Number of parameters p.
  std::size_t parameters() const { return middle_.size(); }
  /// Their values [n, terms] at theta [n, p], float64, differentiable.
  Tensor operator()(const Tensor& theta) const;
  /// At one theta [p].
  PolynomialJets jets(const std::vector<double>& theta) const;

 private:
  std::int64_t degree_ = 0;
  std::vector<double> middle_, half_;
  std::vector<std::vector<std::int64_t>> exponents_;
};

}  // namespace slalom::detail
