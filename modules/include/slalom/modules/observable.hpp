// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "slalom/modules/classifier.hpp"
#include "slalom/modules/events.hpp"

/// \file
/// What is histogrammed of a classifier that knows a nuisance parameter z: its score at one value
/// of z, alone or together with its derivative by z.
///
/// With f(x, z) the logit, log s(x|z) / b(x|z) but for a constant, an observable is *frozen* at a
/// value z0: a function of x alone, so that all hypotheses are compared with the same data. The
/// pair (f, df/dz) at z0 knows the score at all neighbouring z to first order in z - z0: it is
/// worth almost as much for z near z0 as at it, and tells mu from z.
namespace slalom {

/// Logit and derivative, float64, no graph.
struct LogitSlope {
  Tensor logit;  ///< f [n]
  Tensor slope;  ///< df/dz [n], for 1 unit of theta
};

/// Of a classifier with one output.
/// \param features [n, f] \param theta [p], where the derivative is taken
/// \param parameter which of theta it is for
/// \param chunk events at a time \throws Error (usage) for shapes, or a classifier of several
/// outputs
LogitSlope logit_and_slope(ClassifierImpl& classifier, const Tensor& features, const Tensor& theta,
                           std::int64_t parameter = 0, std::int64_t chunk = 65536);

/// Inner edges [B - 1] that split the weight of events evenly. Equal values stay together; edges
/// that would be equal to another are left out, so that there may be fewer.
/// \param values [n] \param weights [n], of which no partial sum falls much (positive ones)
/// \throws Error (usage) for shapes, or weights without a positive sum
Tensor quantile_edges(const Tensor& values, const Tensor& weights, std::int64_t bins);

/// How a score is binned.
enum class ScoreBinning {
  equal_width,   ///< bins of sigmoid(f) between 0 and 1
  equal_signal,  ///< bins with the same expected signal
};

/// Options of Observable.
struct ObservableOptions {
  std::int64_t bins = 10;                            ///< of the score
  ScoreBinning binning = ScoreBinning::equal_width;  ///< of the score
  /// Bins of df/dz in each bin of the score, with equal shares of all events; 0: the score alone.
  std::int64_t slope_bins = 0;
  std::int64_t parameter = 0;  ///< of theta that df/dz is for
};

/// A classifier at one theta, and bins of what it says: a map from events to bins.
class Observable {
 public:
  /// Two numbers of each event [n], float64, in the place of logit and derivative: for example the
  /// efficient scores of two parameters. The second one may be undefined without slope bins.
  using Pair = std::function<LogitSlope(const EventBatch& events)>;
  /// \param reference events with labels (1: signal), with which quantiles are taken
  /// \throws Error (usage) for options
  Observable(Pair pair, const ObservableOptions& options, const EventBatch& reference);
  /// \param features columns that the classifier sees; empty: all
  /// \param theta [p]; undefined for a classifier without parameters
  /// \param reference events with labels (1: signal) where theta is true, with which quantiles are
  ///   taken; not used for equal_width without slope bins
  /// \throws Error (usage) for options, or slope bins without theta
  Observable(Classifier classifier, std::vector<std::string> features, const Tensor& theta,
             const ObservableOptions& options, const EventBatch& reference);

  /// Bin of every event [n]; bins of the slope run fastest. \throws Error (numerical) for a score
  /// that is NaN
  Tensor bin_of(const EventBatch& events) const;
  /// Their number.
  std::int64_t bins() const;
  /// f, and df/dz where there are slope bins (otherwise undefined).
  LogitSlope evaluate(const EventBatch& events) const;
  /// Where it is frozen [p]; undefined for a classifier without parameters.
  const Tensor& theta() const { return theta_; }
  /// Inner edges of the logit.
  const Tensor& logit_edges() const { return logit_edges_; }
  /// Inner edges of the slope in each bin of the logit.
  const std::vector<Tensor>& slope_edges() const { return slope_edges_; }

 private:
  void make_bins(const EventBatch& reference);
  void take_quantiles(const EventBatch& reference);

  Pair pair_;
  Tensor theta_;
  ObservableOptions options_;
  Tensor logit_edges_;
  std::vector<Tensor> slope_edges_;
};

}  // namespace slalom
