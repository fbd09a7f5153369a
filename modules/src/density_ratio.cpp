// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/density_ratio.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_inv.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <torch/optim/adam.h>
#include <utility>

#include "check.hpp"
#include "polynomial.hpp"
#include "slalom/core/random.hpp"
#include "slalom/modules/mixture.hpp"
#include "slalom/modules/schedule.hpp"
#include "to_tensor.hpp"

namespace slalom {

using detail::Polynomials;
using detail::require;
using detail::shape_of;
using detail::to_tensor;

namespace {

constexpr const char* k_where = "density_ratio";
constexpr std::int64_t k_chunk = 65536;  ///< events at a time

MlpOptions without_hidden(MlpOptions options) {
  options.hidden = {};
  return options;
}

/// theta as one row, or one per event. \throws Error (usage) for shapes
Tensor rows(const Tensor& theta, std::int64_t n, std::size_t p) {
  const auto columns = static_cast<std::int64_t>(p);
  require(theta.defined() && (theta.dim() == 1 || theta.dim() == 2) && theta.size(-1) == columns &&
              (theta.dim() == 1 || theta.size(0) == n),
          "theta [" + std::to_string(p) + "] or [" + std::to_string(n) + ", " + std::to_string(p) +
              "] expected, found " + (theta.defined() ? shape_of(theta) : "none"),
          k_where);
  return theta.dim() == 1 ? theta.unsqueeze(0) : theta;
}

void check_batch(const RatioBatch& batch) {
  const Tensor& s = batch.signal;
  const Tensor& t = batch.theta;
  const bool shapes = s.dim() == 2 && s.size(0) > 0 && batch.background.sizes() == s.sizes() &&
                      (!t.defined() || (t.dim() == 2 && t.size(0) == s.size(0)));
  require(shapes,
          "as many signal events, theta and background events [n, columns] expected, found " +
              shape_of(s) + ", " + (t.defined() ? shape_of(t) : "none") + " and " +
              shape_of(batch.background),
          k_where);
}

/// Logits and polynomials of labelled events.
struct Labelled {
  Tensor logit;  ///< [n]
  Tensor basis;  ///< [n, terms]
  Tensor sign;   ///< [n], 1 for signal, -1 for background
  std::int64_t size() const { return logit.size(0); }
};

/// Loss, gradient and Hessian of the logistic loss of sign * (a f + b).
struct Regression {
  double loss = 0.0;
  Tensor gradient, hessian;
};

Regression regression(const Labelled& events, const Tensor& parameters) {
  const std::int64_t terms = parameters.size(0);
  Regression result{0.0, at::zeros({terms}, parameters.options()),
                    at::zeros({terms, terms}, parameters.options())};
  for (std::int64_t begin = 0; begin < events.size(); begin += k_chunk) {
    const std::int64_t end = std::min(begin + k_chunk, events.size());
    const Tensor f = events.logit.slice(0, begin, end), m = events.basis.slice(0, begin, end),
                 sign = events.sign.slice(0, begin, end);
    const Tensor design = at::cat({m * f.unsqueeze(1), m}, 1);
    const Tensor margin = sign * design.matmul(parameters), p = at::sigmoid(-margin);
    result.loss -= at::log_sigmoid(margin).sum().item<double>();
    result.gradient += design.t().matmul(-sign * p);
    result.hessian += design.t().matmul(design * (p * (1.0 - p)).unsqueeze(1));
  }
  return result;
}

/// Mean over shares of the cross entropy for that part of signal, in units of its scale: a logit f
/// of balanced classes is f + log(pi / (1 - pi)) there.
Tensor cross_entropy_of_shares(const Tensor& signal, const Tensor& background,
                               const std::vector<double>& shares) {
  Tensor sum;
  for (const double share : shares) {
    const double shift = std::log(share / (1.0 - share));
    const Tensor loss = -(share * at::log_sigmoid(signal + shift).mean() +
                          (1.0 - share) * at::log_sigmoid(-background - shift).mean()) *
                        (0.5 / std::min(share, 1.0 - share));
    sum = sum.defined() ? sum + loss : loss;
  }
  return sum / static_cast<double>(shares.size());
}

struct Calibration {
  Tensor slope, offset;
  double error = 0.0;  // of the constant term of the offset
};

/// Newton's method with step halving: the loss is convex.
Calibration regress(const Labelled& events) {
  constexpr int k_iterations = 100;
  constexpr double k_tolerance = 1e-10;  // decrease of the loss that is left
  constexpr double k_separated = 1e-6;   // loss of an event
  const std::int64_t terms = events.basis.size(1);
  Tensor parameters = at::zeros({2 * terms}, events.basis.options());
  parameters[0] = 1.0;
  Regression now = regression(events, parameters);
  for (int i = 0; i < k_iterations; ++i) {
    if (!std::isfinite(now.loss) || now.loss < k_separated * static_cast<double>(events.size())) {
      break;
    }
    // A little of the unit matrix: polynomials that no event distinguishes stay where they are.
    const double tiny = 1e-12 * at::diag(now.hessian).max().item<double>();
    const Tensor h = now.hessian + tiny * at::eye(2 * terms, parameters.options());
    const Tensor step = at::linalg_solve(h, now.gradient);
    const double decrease = 0.5 * step.dot(now.gradient).item<double>();
    double share = 1.0;
    Regression next = regression(events, parameters - step);
    while (!(next.loss <= now.loss) && share > 1e-8) {
      share *= 0.5;
      next = regression(events, parameters - share * step);
    }
    if (share > 1e-8) {
      parameters = parameters - share * step;
      now = next;
    }
    if (decrease < k_tolerance || share <= 1e-8) {
      const Tensor covariance = at::linalg_inv(h);
      return {parameters.slice(0, 0, terms).clone(), parameters.slice(0, terms).clone(),
              std::sqrt(covariance[terms][terms].item<double>())};
    }
  }
  throw Error(ErrorKind::numerical,
              "logistic regression does not converge: the classes are separated, or the logit is "
              "not finite",
              k_where);
}

Tensor chebyshev_points(std::int64_t points) {
  std::vector<double> result;
  for (std::int64_t i = 0; i < points; ++i) {
    const double phase = (static_cast<double>(i) + 0.5) / static_cast<double>(points);
    result.push_back(-std::cos(std::numbers::pi * phase));
  }
  return to_tensor(result);
}

/// All combinations of `points` Chebyshev points along each axis [points^p, p].
Tensor lattice(const std::vector<ParameterInput>& parameters, std::int64_t points) {
  const Tensor t = chebyshev_points(points);
  Tensor result;
  for (const ParameterInput& parameter : parameters) {
    const double middle = 0.5 * (parameter.low + parameter.high);
    const Tensor axis = (middle + 0.5 * (parameter.high - parameter.low) * t).unsqueeze(1);
    if (!result.defined()) {
      result = axis;
      continue;
    }
    result = at::cat({result.repeat_interleave(points, 0), axis.repeat({result.size(0), 1})}, 1);
  }
  return result;
}

}  // namespace

std::vector<std::vector<std::int64_t>> polynomial_degrees(std::int64_t parameters,
                                                          std::int64_t degree) {
  require(parameters > 0 && degree >= 0, "parameters and a degree of at least 0 expected", k_where);
  std::vector<std::vector<std::int64_t>> result;
  std::vector<std::int64_t> exponents(static_cast<std::size_t>(parameters), 0);
  for (std::int64_t total = 0; total <= degree; ++total) {
    // All ways to share `total` among the parameters; the first takes most first.
    const std::function<void(std::size_t, std::int64_t)> share = [&](std::size_t at,
                                                                     std::int64_t left) {
      if (at + 1 == exponents.size()) {
        exponents[at] = left;
        result.push_back(exponents);
        return;
      }
      for (std::int64_t k = left; k >= 0; --k) {
        exponents[at] = k;
        share(at + 1, left - k);
      }
    };
    share(0, total);
  }
  return result;
}

SkipMlpImpl::SkipMlpImpl(const MlpOptions& options) {
  score = options.score;
  temperature = options.temperature;
  network = register_module("network", Mlp(options));
  linear = register_module("linear", Mlp(without_hidden(options)));
  const at::NoGradGuard guard;
  for (Tensor& parameter : linear->parameters()) parameter.zero_();
}

Tensor SkipMlpImpl::outputs(const Tensor& features, const Tensor& theta) {
  return network->outputs(features, theta) + linear->outputs(features, theta);
}

bool SkipMlpImpl::piecewise_linear() const { return network->piecewise_linear(); }

void SkipMlpImpl::fit_normalisation(const Tensor& features, const Tensor& weights) {
  network->fit_normalisation(features, weights);
  linear->fit_normalisation(features, weights);
}

PolynomialRatioImpl::PolynomialRatioImpl(MlpOptions options, std::int64_t degree)
    : parameters_(options.parameters), degree_(degree) {
  require(!parameters_.empty() && degree > 0, "parameters and a degree above 0 expected", k_where);
  for (const ParameterInput& parameter : parameters_) {
    require(parameter.low < parameter.high, "an empty range of parameter '" + parameter.name + "'",
            k_where);
  }
  score = options.score;
  temperature = options.temperature;
  options.parameters = {};
  const auto p = static_cast<std::int64_t>(parameters_.size());
  options.outputs = static_cast<std::int64_t>(polynomial_degrees(p, degree).size());
  network_ = register_module("network", SkipMlp(options));
}

Tensor PolynomialRatioImpl::coefficients(const Tensor& features) {
  return network_->outputs(features, {});
}

Tensor PolynomialRatioImpl::outputs(const Tensor& features, const Tensor& theta) {
  const Tensor f = coefficients(features);
  const Tensor basis =
      Polynomials(parameters_, degree_)(rows(theta, features.size(0), parameters_.size()));
  return (f * basis.to(f.scalar_type())).sum(1, true);
}

bool PolynomialRatioImpl::piecewise_linear() const { return network_->piecewise_linear(); }

void PolynomialRatioImpl::fit_normalisation(const Tensor& features, const Tensor& weights) {
  network_->fit_normalisation(features, weights);
}

ParameterisedRatioImpl::ParameterisedRatioImpl(Classifier network,
                                               std::vector<ParameterInput> parameters,
                                               std::int64_t degree)
    : network_(std::move(network)), parameters_(std::move(parameters)), degree_(degree) {
  require(!parameters_.empty(), "a ratio without parameters", k_where);
  for (const ParameterInput& parameter : parameters_) {
    require(parameter.low < parameter.high, "an empty range of parameter '" + parameter.name + "'",
            k_where);
  }
  score = Score::sigmoid;
  register_module("network", network_);
  const auto terms = static_cast<std::int64_t>(Polynomials(parameters_, degree).terms());
  slope_ = register_buffer("slope", at::zeros({terms}, at::kDouble));
  offset_ = register_buffer("offset", at::zeros({terms}, at::kDouble));
  reset_calibration();
}

void ParameterisedRatioImpl::reset_calibration() {
  slope_.zero_();
  offset_.zero_();
  slope_[0] = 1.0;
}

void ParameterisedRatioImpl::set_calibration(const Tensor& slope, const Tensor& offset) {
  require(slope.sizes() == slope_.sizes() && offset.sizes() == offset_.sizes(),
          "coefficients " + shape_of(slope_) + " expected, found " + shape_of(slope) + " and " +
              shape_of(offset),
          k_where);
  slope_.copy_(slope);
  offset_.copy_(offset);
}

Tensor ParameterisedRatioImpl::calibration(const Tensor& theta) {
  const Tensor basis = Polynomials(
      parameters_, degree_)(rows(theta, theta.dim() == 2 ? theta.size(0) : 1, parameters_.size()));
  const Tensor result = at::stack({basis.matmul(slope_), basis.matmul(offset_)}, 1);
  return theta.dim() == 1 ? result[0] : result;
}

Tensor ParameterisedRatioImpl::logit(const Tensor& features, const Tensor& theta) {
  require(features.dim() == 2, "features [events, columns] expected, found " + shape_of(features),
          k_where);
  rows(theta, features.size(0), parameters_.size());
  const Tensor f = network_->outputs(features, theta);
  require(f.dim() == 2 && f.size(1) == 1,
          "one logit per event expected, found outputs " + shape_of(f), k_where);
  return f.squeeze(1).to(at::kDouble);
}

Tensor ParameterisedRatioImpl::log_ratio(const Tensor& features, const Tensor& theta) {
  const Tensor f = logit(features, theta);
  const Tensor basis =
      Polynomials(parameters_, degree_)(rows(theta, features.size(0), parameters_.size()));
  return f * basis.matmul(slope_) + basis.matmul(offset_);
}

Tensor ParameterisedRatioImpl::outputs(const Tensor& features, const Tensor& theta) {
  return log_ratio(features, theta).unsqueeze(1);
}

RatioBatches batches_from_samples(const Tensor& signal, const Tensor& theta,
                                  const Tensor& background, std::int64_t batch_size,
                                  std::uint64_t seed) {
  const bool shapes = signal.dim() == 2 && theta.dim() == 2 && background.dim() == 2 &&
                      signal.size(0) > 0 && signal.size(0) == theta.size(0) &&
                      background.size(0) > 0 && signal.size(1) == background.size(1);
  require(
      shapes,
      "signal [n, columns], theta [n, parameters] and background [m, columns] expected, found " +
          shape_of(signal) + ", " + shape_of(theta) + " and " + shape_of(background),
      k_where);
  require(batch_size > 0, "a positive batch size expected", k_where);
  return [=](std::int64_t step) {
    RandomStream random(seed, static_cast<std::uint64_t>(step));
    const auto draw = [&](std::int64_t size) {
      std::vector<std::int64_t> which(static_cast<std::size_t>(batch_size));
      for (std::int64_t& i : which) {
        i = std::min(static_cast<std::int64_t>(random.uniform() * static_cast<double>(size)),
                     size - 1);
      }
      return to_tensor(which).to(signal.device());
    };
    const Tensor s = draw(signal.size(0)), b = draw(background.size(0));
    return RatioBatch{signal.index_select(0, s), theta.index_select(0, s),
                      background.index_select(0, b)};
  };
}

double train_ratio(ClassifierImpl& network, const RatioBatches& batches,
                   const RatioTraining& options) {
  require(options.steps > 0 && options.learning_rate > 0.0 && options.warm_up >= 0.0 &&
              options.warm_up < 1.0,
          "steps and a learning rate above 0, and a warm-up in [0, 1), expected", k_where);
  require(!options.shares.empty(), "at least one share of signal expected", k_where);
  for (const double share : options.shares) {
    require(share > 0.0 && share < 1.0, "shares of signal between 0 and 1 expected", k_where);
  }
  constexpr double k_first_share = 0.04;  // of the learning rate, where the warm-up begins
  const auto warm_up =
      static_cast<std::int64_t>(options.warm_up * static_cast<double>(options.steps));
  const Schedule rate{ScheduleShape::cosine,
                      options.learning_rate,
                      0.0,
                      options.steps - warm_up,
                      warm_up,
                      k_first_share * options.learning_rate};
  std::vector<Tensor> parameters;
  for (const Tensor& parameter : network.parameters()) {
    if (parameter.requires_grad()) parameters.push_back(parameter);
  }
  require(!parameters.empty(), "a network without anything to train", k_where);
  torch::optim::Adam optimizer(parameters, torch::optim::AdamOptions(options.learning_rate));
  const std::int64_t last = options.steps - std::max<std::int64_t>(options.steps / 10, 1);
  double late = 0.0, recent = 0.0;
  std::int64_t late_steps = 0, recent_steps = 0;
  for (std::int64_t step = 0; step < options.steps; ++step) {
    const RatioBatch batch = batches(step);
    check_batch(batch);
    for (auto& group : optimizer.param_groups()) group.options().set_lr(value_at(rate, step));
    const Tensor theta =
        batch.theta.defined() ? at::cat({batch.theta, batch.theta}, 0) : batch.theta;
    const Tensor logit =
        network.outputs(at::cat({batch.signal, batch.background}, 0), theta).squeeze(1);
    const std::int64_t n = batch.signal.size(0);
    const Tensor loss =
        cross_entropy_of_shares(logit.slice(0, 0, n), logit.slice(0, n), options.shares);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    const double value = loss.item<double>();
    if (!std::isfinite(value)) {
      throw Error(ErrorKind::numerical, "the loss is not finite at step " + std::to_string(step),
                  k_where);
    }
    if (step >= last) {
      late += value;
      ++late_steps;
    }
    recent += value;
    ++recent_steps;
    if (options.report_every > 0 && (step + 1) % options.report_every == 0 && options.progress) {
      if (!options.progress(step + 1, recent / static_cast<double>(recent_steps))) break;
      recent = 0.0;
      recent_steps = 0;
    }
  }
  network.zero_grad();
  network.to(at::kDouble);
  if (late_steps == 0) return recent / static_cast<double>(std::max<std::int64_t>(recent_steps, 1));
  return late / static_cast<double>(late_steps);
}

double calibrate(ParameterisedRatioImpl& ratio, const RatioBatches& batches, std::int64_t count) {
  require(count > 0, "a positive number of batches expected", k_where);
  const at::NoGradGuard no_graph;
  const Polynomials basis(ratio.parameters(), ratio.degree());
  std::vector<Tensor> logits, basis_of, signs;
  for (std::int64_t step = 0; step < count; ++step) {
    const RatioBatch batch = batches(step);
    check_batch(batch);
    require(batch.theta.defined(), "theta [n, p] of signal events expected", k_where);
    const Tensor m = basis(rows(batch.theta, batch.theta.size(0), ratio.parameters().size()));
    const Tensor one = at::ones({batch.signal.size(0)}, m.options());
    logits.insert(logits.end(), {ratio.logit(batch.signal, batch.theta),
                                 ratio.logit(batch.background, batch.theta)});
    basis_of.insert(basis_of.end(), {m, m});
    signs.insert(signs.end(), {one, -one});
  }
  const Calibration found = regress({at::cat(logits, 0), at::cat(basis_of, 0), at::cat(signs, 0)});
  ratio.set_calibration(found.slope, found.offset);
  return found.error;
}

double calibrate_at(ParameterisedRatioImpl& ratio, const Tensor& theta, const Tensor& signal,
                    const Tensor& background) {
  require(theta.dim() == 1 && signal.dim() == 2 && background.dim() == 2 && signal.size(0) > 0 &&
              background.size(0) > 0,
          "theta [p] and events [n, columns] of both classes expected, found " + shape_of(theta) +
              ", " + shape_of(signal) + " and " + shape_of(background),
          k_where);
  const at::NoGradGuard no_graph;
  const Tensor s = ratio.logit(signal, theta), b = ratio.logit(background, theta);
  // Both classes the same weight: with more events of one, the offset is moved by what is known.
  const Tensor one = at::ones({1}, s.options());
  const double excess = std::log(static_cast<double>(s.size(0)) / static_cast<double>(b.size(0)));
  const Tensor logit = at::cat({s, b}, 0);
  const Calibration found =
      regress({logit, at::ones({logit.size(0), 1}, logit.options()),
               at::cat({one.expand({s.size(0)}), -one.expand({b.size(0)})}, 0)});
  ratio.reset_calibration();
  Tensor slope = ratio.slope().clone(), offset = ratio.offset().clone();
  slope[0] = found.slope[0];
  offset[0] = found.offset[0] - excess;
  ratio.set_calibration(slope, offset);
  return found.error;
}

double normalise(ParameterisedRatioImpl& ratio, const Tensor& background, const Tensor& weights,
                 std::int64_t points) {
  require(background.dim() == 2 && background.size(0) > 0 &&
              (!weights.defined() || (weights.dim() == 1 && weights.size(0) == background.size(0))),
          "background [n, columns] and weights [n] expected, found " + shape_of(background),
          k_where);
  require(points > ratio.degree(), "more points than the degree of the calibration expected",
          k_where);
  const at::NoGradGuard no_graph;
  Tensor w = weights.defined()
                 ? weights.to(at::kDouble)
                 : at::ones({background.size(0)}, background.options().dtype(at::kDouble));
  w = w / w.sum();
  const Tensor thetas = lattice(ratio.parameters(), points);
  std::vector<double> log_kappa;
  double worst = 0.0;
  for (std::int64_t k = 0; k < thetas.size(0); ++k) {
    const Tensor f = ratio.logit(background, thetas[k].to(background.device()));
    const Tensor log_sum = at::logsumexp(f + at::log(w), {0});
    const Tensor relative = at::exp(f - log_sum) - 1.0;
    worst = std::max(worst, std::sqrt((w * w * relative * relative).sum().item<double>()));
    log_kappa.push_back(-log_sum.item<double>());
    if (!std::isfinite(log_kappa.back())) {
      throw Error(ErrorKind::numerical,
                  "the normalisation is not finite at point " + std::to_string(k) + " of the box",
                  k_where);
    }
  }
  const Tensor basis = Polynomials(ratio.parameters(), ratio.degree())(thetas);
  const Tensor normal = basis.t().matmul(basis), right = basis.t().matmul(to_tensor(log_kappa));
  ratio.reset_calibration();
  ratio.set_calibration(ratio.slope().clone(), at::linalg_solve(normal, right));
  return worst;
}

TwoModesImpl::TwoModesImpl(ParameterisedRatio first, ParameterisedRatio second)
    : first_(std::move(first)), second_(std::move(second)) {
  require(first_->parameters().size() == second_->parameters().size(),
          "two ratios with the same parameters expected", k_where);
  register_module("first", first_);
  register_module("second", second_);
}

Tensor TwoModesImpl::outputs(const Tensor& features, const Tensor& theta) {
  const std::size_t p = first_->parameters().size() + 1;
  rows(theta, features.size(0), p);
  const auto last = static_cast<std::int64_t>(p) - 1;
  const Tensor shared = theta.slice(-1, 0, last), alpha = theta.select(-1, last);
  const Tensor one = first_->log_ratio(features, shared),
               two = second_->log_ratio(features, shared);
  return (two + mixture_log_ratio(one - two, alpha)).unsqueeze(1);
}

bool TwoModesImpl::piecewise_linear() const {
  return first_->piecewise_linear() && second_->piecewise_linear();
}

std::vector<ParameterInput> TwoModesImpl::parameters() const {
  std::vector<ParameterInput> result = first_->parameters();
  result.push_back({"alpha", 0.0, 1.0});
  return result;
}

}  // namespace slalom
