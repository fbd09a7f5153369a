// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

/// \file
/// Monotone rational-quadratic splines (Gregory and Delbourgo, IMA J. Numer. Anal. 2 (1982) 123) as
/// layers of a flow (Durkan et al., arXiv:1906.04032).
namespace slalom::detail {

/// Images [n, d] with log |derivative| [n, d].
struct SplineImage {
  Tensor value, log_slope;
};

/// \param x [n, d] \param raw [n, d, 3 bins - 1]: real numbers that widths, heights and inner
/// slopes are made of; all 0 is the identity \param bound of the square that the spline goes
/// through, corner to corner; x itself outside \param backwards the inverse
SplineImage spline(const Tensor& x, const Tensor& raw, std::int64_t bins, double bound,
                   bool backwards);

}  // namespace slalom::detail
