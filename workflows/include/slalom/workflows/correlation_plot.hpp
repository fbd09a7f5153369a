// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"
#include "slalom/workflows/plot.hpp"

/// \file
/// Correlation matrix of the parameters of a fit.
namespace slalom {

/// What is drawn.
struct CorrelationPlot {
  std::vector<std::string> names;  ///< parameters [N], from left to right and from top to bottom
  std::vector<double> matrix;      ///< correlation coefficients [N * N], row-major
  std::size_t hidden = 0;          ///< how many parameters were left out
};

/// What is worth a row of the matrix.
struct CorrelationOptions {
  double threshold = 0.0;  ///< smallest |coefficient| with any other parameter
  std::size_t most = 40;   ///< parameters kept: those with the largest coefficient
};

/// Collects correlations, in the order of the parameters. The parameter of interest always stays.
/// \param spec names of the parameters
/// \param covariance with its matrix
/// \param options which parameters to keep
CorrelationPlot correlation_plot(const ModelSpec& spec, const Covariance& covariance,
                                 const CorrelationOptions& options = {});

/// The picture, with numbers in the cells where these are large enough.
Picture picture(const CorrelationPlot& plot, const PlotStyle& style = {});

}  // namespace slalom
