// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch_module.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "slalom/modules/events.hpp"

/// \file
/// Scores of events, score(x) or score(x, theta): a network, several of them, a function, or a
/// network made elsewhere. All of them are a Classifier.
namespace slalom {

/// Functions between the layers of a network.
enum class Activation { relu, leaky_relu, elu, silu, gelu, softplus, tanh, sigmoid };

/// Whether the second derivative is 0 but for kinks (relu, leaky_relu). A derivative along a
/// direction in the inputs, taken in forward mode inside a loss, then lacks the terms of the kinks
/// in its own derivative by the weights: the value is right, the training is not.
bool is_piecewise_linear(Activation activation);
/// Its value. `leaky_relu` has the slope 0.01 below 0, `gelu` is exact.
Tensor activate(const Tensor& x, Activation activation);

/// Distributions of initial weights, all of mean 0; biases start at 0. Variances: he 2 / inputs of
/// the layer, xavier 2 / (inputs + outputs).
enum class Initialisation { he_normal, he_uniform, xavier_normal, xavier_uniform };

/// What becomes of the real outputs of a classifier.
enum class Score {
  linear,   ///< outputs / temperature
  sigmoid,  ///< 1 / (1 + exp(-outputs / temperature))
  softmax,  ///< exp(outputs / temperature), normalised over the outputs
};

/// Scores from real outputs [n, K]: [n] if K is 1, otherwise [n, K].
Tensor to_score(const Tensor& outputs, Score score, double temperature = 1.0);

/// A network: activation(x w_1^T + b_1) ... w_L^T + b_L.
/// \param x [n, inputs] \param weights [out, in] each \param biases [out] each
Tensor mlp(const Tensor& x, const std::vector<Tensor>& weights, const std::vector<Tensor>& biases,
           Activation activation);

/// What all classifiers share. `outputs` are real numbers (logits), forward() is the score.
class ClassifierImpl : public torch::nn::Module {
 public:
  /// Real outputs [n, K].
  /// \param features [n, f]
  /// \param theta parameters, [p] for all events or [n, p]; undefined if the classifier has none
  virtual Tensor outputs(const Tensor& features, const Tensor& theta) = 0;
  /// Whether the score is a piecewise linear function of the features; true if unknown. See
  /// is_piecewise_linear(Activation).
  virtual bool piecewise_linear() const = 0;
  /// The score: [n], or [n, K] for K > 1 outputs.
  Tensor forward(const Tensor& features, const Tensor& theta = {});

  Score score = Score::sigmoid;  ///< what forward() makes of the outputs
  double temperature = 1.0;      ///< divides the outputs in forward(), > 0
};
/// Handle of a ClassifierImpl; copies share it.
TORCH_MODULE(Classifier);
/// Any of them as a classifier: `as_classifier(mlp.ptr())`. Shares the module.
inline Classifier as_classifier(std::shared_ptr<ClassifierImpl> module) {
  return Classifier(std::move(module));
}

/// A parameter that is appended to the features, mapped from its range to [-1, 1].
struct ParameterInput {
  std::string name;   ///< for people
  double low = -1.0;  ///< lower end of the range seen in training
  double high = 1.0;  ///< upper end
  /// Equal in all members.
  bool operator==(const ParameterInput&) const = default;
};

/// Options of Mlp.
struct MlpOptions {
  std::int64_t inputs = 1;                                    ///< features of an event
  std::vector<std::int64_t> hidden = {64, 64};                ///< widths of the hidden layers
  std::int64_t outputs = 1;                                   ///< K
  Activation activation = Activation::relu;                   ///< between layers
  Initialisation initialisation = Initialisation::he_normal;  ///< of the weights
  std::uint64_t seed = 0;                       ///< of the weights; no global state is used
  std::vector<ParameterInput> parameters = {};  ///< appended inputs
  Score score = Score::sigmoid;                 ///< of forward()
  double temperature = 1.0;                     ///< of forward()
  bool float64 = false;                         ///< weights in float64 instead of float32
  /// Equal in all members.
  bool operator==(const MlpOptions&) const = default;
};

/// A multilayer perceptron. Inputs are normalised with buffers `mean` and `scale`; features of
/// another type are converted.
class MlpImpl : public ClassifierImpl {
 public:
  /// \throws Error (usage) for sizes that are not positive or empty ranges
  explicit MlpImpl(MlpOptions options = {});
  Tensor outputs(const Tensor& features, const Tensor& theta) override;
  bool piecewise_linear() const override;
  /// Sets the normalisation to mean and standard deviation of the features, by absolute weight.
  /// A feature that does not vary keeps the scale 1. \throws Error (numerical) for NaN
  void fit_normalisation(const Tensor& features, const Tensor& weights = {});
  /// As given.
  const MlpOptions& options() const { return options_; }
  /// One line for people.
  void pretty_print(std::ostream& stream) const override;

