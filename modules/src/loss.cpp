// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/loss.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/log.h>
#include <ATen/ops/special_log_ndtr.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/zeros.h>
#include <array>
#include <cmath>
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

/// Sorts derivatives by inputs into the layout of Templates, those that are wanted. Widths that the
/// measurement sets and auxiliary data are not templates.
std::array<Tensor, k_n_tensors> scatter(const Offsets& offsets, const WorkspaceSensitivity& figure,
                                        double factor,
                                        const std::array<Tensor, k_n_tensors>& like) {
  std::array<Tensor, k_n_tensors> result;
  std::array<double*, k_n_tensors> at{};
  for (std::size_t i = 0; i < k_n_tensors; ++i) {
    if (!like[i].requires_grad() || like[i].numel() == 0) continue;
    result[i] = at::zeros({like[i].numel()}, at::kDouble);
    at[i] = result[i].data_ptr<double>();
  }
  // Inputs come in the same order as the templates, kind by kind.
  std::array<std::size_t, k_n_tensors> next{};
  const auto put = [&](std::size_t tensor, double value) {
    if (at[tensor] != nullptr) at[tensor][next[tensor]++] += factor * value;
  };
  for (std::size_t i = 0; i < figure.inputs.size(); ++i) {
    const Input& input = figure.inputs[i];
    const double value = figure.derivatives[i];
    switch (input.kind) {
      case InputKind::nominal:
        put(0, value);
        break;
      case InputKind::histosys_hi:
        put(1, value);
        break;
      case InputKind::histosys_lo:
        put(2, value);
        break;
      case InputKind::normsys_hi:
        put(3, value);
        break;
      case InputKind::normsys_lo:
        put(4, value);
        break;
      case InputKind::uncertainty:
        if (at[5] != nullptr) {
          at[5][offsets[input.channel][input.sample][input.term] + input.bin] += factor * value;
        }
        break;
      case InputKind::observed:
        put(6, value);
        break;
      case InputKind::sigma:
      case InputKind::tau:
      case InputKind::auxiliary:
        break;
    }
  }
  return result;
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

/// What does not change from step to step.
struct ProfileLoss::Plan {
  Likelihood likelihood;
  ProfileLossOptions options;
  Offsets offsets;
};

/// One node: the figure forward, its derivative by all templates backward.
struct ProfileLoss::Node : torch::autograd::Function<ProfileLoss::Node> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Plan* plan,
                        const Tensor& t0, const Tensor& t1, const Tensor& t2, const Tensor& t3,
                        const Tensor& t4, const Tensor& t5, const Tensor& t6) {
    const ProfileLossOptions& options = plan->options;
    const Model model(plan->likelihood.with_templates({t0, t1, t2, t3, t4, t5, t6}));
    SensitivityOptions how;
    how.fit = options.fit;
    how.fit.search_minima = how.fit.search_minima && needs_search(options);
    how.statistic = options.statistic;
    if (!options.observed) {
      how.asimov_point = model.spec().initial();
      how.asimov_point[*model.spec().poi] = asimov_signal(options);
    }
    SensitivityCalculator calculator(model, how);
    const Sensitivity figure = evaluate(calculator, options);
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
        workspace_sensitivity(model, calculator.templates(), figure);
    torch::autograd::variable_list saved;
    for (Tensor& d : scatter(plan->offsets, derivative, factor, {t0, t1, t2, t3, t4, t5, t6})) {
      saved.push_back(d.defined() && !t0.is_cpu() ? d.to(t0.device()) : std::move(d));
    }
    context->save_for_backward(std::move(saved));
    return at::full({}, value, t0.options());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list upstream) {
    if (at::GradMode::is_enabled()) {
      throw Error(ErrorKind::numerical,
                  "second derivatives of a profile loss: use the functions that build a graph",
                  "loss");
    }
    torch::autograd::variable_list result(1);  // what is not a tensor has no gradient
    for (const Tensor& d : context->get_saved_variables()) {
      result.push_back(d.defined() ? d * upstream[0] : Tensor());
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
  plan_ = std::make_shared<const Plan>(
      Plan{likelihood, std::move(options), uncertainty_offsets(likelihood.spec())});
}

const ProfileLossOptions& ProfileLoss::options() const { return plan_->options; }

Tensor ProfileLoss::operator()(const Templates& t) const {
  return Node::apply(plan_.get(), t.nominal, t.histosys_hi, t.histosys_lo, t.normsys_hi,
                     t.normsys_lo, t.uncertainty, t.observed);
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
