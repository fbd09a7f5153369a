// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cmath>
#include <cstddef>

/// \file
/// Numbers that carry their Taylor coefficients along a direction in parameter space: arithmetic on
/// them gives directional derivatives that are exact to rounding.
namespace slalom::detail {

/// x(s) = c[0] + c[1] s + ... + c[N] s^N; N is 0, 1 or 2 in practice.
template <std::size_t N>
struct Jet {
  std::array<double, N + 1> c{};

  Jet() = default;
  Jet(double value) { c[0] = value; }  // NOLINT: a constant is a jet

  double value() const { return c[0]; }
  /// N-th derivative at s = 0.
  double top() const { return N == 2 ? 2.0 * c[N] : c[N]; }

  Jet& operator+=(const Jet& other) {
    for (std::size_t k = 0; k <= N; ++k) c[k] += other.c[k];
    return *this;
  }
  Jet& operator*=(const Jet& other) { return *this = *this * other; }

  friend Jet operator+(Jet a, const Jet& b) { return a += b; }
  friend Jet operator-(Jet a, const Jet& b) {
    for (std::size_t k = 0; k <= N; ++k) a.c[k] -= b.c[k];
    return a;
  }
  friend Jet operator*(double a, Jet b) {
    for (double& x : b.c) x *= a;
    return b;
  }
  friend Jet operator*(const Jet& a, const Jet& b) {
    Jet product;
    for (std::size_t k = 0; k <= N; ++k) {
      for (std::size_t j = 0; j <= k; ++j) product.c[k] += a.c[j] * b.c[k - j];
    }
    return product;
  }
  friend Jet operator/(const Jet& a, const Jet& b) {
    Jet quotient;
    for (std::size_t k = 0; k <= N; ++k) {
      double rest = a.c[k];
      for (std::size_t j = 1; j <= k; ++j) rest -= b.c[j] * quotient.c[k - j];
      quotient.c[k] = rest / b.c[0];
    }
    return quotient;
  }
  friend Jet log(const Jet& a) {
    Jet result(std::log(a.c[0]));
    for (std::size_t k = 1; k <= N; ++k) {
      double rest = static_cast<double>(k) * a.c[k];
      for (std::size_t j = 1; j < k; ++j) {
        rest -= static_cast<double>(j) * result.c[j] * a.c[k - j];
      }
      result.c[k] = rest / (static_cast<double>(k) * a.c[0]);
    }
    return result;
  }
  friend Jet exp(const Jet& a) {
    Jet result(std::exp(a.c[0]));
    for (std::size_t k = 1; k <= N; ++k) {
      double sum = 0.0;
      for (std::size_t j = 1; j <= k; ++j) {
        sum += static_cast<double>(j) * a.c[j] * result.c[k - j];
      }
      result.c[k] = sum / static_cast<double>(k);
    }
    return result;
  }
};

/// (a b).top(), without the lower coefficients.
template <std::size_t N>
double top_of_product(const Jet<N>& a, const Jet<N>& b) {
  double sum = 0.0;
  for (std::size_t j = 0; j <= N; ++j) sum += a.c[j] * b.c[N - j];
  return N == 2 ? 2.0 * sum : sum;
}

}  // namespace slalom::detail
