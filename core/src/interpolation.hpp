// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "jet.hpp"
#include "slalom/core/model_spec.hpp"

/// \file
/// The interpolation codes as jets, with their derivatives by the parameter and by what they
/// interpolate. At a kink the derivative is that of the side the parameter is on.
namespace slalom::detail {

/// Delta of a histosys is s (hi - lo) / 2 + w (hi + lo - 2 nominal) / 16.
template <std::size_t N>
struct HistosysWeights {
  Jet<N> s, w;    ///< at the parameter
  Jet<N> ds, dw;  ///< their derivatives by it
};

template <std::size_t N>
HistosysWeights<N> histosys_weights(HistosysCode code, const Jet<N>& x) {
  const double sign = x.value() > 0.0 ? 1.0 : (x.value() < 0.0 ? -1.0 : 0.0);
  const bool inside = std::abs(x.value()) <= 1.0;
  if (code == HistosysCode::code2) {
    if (inside) return {x, 8.0 * (x * x), 1.0, 16.0 * x};
    // As pyhf computes it, discontinuous at both ends: (b + 2a)(x - 1) above 1, (b - 2a) x below.
    const Jet<N> size = sign > 0.0 ? x - 1.0 : x;
    return {size, (16.0 * sign) * size, 1.0, 16.0 * sign};
  }
  if (code == HistosysCode::code0 || !inside) return {x, (8.0 * sign) * x, 1.0, 8.0 * sign};
  const Jet<N> x2 = x * x;
  return {x, x2 * (15.0 + x2 * (3.0 * x2 - 10.0)), 1.0, x * (30.0 + x2 * (18.0 * x2 - 40.0))};
}

/// Factor of a normsys with its derivatives.
template <std::size_t N>
struct NormsysFactor {
  Jet<N> value, d_hi, d_lo;
  Jet<N> d_x;  ///< by the parameter
};

/// The polynomial of code4 that has value v, slope d and curvature c at y = 1 and is 0 with all
/// three at y = -1.
struct Code4Part {
  double a1, a2, a3, a4, a5, a6;

  Code4Part(double v, double d, double c)
      : a1((15.0 * v - 7.0 * d + c) / 16.0),
        a2((24.0 * v - 9.0 * d + c) / 16.0),
        a3((-10.0 * v + 10.0 * d - 2.0 * c) / 16.0),
        a4((-24.0 * v + 14.0 * d - 2.0 * c) / 16.0),
        a5((3.0 * v - 3.0 * d + c) / 16.0),
        a6((8.0 * v - 5.0 * d + c) / 16.0) {}

  template <std::size_t N>
  Jet<N> at(const Jet<N>& y) const {
    return y * (a1 + y * (a2 + y * (a3 + y * (a4 + y * (a5 + a6 * y)))));
  }
  template <std::size_t N>
  Jet<N> slope(const Jet<N>& y) const {
    return a1 + y * (2.0 * a2 + y * (3.0 * a3 + y * (4.0 * a4 + y * (5.0 * a5 + (6.0 * a6) * y))));
  }
};

template <std::size_t N>
NormsysFactor<N> normsys_factor(NormsysCode code, const NormsysTerm& t, const Jet<N>& x) {
  const double lh = std::log(t.hi), ll = std::log(t.lo);
  if (code == NormsysCode::code1 || std::abs(x.value()) >= 1.0) {
    const bool up = x.value() >= 0.0;
    const double sign = up ? 1.0 : -1.0;
    const Jet<N> size = sign * x;
    const Jet<N> value = exp((up ? lh : ll) * size);
    const Jet<N> derivative = (1.0 / (up ? t.hi : t.lo)) * (size * value);
    return {value, up ? derivative : Jet<N>{}, up ? Jet<N>{} : derivative,
            (sign * (up ? lh : ll)) * value};
  }
  const Jet<N> y = -1.0 * x;  // the parameter seen from the other side, for lo
  const Code4Part high(t.hi - 1.0, t.hi * lh, t.hi * lh * lh);
  const Code4Part low(t.lo - 1.0, t.lo * ll, t.lo * ll * ll);
  return {1.0 + high.at(x) + low.at(y), Code4Part(1.0, 1.0 + lh, lh * lh + 2.0 * lh).at(x),
          Code4Part(1.0, 1.0 + ll, ll * ll + 2.0 * ll).at(y), high.slope(x) - low.slope(y)};
}

}  // namespace slalom::detail
