// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "slalom/modules/classifier.hpp"

/// \file
/// Polynomials in parameters that are mapped from their ranges to [-1, 1].
namespace slalom::detail {

/// Monomials at one theta, with derivatives by theta in its own units.
struct MonomialJets {
  std::vector<double> value;     ///< [terms]
  std::vector<double> gradient;  ///< [p][terms]
  std::vector<double> hessian;   ///< [p][p][terms]
};

/// The monomials of some parameters up to a total degree.
class Monomials {
 public:
  /// Of no parameters.
  Monomials() = default;
  Monomials(const std::vector<ParameterInput>& parameters, std::int64_t degree);
  /// Number of them.
  std::size_t terms() const { return exponents_.size(); }
  /// Number of parameters p.
  std::size_t parameters() const { return middle_.size(); }
  /// Their values [n, terms] at theta [n, p], float64, differentiable.
  Tensor operator()(const Tensor& theta) const;
  /// At one theta [p].
  MonomialJets jets(const std::vector<double>& theta) const;

 private:
  std::int64_t degree_ = 0;
  std::vector<double> middle_, half_;
  std::vector<std::vector<std::int64_t>> exponents_;
};

}  // namespace slalom::detail
