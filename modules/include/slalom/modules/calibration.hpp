// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>

/// \file
/// From the logits of a classifier to density ratios that can be used as such.
///
/// A classifier trained with balanced cross entropy estimates log s(x) / b(x). In an unbinned
/// likelihood, where every event counts with that number, its errors do not cancel as they do in a
/// histogram: it is calibrated with events that it was not trained on.
namespace slalom {

/// log s/b = slope * logit + offset (Platt, in: Advances in large margin classifiers (1999) 61).
struct PlattCalibration {
  double slope = 1.0;   ///< of the logit
  double offset = 0.0;  ///< added
  /// Calibrated logits, of any shape; differentiable.
  Tensor operator()(const Tensor& logit) const;
};

/// The maximum-likelihood fit of slope and offset: logistic regression of the labels on the logit
/// with both classes given the same weight.
/// \param logit [n] \param labels [n], 1: signal, 0: background \param weights [n], or undefined: 1
/// \throws Error (usage) for shapes, Error (numerical) if a class is missing or the classes are
///   separated completely
PlattCalibration platt_calibration(const Tensor& logit, const Tensor& labels,
                                   const Tensor& weights = {});

/// log s/b constant in bins of the logit: ratio of the shares of both classes that fall there.
struct BinnedCalibration {
  Tensor edges;  ///< inner edges [B - 1] of the logit
  Tensor ratio;  ///< log s/b [B]
  /// Calibrated logits [n], float64, without a graph.
  Tensor operator()(const Tensor& logit) const;
};

/// Bins with equal shares of both classes taken together. Neighbouring bins are merged until each
/// has events of both classes.
/// \throws Error (usage) for shapes, Error (numerical) if a class is missing
BinnedCalibration binned_calibration(const Tensor& logit, const Tensor& labels,
                                     const Tensor& weights = {}, std::int64_t bins = 100);

/// log s/b as a non-decreasing function of the logit, straight between points and constant beyond
/// them.
struct IsotonicCalibration {
  Tensor logit;  ///< points [K], ascending
  Tensor ratio;  ///< log s/b there [K], ascending
  /// Calibrated logits, of any shape, float64; differentiable by the logit, piecewise.
  Tensor operator()(const Tensor& other) const;
};

/// The non-decreasing function of largest likelihood (pool adjacent violators; Zadrozny and Elkan,
/// KDD 2002), one point in the middle of each of its steps. Steps at the ends that hold one class
/// only are joined with the next: their ratio would be infinite. It knows no scale and needs no
/// bins, and keeps the order of events; errors are those of the steps' contents. \throws Error
/// (usage) for shapes, Error (numerical) if a class is missing, or the classes are
///   separated completely
IsotonicCalibration isotonic_calibration(const Tensor& logit, const Tensor& labels,
                                         const Tensor& weights = {});

}  // namespace slalom
