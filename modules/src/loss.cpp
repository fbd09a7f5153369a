// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/loss.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/log.h>
#include <ATen/ops/special_log_ndtr.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <mutex>
#include <torch/csrc/autograd/custom_function.h>
#include <utility>
#include <vector>

#include "slalom/core/error.hpp"
#include "slalom/core/sensitivity.hpp"
#include "slalom/modules/profile_fit.hpp"

namespace slalom {

namespace {

/// The tensors of Templates in the order in which the node below takes them.
constexpr std::size_t k_n_tensors = 7;

/// Where the uncertainties of each binwise term begin in Templates::uncertainty.
using Offsets = std::vector<std::vector<std::vector<std::size_t>>>;  // [channel][sample][term]

Offsets uncertainty_offsets(const ModelSpec& spec) {
  Offsets result;
  std::size_t first = 0;
  for (const ChannelSpec& channel : spec.channels) {
    auto& of_channel = result.emplace_back();
    for (const SampleSpec& sample : channel.samples) {
      auto& of_sample = of_channel.emplace_back();
      for (const BinwiseTerm& term : sample.binwise) {
        of_sample.push_back(first);
        if (term.type != ModifierType::shapefactor) first += channel.n_bins;
      }
    }
  }
  return result;
}

using Sizes = std::array<std::int64_t, k_n_tensors>;

Sizes sizes_of(const Templates& t) {
  return {t.nominal.numel(),    t.histosys_hi.numel(), t.histosys_lo.numel(), t.normsys_hi.numel(),
          t.normsys_lo.numel(), t.uncertainty.numel(), t.observed.numel()};
}

/// Sorts derivatives by inputs into the layout of Templates, all tensors one after another. Widths
/// that the measurement sets and auxiliary data are not templates. \param to zeros
void scatter(const Offsets& offsets, const Sizes& sizes, const WorkspaceSensitivity& figure,
             double factor, double* to) {
  std::array<double*, k_n_tensors> next{};
  std::int64_t first = 0;
  for (std::size_t i = 0; i < k_n_tensors; ++i) {
    next[i] = to + first;
    first += sizes[i];
  }
  double* const uncertainty = next[5];
  // Inputs come in the same order as the templates, kind by kind.
  for (std::size_t i = 0; i < figure.inputs.size(); ++i) {
    const Input& input = figure.inputs[i];
    const double value = factor * figure.derivatives[i];
    switch (input.kind) {
      case InputKind::nominal:
        *next[0]++ += value;
        break;
      case InputKind::histosys_hi:
        *next[1]++ += value;
        break;
      case InputKind::histosys_lo:
        *next[2]++ += value;
        break;
      case InputKind::normsys_hi:
        *next[3]++ += value;
        break;
      case InputKind::normsys_lo:
        *next[4]++ += value;
        break;
      case InputKind::uncertainty:
        uncertainty[offsets[input.channel][input.sample][input.term] + input.bin] += value;
        break;
      case InputKind::observed:
        *next[6]++ += value;
        break;
      case InputKind::sigma:
      case InputKind::tau:
      case InputKind::auxiliary:
        break;
    }
  }
}

/// What a node keeps for its backward pass. Plain numbers, not tensors: each operation of LibTorch
/// costs a microsecond or two, which is what a figure of a small model costs as a whole.
struct Kept : torch::CustomClassHolder {
  Sizes sizes{};
  std::array<bool, k_n_tensors> wanted{};
  std::vector<double> derivatives;  ///< of all tensors, one after another
};

constexpr const char* k_kept = "kept";

/// A scalar, float64.
Tensor scalar(double value, const at::Device& device) {
  Tensor result = at::empty({}, at::kDouble);
  *result.data_ptr<double>() = value;
  return device.is_cpu() ? result : result.to(device);
}

/// factor * derivatives of one tensor.
Tensor scaled(const double* derivatives, std::int64_t n, double factor, const at::Device& device) {
  Tensor result = at::empty({n}, at::kDouble);
  std::transform(derivatives, derivatives + n, result.data_ptr<double>(),
                 [=](double x) { return factor * x; });
  return device.is_cpu() ? result : result.to(device);
}

Sensitivity evaluate(SensitivityCalculator& calculator, const ProfileLossOptions& options) {
  switch (options.figure) {
    case Figure::sigma:
    case Figure::log_sigma:
      return calculator.expected_error(options.mu);
    case Figure::log_cls:
      return calculator.expected_log_cls(options.mu, options.n_sigma);
    case Figure::log_p0:
      return calculator.expected_log_p0(options.mu);
    case Figure::minus_z:
      return calculator.expected_significance(options.mu);
    case Figure::upper_limit:
      break;
  }
  return calculator.expected_upper_limit(options.level, options.n_sigma);
}

/// The signal of the Asimov data that a figure is made from.
double asimov_signal(const ProfileLossOptions& options) {
  const bool background_only =
      options.figure == Figure::log_cls || options.figure == Figure::upper_limit;
  return background_only ? 0.0 : options.mu;
}

/// Figures of the Fisher information need no fit but that of Asimov data at their own point, which
/// is their best fit: no other minimum can be lower.
bool needs_search(const ProfileLossOptions& options) {
  const bool information = options.figure == Figure::sigma || options.figure == Figure::log_sigma;
  return options.observed || !information;
}

}  // namespace

/// What does not change from step to step, and calculators that are used again.
struct ProfileLoss::Plan {
  using Calculator = std::unique_ptr<SensitivityCalculator>;

