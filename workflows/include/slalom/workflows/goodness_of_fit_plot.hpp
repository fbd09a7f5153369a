// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "slalom/core/goodness_of_fit.hpp"
#include "slalom/workflows/plot.hpp"

/// \file
/// Goodness-of-fit statistic of toys, beside that of the data and the asymptotic distribution.
namespace slalom {

/// What is drawn.
struct GoodnessOfFitPlot {
  std::vector<double> samples;         ///< statistic of the toys; may be empty
  double observed = 0.0;               ///< statistic of the data
  std::size_t degrees_of_freedom = 0;  ///< of the chi2 curve; 0 for no curve
  double p_value = 0.0;                ///< from the toys, with its error
  double p_value_error = 0.0;          ///< binomial
  double asymptotic_p_value = 0.0;     ///< from chi2
};

/// Collects the outcome of goodness_of_fit_by_toys.
GoodnessOfFitPlot goodness_of_fit_plot(const ToyGoodnessOfFit& test);

/// The picture: a histogram of the toys, the chi2 curve of the same area, a line for the data.
Picture picture(const GoodnessOfFitPlot& plot, const PlotStyle& style = {});

}  // namespace slalom
