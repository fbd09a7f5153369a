// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/hellinger.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "slalom/core/error.hpp"

namespace slalom {

double hellinger_distance(std::span<const double> p, std::span<const double> q) {
  const auto refuse = [](const std::string& what) {
    throw Error(ErrorKind::model, what, "Hellinger distance");
  };
  if (p.size() != q.size() || p.empty()) {
    refuse("histograms of " + std::to_string(p.size()) + " and " + std::to_string(q.size()) +
           " bins");
  }
  double sum_p = 0.0, sum_q = 0.0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (!(p[i] >= 0.0 && q[i] >= 0.0)) refuse("bin " + std::to_string(i) + " is negative");
    sum_p += p[i];
    sum_q += q[i];
  }
  if (!(sum_p > 0.0 && sum_q > 0.0 && std::isfinite(sum_p + sum_q))) {
    refuse("a histogram is empty, or not finite");
  }
  // 1 - sum sqrt(p q) = sum (sqrt p - sqrt q)^2 / 2, which does not cancel.
  double square = 0.0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double d = std::sqrt(p[i] / sum_p) - std::sqrt(q[i] / sum_q);
    square += d * d;
  }
  return std::min(std::sqrt(0.5 * square), 1.0);
}

}  // namespace slalom
