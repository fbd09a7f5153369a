// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch_module.hpp"

#include <cstdint>
#include <functional>
#include <vector>

#include "slalom/modules/classifier.hpp"

/// \file
/// Networks that estimate log r(x | theta) = log p_S(x | theta) / p_B(x) for every theta in a box,
/// trained once on simulation and used as a function of theta afterwards (PAWS, arXiv:2405.08889).
///
/// A classifier that is trained on pairs (x, theta), with the same distribution of theta in both
/// classes, has that as its logit. In an unbinned likelihood its errors count: log r is
///
///     log r(x | theta) = a(theta) f(x, theta) + b(theta),
///
/// with a logit f and polynomials a, b that calibrate() takes from events that f has not seen, or
/// normalise() from background events alone (a = 1, b = log kappa). All is differentiable in theta
/// to any order. theta is [p] or [n, p], in its own units; inside it is mapped to [-1, 1].
namespace slalom {

/// A network and a linear function of the same inputs, added: what is linear in x, as log r of
/// Gaussians is, does not have to be made of bent pieces, and goes on outside of the training
/// sample.
class SkipMlpImpl : public ClassifierImpl {
 public:
  /// \param options of the network; silu is what the recipe was measured with
  explicit SkipMlpImpl(const MlpOptions& options = {});
  Tensor outputs(const Tensor& features, const Tensor& theta) override;
  bool piecewise_linear() const override;
  /// See MlpImpl::fit_normalisation().
  void fit_normalisation(const Tensor& features, const Tensor& weights = {});

  Mlp network{nullptr};  ///< the bent part
  Mlp linear{nullptr};   ///< without hidden layers
};
TORCH_MODULE(SkipMlp);  ///< copies share one module

/// Products of Legendre polynomials P_k of the parameters, of a total degree up to `degree`: k for
/// each parameter, the constant first. [terms][p]
std::vector<std::vector<std::int64_t>> polynomial_degrees(std::int64_t parameters,
                                                          std::int64_t degree);

/// f(x, theta) = sum_k P_k(t) f_k(x), a polynomial in theta (t, in [-1, 1]) whose coefficients are
/// the outputs of a network of x alone. A function of theta that cannot wriggle between the points
/// it was trained at, and whose fits cost next to nothing, since the network is evaluated once.
class PolynomialRatioImpl : public ClassifierImpl {
 public:
  /// \param options of the network of x; `parameters` are those of the polynomial, `outputs` is not
  ///   used \param degree in all parameters together, > 0
  explicit PolynomialRatioImpl(MlpOptions options = {}, std::int64_t degree = 3);
  Tensor outputs(const Tensor& features, const Tensor& theta) override;
  bool piecewise_linear() const override;
  /// f_k(x) [n, terms], in the order of polynomial_degrees().
  Tensor coefficients(const Tensor& features);
  /// See MlpImpl::fit_normalisation().
  void fit_normalisation(const Tensor& features, const Tensor& weights = {});
  /// Highest degree.
  std::int64_t degree() const { return degree_; }
  /// Those of the polynomial.
  const std::vector<ParameterInput>& parameters() const { return parameters_; }

 private:
  std::vector<ParameterInput> parameters_;
  std::int64_t degree_;
  SkipMlp network_{nullptr};
};
TORCH_MODULE(PolynomialRatio);  ///< copies share one module

/// log r(x | theta): a logit with its calibration. A Classifier whose outputs are calibrated.
class ParameterisedRatioImpl : public ClassifierImpl {
 public:
  /// \param network whose output is a logit; an Mlp, SkipMlp, PolynomialRatio, Ensemble or
  /// Function.
  ///   Shared. \param parameters their names and the box in which the ratio is known
  /// \param degree of the calibration's polynomials in theta, >= 0
  /// \throws Error (usage) for no parameters, empty ranges or a negative degree
  ParameterisedRatioImpl(Classifier network, std::vector<ParameterInput> parameters,
                         std::int64_t degree = 3);
  /// log r [n, 1].
  Tensor outputs(const Tensor& features, const Tensor& theta) override;
  bool piecewise_linear() const override { return network_->piecewise_linear(); }
  /// log r [n], float64. \throws Error (usage) for shapes
  Tensor log_ratio(const Tensor& features, const Tensor& theta);
  /// f [n], float64: the logit before calibration.
  Tensor logit(const Tensor& features, const Tensor& theta);
  /// a(theta) and b(theta): [2] for theta [p], [n, 2] for [n, p].
  Tensor calibration(const Tensor& theta);
  /// Sets a and b: coefficients [terms] in the order of polynomial_degrees(). \throws Error (usage)
  /// for sizes
  void set_calibration(const Tensor& slope, const Tensor& offset);
  /// a = 1, b = 0.
  void reset_calibration();
  /// Coefficients of a [terms].
  const Tensor& slope() const { return slope_; }
  /// Coefficients of b [terms].
  const Tensor& offset() const { return offset_; }
  /// Before calibration.
  const Classifier& network() const { return network_; }
  /// The box.
  const std::vector<ParameterInput>& parameters() const { return parameters_; }
  /// Of the calibration.
  std::int64_t degree() const { return degree_; }

