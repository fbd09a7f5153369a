// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/random.hpp"

#include <Random123/philox.h>
#include <cmath>
#include <numbers>
#include <string>

#include "slalom/core/error.hpp"

namespace slalom {

namespace {

constexpr double k_smallest_rejection_mean = 10.0;

/// log(k!) - (k log k - k + log(2 pi k) / 2) for k >= 1.
double stirling_remainder(double k) {
  if (k < 16.0) {
    double factorial = 1.0;
    for (double i = 2.0; i <= k; i += 1.0) factorial *= i;
    return std::log(factorial) - (k * std::log(k) - k + 0.5 * std::log(2.0 * std::numbers::pi * k));
  }
  const double x = 1.0 / (k * k);
  return (1.0 / 12.0 - x * (1.0 / 360.0 - x * (1.0 / 1260.0 - x / 1680.0))) / k;
}

/// log of the Poisson probability of k; large terms are taken apart before they cancel.
double log_poisson(double k, double mean) {
  if (k == 0.0) return -mean;
  const double e = (mean - k) / k;
  return -k * (e - std::log1p(e)) - 0.5 * std::log(2.0 * std::numbers::pi * k) -
         stirling_remainder(k);
}

double poisson_by_inversion(double mean, double u) {
  double k = 0.0, p = std::exp(-mean), sum = p;
  while (u > sum && p > 0.0) {
    k += 1.0;
    p *= mean / k;
    sum += p;
  }
  return k;
}

double poisson_by_rejection(double mean, RandomStream& random) {
  const double b = 0.931 + 2.53 * std::sqrt(mean);
  const double a = -0.059 + 0.02483 * b;
  const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
  const double v_inner = 0.9277 - 3.6224 / (b - 2.0);
  while (true) {
    const double u = random.uniform() - 0.5;
    const double v = random.uniform();
    const double us = 0.5 - std::abs(u);
    const double k = std::floor((2.0 * a / us + b) * u + mean + 0.43);
    if (us >= 0.07 && v <= v_inner) return k;
    if (k < 0.0 || (us < 0.013 && v > us)) continue;
    if (std::log(v * inverse_alpha / (a / (us * us) + b)) <= log_poisson(k, mean)) return k;
  }
}

}  // namespace

RandomStream::RandomStream(std::uint64_t seed, std::uint64_t index, std::uint32_t family)
    : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U)},
      counter_{0, family, static_cast<std::uint32_t>(index),
               static_cast<std::uint32_t>(index >> 32U)} {}

std::uint64_t RandomStream::bits() {
  if (used_ == 4) {
    const r123::Philox4x32::ctr_type counter = {
        {counter_[0], counter_[1], counter_[2], counter_[3]}};
    const r123::Philox4x32::key_type key = {{key_[0], key_[1]}};
    const r123::Philox4x32::ctr_type words = r123::Philox4x32()(counter, key);
    for (std::size_t i = 0; i < 4; ++i) block_[i] = words[i];
    ++counter_[0];
    used_ = 0;
  }
  const auto at = static_cast<std::size_t>(used_);
  used_ += 2;
  return (static_cast<std::uint64_t>(block_[at + 1]) << 32U) | block_[at];
}

double RandomStream::uniform() { return (static_cast<double>(bits() >> 11U) + 0.5) * 0x1p-53; }

double RandomStream::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_normal_;
  }
  const double radius = std::sqrt(-2.0 * std::log(uniform()));
  const double angle = 2.0 * std::numbers::pi * uniform();
  spare_normal_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

double RandomStream::poisson(double mean) {
  if (!(mean >= 0.0) || !std::isfinite(mean)) {
    throw Error(ErrorKind::numerical,
                "a Poisson mean must be finite and not negative, not " + std::to_string(mean));
  }
  if (mean == 0.0) return 0.0;
  if (mean < k_smallest_rejection_mean) return poisson_by_inversion(mean, uniform());
  return poisson_by_rejection(mean, *this);
}

}  // namespace slalom