 private:
  MlpOptions options_;
  Tensor mean_, scale_;  // of the features
  Tensor parameter_mid_, parameter_half_;
  std::vector<Tensor> weights_, biases_;
};
/// Handle of a MlpImpl; copies share it.
TORCH_MODULE(Mlp);

/// Two networks on (x, theta), one for theta at or above a threshold and one below: for a nuisance
/// whose effect is much smaller than the noise of events, which a single dense network learns last.
class TwoNetworksImpl : public ClassifierImpl {
 public:
  /// \param options of both; the lower network has the next seed
  /// \param parameter which of the options' parameters decides \param threshold where
  explicit TwoNetworksImpl(const MlpOptions& options, std::int64_t parameter = 0,
                           double threshold = 0.0);
  Tensor outputs(const Tensor& features, const Tensor& theta) override;
  bool piecewise_linear() const override;
  /// See MlpImpl::fit_normalisation().
  void fit_normalisation(const Tensor& features, const Tensor& weights = {});

  Mlp above{nullptr};  ///< network for theta >= threshold
  Mlp below{nullptr};  ///< network for theta < threshold

 private:
  std::int64_t parameter_;
  double threshold_;
};
/// Handle of a TwoNetworksImpl; copies share it.
TORCH_MODULE(TwoNetworks);

/// Mean of the outputs of several classifiers.
class EnsembleImpl : public ClassifierImpl {
 public:
  /// \throws Error (usage) for no members
  explicit EnsembleImpl(std::vector<Classifier> members);
  Tensor outputs(const Tensor& features, const Tensor& theta) override;
  bool piecewise_linear() const override;
  /// Standard deviation of the members' outputs [n, K].
  Tensor spread(const Tensor& features, const Tensor& theta = {});

 private:
  std::vector<Classifier> members_;
};
/// Handle of a EnsembleImpl; copies share it.
TORCH_MODULE(Ensemble);

/// A function of the user's.
class FunctionClassifierImpl : public ClassifierImpl {
 public:
  /// outputs [n, K] or [n] of (features, theta)
  using Function = std::function<Tensor(const Tensor& features, const Tensor& theta)>;
  /// \param score linear: the function is the score itself
  explicit FunctionClassifierImpl(Function function, Score score = Score::linear,
                                  bool piecewise_linear = false);
  Tensor outputs(const Tensor& features, const Tensor& theta) override;
  bool piecewise_linear() const override { return piecewise_linear_; }

 private:
  Function function_;
  bool piecewise_linear_;
};
/// Handle of a FunctionClassifierImpl; copies share it.
TORCH_MODULE(FunctionClassifier);

/// A classifier with parameters as one without: theta is fixed where none is given. What templates
/// of a fixed observable are made with.
class FrozenClassifierImpl : public ClassifierImpl {
 public:
  /// Shares the network, whose score and temperature it takes. \param theta [p]
  FrozenClassifierImpl(Classifier network, const Tensor& theta);
  Tensor outputs(const Tensor& features, const Tensor& theta) override;
  bool piecewise_linear() const override;
  /// Where it is fixed [p].
  const Tensor& theta() const { return theta_; }

 private:
  Classifier network_;
  Tensor theta_;
};
/// Handle of a FrozenClassifierImpl; copies share it.
TORCH_MODULE(FrozenClassifier);

/// A TorchScript network from a file, with its parameters: it can be trained further. It is called
/// with the features, and with theta [n, p] if there is one.
/// \param piecewise_linear false where the user knows that it is smooth
/// \throws Error (io) for a file that is not readable
Classifier load_script_classifier(const std::string& path, Score score = Score::linear,
                                  bool piecewise_linear = true);

}  // namespace slalom
