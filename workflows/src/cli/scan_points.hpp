// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <vector>

#include "slalom/core/hypotest.hpp"
#include "slalom/core/interval.hpp"

/// \file
/// Where scans and curves of CLs have their points.
namespace slalom::cli {

/// Where a scan ends that the user has not limited: `reach` standard deviations on both sides, from
/// the error, or from the profile itself where the best fit lies at a bound and has none.
std::array<double, 2> scan_range(Fitter& fitter, const FitResult& best, std::size_t parameter,
                                 double reach);
/// Equal steps, ends included. \param points at least 2
std::vector<double> evenly(const std::array<double, 2>& range, long points);
/// Tests from 0 (or the lower bound) to beyond the largest limit.
std::vector<HypothesisTest> cls_curve(AsymptoticCalculator& calculator, const Parameter& poi,
                                      const UpperLimit& limit);

}  // namespace slalom::cli