  Plan(const Likelihood& l, ProfileLossOptions o)
      : likelihood(l),
        options(std::move(o)),
        offsets(uncertainty_offsets(l.spec())),
        sizes(sizes_of(l.templates())) {}

  /// One with these templates: its results do not depend on what it was used for before.
  Calculator take(const Templates& t) const {
    Calculator calculator;
    {
      const std::lock_guard lock(mutex);
      if (!idle.empty()) {
        calculator = std::move(idle.back());
        idle.pop_back();
      }
    }
    if (!calculator) return make(t);
    calculator->update([&](ModelSpec& spec) { likelihood.put_templates(t, spec); });
    return calculator;
  }

  void give_back(Calculator calculator) const {
    const std::lock_guard lock(mutex);
    idle.push_back(std::move(calculator));
  }

  Likelihood likelihood;
  ProfileLossOptions options;
  Offsets offsets;
  Sizes sizes;
  Tensor nothing = at::empty({0}, at::kDouble);

 private:
  Calculator make(const Templates& t) const {
    const Model model(likelihood.with_templates(t));
    SensitivityOptions how;
    how.fit = options.fit;
    how.fit.search_minima = how.fit.search_minima && needs_search(options);
    how.statistic = options.statistic;
    if (!options.observed) {
      how.asimov_point = model.spec().initial();
      how.asimov_point[*model.spec().poi] = asimov_signal(options);
    }
    return std::make_unique<SensitivityCalculator>(model, std::move(how));
  }

  mutable std::mutex mutex;
  mutable std::vector<Calculator> idle;
};

/// One node: the figure forward, its derivative by all templates backward.
struct ProfileLoss::Node : torch::autograd::Function<ProfileLoss::Node> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Plan* plan,
                        const Tensor& t0, const Tensor& t1, const Tensor& t2, const Tensor& t3,
                        const Tensor& t4, const Tensor& t5, const Tensor& t6) {
    const ProfileLossOptions& options = plan->options;
    Plan::Calculator calculator = plan->take({t0, t1, t2, t3, t4, t5, t6});
    const Sensitivity figure = evaluate(*calculator, options);
    if (!figure.converged) throw Error(ErrorKind::numerical, figure.message, "loss");
    double value = figure.value, factor = 1.0;
    if (options.figure == Figure::log_sigma) {
      factor = 1.0 / value;
      value = std::log(value);
    } else if (options.figure == Figure::minus_z) {
      factor = -1.0;
      value = -value;
    }
    const WorkspaceSensitivity derivative =
        workspace_sensitivity(calculator->model(), calculator->templates(), figure);
    plan->give_back(std::move(calculator));
    auto kept = c10::make_intrusive<Kept>();
    kept->sizes = plan->sizes;
    std::int64_t total = 0;
    std::size_t next = 0;
    for (const Tensor* t : {&t0, &t1, &t2, &t3, &t4, &t5, &t6}) {
      kept->wanted[next++] = t->requires_grad() && t->numel() > 0;
      total += t->numel();
    }
    kept->derivatives.assign(static_cast<std::size_t>(total), 0.0);
    scatter(plan->offsets, plan->sizes, derivative, factor, kept->derivatives.data());
    context->saved_data[k_kept] = c10::IValue::make_capsule(std::move(kept));
    return scalar(value, t0.device());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list upstream) {
    if (at::GradMode::is_enabled()) {
      throw Error(ErrorKind::numerical,
                  "second derivatives of a profile loss: use the functions that build a graph",
                  "loss");
    }
    torch::autograd::variable_list result(1 + k_n_tensors);  // what is not a tensor has no gradient
    const auto capsule = context->saved_data[k_kept].toCapsule();
    const Kept& kept = static_cast<const Kept&>(*capsule);
    const double factor = upstream[0].item<double>();
    const double* next = kept.derivatives.data();
    for (std::size_t i = 0; i < k_n_tensors; ++i) {
      if (kept.wanted[i]) {
        result[1 + i] = scaled(next, kept.sizes[i], factor, upstream[0].device());
      }
      next += kept.sizes[i];
    }
    return result;
  }
};

