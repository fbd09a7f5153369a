// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/on_off.hpp"

#include <algorithm>
#include <cmath>

#include "slalom/core/error.hpp"

namespace slalom {

namespace {

void require(bool condition, const char* message) {
  if (!condition) throw Error(ErrorKind::usage, message, "on_off");
}

/// n ln(n / expected), 0 for no events.
double term(double n, double expected) { return n > 0.0 ? n * std::log(n / expected) : 0.0; }

}  // namespace

OnOffResult count_on_off(double n_on, double n_off, double tau) {
  require(std::isfinite(n_on) && n_on >= 0.0, "n_on must be a count");
  require(std::isfinite(n_off) && n_off >= 0.0, "n_off must be a count");
  require(std::isfinite(tau) && tau > 0.0, "tau must be positive");
  OnOffResult result;
  result.background = n_off / tau;
  const double excess = n_on - result.background;
  result.signal = std::max(excess, 0.0);
  result.signal_error = std::sqrt(n_on + n_off / (tau * tau));
  if (excess <= 0.0) return result;
  const double common = (n_on + n_off) / (1.0 + tau);  // background there if there is no signal
  result.q0 = std::max(2.0 * (term(n_on, common) + term(n_off, tau * common)), 0.0);
  result.z = std::sqrt(result.q0);
  return result;
}

}  // namespace slalom