 private:
  Classifier network_;
  std::vector<ParameterInput> parameters_;
  std::int64_t degree_;
  Tensor slope_, offset_;
};
TORCH_MODULE(ParameterisedRatio);  ///< copies share one module

/// Simulated events to train with: as many of both classes, so that cross entropy is balanced.
struct RatioBatch {
  Tensor signal;  ///< [n, f], each drawn at its own theta
  Tensor
      theta;  ///< [n, p]; background events get the same ones. Undefined: for a network without it
  Tensor background;  ///< [n, f]
};
/// Batch number `step`; a pure function of it.
using RatioBatches = std::function<RatioBatch(std::int64_t step)>;

/// Batches drawn with replacement from samples.
/// \param signal [n, f] \param theta [n, p] at which each signal event was made: the distribution
/// of
///   theta in training is that of this sample \param background [m, f] \param batch_size of a class
/// \throws Error (usage) for shapes
RatioBatches batches_from_samples(const Tensor& signal, const Tensor& theta,
                                  const Tensor& background, std::int64_t batch_size,
                                  std::uint64_t seed);

/// How a ratio is trained.
struct RatioTraining {
  std::int64_t steps = 4000;    ///< of Adam
  double learning_rate = 1e-2;  ///< at its highest
  double warm_up = 0.1;         ///< share of the steps in which it rises; it falls as a cosine then
  /// Signal's share of all events, for which cross entropy is taken: a mean over these. All have
  /// the same minimum; a share pi asks most of events whose log r is near log(1/pi - 1), and those
  /// that decide about a small fraction are beyond what 0.5, a balanced sample, looks at.
  std::vector<double> shares = {0.5};
  std::int64_t report_every = 0;  ///< steps between calls of `progress`; 0: none
  /// Called with the step and the mean loss since the last call; false ends the training.
  std::function<bool(std::int64_t step, double loss)> progress{};
};

/// Balanced cross entropy of the network's logit; the network is in float64 afterwards, which
/// fits need. Normalise the inputs (fit_normalisation()) before. Same batches, same result on one
/// machine. \returns mean loss of the last tenth of the steps: log 2 where nothing is learned from
/// a balanced sample
/// \throws Error (numerical) for a loss that is not finite, with the step
double train_ratio(ClassifierImpl& network, const RatioBatches& batches,
                   const RatioTraining& options = {});

/// Platt's calibration as a function of theta: logistic regression of the labels with
/// a(theta) f + b(theta), on events that the network has not seen, both classes with the same
/// weight. Convex; Newton's method. The slope corrects a network that is too sure of itself, the
/// offset its normalisation, which the whole of both samples determines and not, as in normalise(),
/// the few background events of largest r.
/// \param batches events of both classes \param count of them
/// \returns the statistical error of b in the middle of the box
/// \throws Error (numerical) where the classes are separated completely
double calibrate(ParameterisedRatioImpl& ratio, const RatioBatches& batches, std::int64_t count);

/// The same at one value of theta: a and b become constants that are right there, from events of
/// that theta alone. For the second step of a fit. \param signal [n, f] drawn at theta
/// \param background [m, f] \returns the statistical error of b
double calibrate_at(ParameterisedRatioImpl& ratio, const Tensor& theta, const Tensor& signal,
                    const Tensor& background);

/// log kappa(theta) = -log E_B[exp f(x, theta)], so that E_B[r] = 1 (the published normalisation),
/// as a polynomial in theta through `points` Chebyshev points along each axis by least squares.
/// \param background [n, f], or points of a quadrature \param weights [n]; undefined: 1 each
/// \returns the largest relative statistical error of kappa at those points: where that is not
///   small, a few events carry the sum, and calibrate() is the better choice
/// \throws Error (numerical) for sums that are not finite
double normalise(ParameterisedRatioImpl& ratio, const Tensor& background,
                 const Tensor& weights = {}, std::int64_t points = 9);

/// log(alpha r_1 + (1 - alpha) r_2): two decay modes of one signal, with the share alpha of the
/// first as the last parameter, in [0, 1]; both ratios have the others. The network of a
/// ParameterisedRatio of p + 1 parameters.
class TwoModesImpl : public ClassifierImpl {
 public:
  /// Shared. \throws Error (usage) for ratios of different numbers of parameters
  TwoModesImpl(ParameterisedRatio first, ParameterisedRatio second);
  Tensor outputs(const Tensor& features, const Tensor& theta) override;
  bool piecewise_linear() const override;
  /// Those of the first ratio, and alpha.
  std::vector<ParameterInput> parameters() const;

 private:
  ParameterisedRatio first_, second_;
};
TORCH_MODULE(TwoModes);  ///< copies share one module

}  // namespace slalom