namespace {

std::size_t require_poi(const ModelSpec& spec) {
  if (!spec.poi) throw Error(ErrorKind::model, "the model has no parameter of interest", "loss");
  return *spec.poi;
}

/// Initial values with the signal at `mu`.
Tensor point_with(const Likelihood& likelihood, double mu) {
  Tensor point = likelihood.initial().clone();
  point[static_cast<std::int64_t>(require_poi(likelihood.spec()))] = mu;
  return point;
}

}  // namespace

ProfileLoss::ProfileLoss(const Likelihood& likelihood, ProfileLossOptions options) {
  const std::size_t poi = require_poi(likelihood.spec());
  const Parameter& p = likelihood.spec().parameters[poi];
  if (p.fixed) throw Error(ErrorKind::model, "the parameter of interest is held", p.name);
  plan_ = std::make_shared<const Plan>(likelihood, std::move(options));
}

const ProfileLossOptions& ProfileLoss::options() const { return plan_->options; }

Tensor ProfileLoss::operator()(const Templates& t) const {
  // A tensor without elements has no gradient, and each input of a node costs a microsecond.
  const auto input = [&](const Tensor& tensor) {
    return tensor.numel() == 0 ? plan_->nothing : tensor;
  };
  return Node::apply(plan_.get(), t.nominal, input(t.histosys_hi), input(t.histosys_lo),
                     input(t.normsys_hi), input(t.normsys_lo), input(t.uncertainty),
                     input(t.observed));
}

Tensor expected_sigma(const Likelihood& likelihood, const Templates& templates, double mu) {
  const ModelSpec& spec = likelihood.spec();
  const auto poi = static_cast<std::int64_t>(require_poi(spec));
  FitResult all;
  for (const Parameter& p : spec.parameters) {
    all.parameters.push_back(p.init);
    all.fixed.push_back(p.fixed);
    all.at_bound.push_back(false);
  }
  const Tensor free = free_parameters(all).to(templates.nominal.device());
  const Tensor information = fisher_information(likelihood, templates, point_with(likelihood, mu))
                                 .index_select(0, free)
                                 .index_select(1, free);
  const std::int64_t row = (free == poi).nonzero().item<std::int64_t>();
  Tensor unit = at::zeros({free.size(0), 1}, information.options());
  unit[row][0] = 1.0;
  const Tensor variance = at::linalg_solve(information, unit)[row][0];
  return at::sqrt(variance);
}

Tensor profile_likelihood_ratio(const Likelihood& likelihood, const Templates& templates,
                                const Tensor& data, double mu, int order) {
  ProfileFitOptions free{{}, order}, held{{}, order};
  held.fit.fixed.emplace_back(require_poi(likelihood.spec()), mu);
  const ProfileFit best = profile_fit(likelihood, templates, data, free);
  const ProfileFit at_mu = profile_fit(likelihood, templates, data, held);
  return at::clamp(at_mu.twice_nll - best.twice_nll, 0.0);
}

Tensor log_p_value(const Tensor& q, double smallest) {
  // Clamped inside the root only: its derivative is finite and the value moves by 1e-7 at most.
  const Tensor z = at::sqrt(at::clamp(q, smallest));
  return at::special_log_ndtr(-z);
}

Tensor expected_log_cls(const Likelihood& likelihood, const Templates& templates, double mu,
                        int order) {
  const Tensor data = likelihood.expected_data(point_with(likelihood, 0.0), templates);
  const Tensor q = profile_likelihood_ratio(likelihood, templates, data, mu, order);
  return log_p_value(q) + std::log(2.0);
}

Tensor expected_log_p0(const Likelihood& likelihood, const Templates& templates, double mu,
                       int order) {
  const Tensor data = likelihood.expected_data(point_with(likelihood, mu), templates);
  return log_p_value(profile_likelihood_ratio(likelihood, templates, data, 0.0, order));
}

}  // namespace slalom
