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
#include <map>
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
  std::vector<at::Device> devices;  ///< of the tensors
  std::vector<double> derivatives;  ///< for each hypothesis, of all tensors one after another

  /// Sum over hypotheses of factor times derivatives, for one tensor.
  Tensor weighted(std::int64_t first, std::int64_t n, const Tensor& factors) const {
    const std::int64_t hypotheses = factors.numel();
    const auto stride = static_cast<std::int64_t>(derivatives.size()) / hypotheses;
    Tensor result = at::empty({n}, at::kDouble);
    double* to = result.data_ptr<double>();
    std::fill_n(to, n, 0.0);
    for (std::int64_t k = 0; k < hypotheses; ++k) {
      const double factor = factors.data_ptr<double>()[k];
      const double* from = derivatives.data() + k * stride + first;
      for (std::int64_t i = 0; i < n; ++i) to[i] += factor * from[i];
    }
    return result;
  }
};

constexpr const char* k_kept = "kept";

/// The figure and its derivatives, as the loss has them.
Sensitivity evaluate(SensitivityCalculator& calculator, const ProfileLossOptions& options,
                     double mu) {
  switch (options.figure) {
    case Figure::sigma:
    case Figure::log_sigma:
      return calculator.expected_error(mu);
    case Figure::log_cls:
      return calculator.expected_log_cls(mu, options.n_sigma);
    case Figure::log_p0:
      return calculator.expected_log_p0(mu);
    case Figure::minus_z:
      return calculator.expected_significance(mu);
    case Figure::upper_limit:
      return calculator.expected_upper_limit(options.level, options.n_sigma);
    case Figure::observed_log_cls:
      return calculator.log_cls(mu);
    case Figure::observed_log_p0:
      return calculator.log_p0();
    case Figure::observed_minus_q0:
      return calculator.significance();
    case Figure::observed_upper_limit:
      break;
  }
  return calculator.upper_limit(options.level);
}

struct Scaled {
  double value;
  double factor;  ///< of the derivatives
};

/// What the loss makes of the figure that the calculator has.
Scaled transformed(Figure figure, double value) {
  switch (figure) {
    case Figure::log_sigma:
      return {std::log(value), 1.0 / value};
    case Figure::minus_z:
      return {-value, -1.0};
    case Figure::observed_minus_q0:
      return {-value * value, -2.0 * value};
    default:
      return {value, 1.0};
  }
}

bool is_observed(Figure figure) {
  return figure == Figure::observed_log_cls || figure == Figure::observed_log_p0 ||
         figure == Figure::observed_minus_q0 || figure == Figure::observed_upper_limit;
}

bool depends_on_mu(Figure figure) {
  switch (figure) {
    case Figure::upper_limit:
    case Figure::observed_log_p0:
    case Figure::observed_minus_q0:
    case Figure::observed_upper_limit:
      return false;
    default:
      return true;
  }
}

/// The signal of the Asimov data that a figure at `mu` is made from.
double asimov_signal(Figure figure, double mu) {
  return figure == Figure::log_cls || figure == Figure::upper_limit ? 0.0 : mu;
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

  /// Asimov data that need no fit to data: those of a calculator have one signal.
  bool at_initial() const { return !uses_observed_data(options); }
  double signal(double mu) const { return at_initial() ? asimov_signal(options.figure, mu) : 0.0; }

  /// One with these templates: its results do not depend on what it was used for before.
  Calculator take(const Templates& t, double signal) const {
    Calculator calculator;
    {
      const std::lock_guard lock(mutex);
      std::vector<Calculator>& some = idle[signal];
      if (!some.empty()) {
        calculator = std::move(some.back());
        some.pop_back();
      }
    }
    if (!calculator) return make(t, signal);
    calculator->update([&](ModelSpec& spec) { likelihood.put_templates(t, spec); });
    return calculator;
  }

  void give_back(Calculator calculator, double signal) const {
    constexpr std::size_t most_signals = 64;
    const std::lock_guard lock(mutex);
    if (idle.size() > most_signals) idle.clear();
    idle[signal].push_back(std::move(calculator));
  }

  Likelihood likelihood;
  ProfileLossOptions options;
  Offsets offsets;
  Sizes sizes;
  Tensor nothing = at::empty({0}, at::kDouble);

 private:
  Calculator make(const Templates& t, double signal) const {
    const Model model(likelihood.with_templates(t));
    SensitivityOptions how;
    how.fit = options.fit;
    how.fit.search_minima = how.fit.search_minima && needs_search(options);
    how.statistic = options.statistic;
    if (at_initial()) {
      how.asimov_point = model.spec().initial();
      how.asimov_point[*model.spec().poi] = signal;
    }
    return std::make_unique<SensitivityCalculator>(model, std::move(how));
  }

  mutable std::mutex mutex;
  mutable std::map<double, std::vector<Calculator>> idle;  ///< by signal
};

/// What one node is asked for.
struct ProfileLoss::Request {
  const Plan& plan;
  const std::vector<double>& mu;
  bool scalar;  ///< one number, not a vector with one element
};

/// One node: figures forward, their derivatives by all templates backward.
struct ProfileLoss::Node : torch::autograd::Function<ProfileLoss::Node> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Request* request,
                        const Tensor& t0, const Tensor& t1, const Tensor& t2, const Tensor& t3,
                        const Tensor& t4, const Tensor& t5, const Tensor& t6) {
    const Plan& plan = request->plan;
    const std::size_t n = request->mu.size();
    auto kept = c10::make_intrusive<Kept>();
    kept->sizes = plan.sizes;
    std::size_t next = 0, total = 0;
    for (const Tensor* t : {&t0, &t1, &t2, &t3, &t4, &t5, &t6}) {
      kept->wanted[next++] = t->requires_grad() && t->numel() > 0;
      kept->devices.push_back(t->device());
      total += static_cast<std::size_t>(t->numel());
    }
    kept->derivatives.assign(n * total, 0.0);
    Tensor result = request->scalar ? at::empty({}, at::kDouble)
                                    : at::empty({static_cast<std::int64_t>(n)}, at::kDouble);
    Plan::Calculator calculator;
    double signal = 0.0;
    for (std::size_t k = 0; k < n; ++k) {
      const double wanted = plan.signal(request->mu[k]);
      if (!calculator || wanted != signal) {
        if (calculator) plan.give_back(std::move(calculator), signal);
        signal = wanted;
        calculator = plan.take({t0, t1, t2, t3, t4, t5, t6}, signal);
      }
      const Sensitivity figure = evaluate(*calculator, plan.options, request->mu[k]);
      if (!figure.converged) throw Error(ErrorKind::numerical, figure.message, "loss");
      const Scaled loss = transformed(plan.options.figure, figure.value);
      result.data_ptr<double>()[k] = loss.value;
      scatter(plan.offsets, plan.sizes,
              workspace_sensitivity(calculator->model(), calculator->templates(), figure),
              loss.factor, kept->derivatives.data() + k * total);
    }
    if (calculator) plan.give_back(std::move(calculator), signal);
    context->saved_data[k_kept] = c10::IValue::make_capsule(std::move(kept));
    return t0.is_cpu() ? result : result.to(t0.device());
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
    const Tensor factors = upstream[0].to(at::kCPU, at::kDouble).contiguous();
    std::int64_t first = 0;
    for (std::size_t i = 0; i < k_n_tensors; ++i) {
      if (kept.wanted[i]) {
        result[1 + i] = kept.weighted(first, kept.sizes[i], factors);
        if (!kept.devices[i].is_cpu()) result[1 + i] = result[1 + i].to(kept.devices[i]);
      }
      first += kept.sizes[i];
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

bool uses_observed_data(const ProfileLossOptions& options) {
  return options.observed || is_observed(options.figure);
}

ProfileLoss::ProfileLoss(const Likelihood& likelihood, ProfileLossOptions options) {
  const std::size_t poi = require_poi(likelihood.spec());
  const Parameter& p = likelihood.spec().parameters[poi];
  if (p.fixed) throw Error(ErrorKind::model, "the parameter of interest is held", p.name);
  plan_ = std::make_shared<const Plan>(likelihood, std::move(options));
}

const ProfileLossOptions& ProfileLoss::options() const { return plan_->options; }

Tensor ProfileLoss::operator()(const Templates& t) const {
  const std::vector<double> mu = {plan_->options.mu};
  return apply(t, {*plan_, mu, true});
}

Tensor ProfileLoss::operator()(const Templates& t, const std::vector<double>& mu) const {
  if (!depends_on_mu(plan_->options.figure)) {
    throw Error(ErrorKind::usage, "the figure does not depend on mu", "loss");
  }
  if (mu.empty()) throw Error(ErrorKind::usage, "no hypothesis", "loss");
  return apply(t, {*plan_, mu, false});
}

Tensor ProfileLoss::apply(const Templates& t, const Request& request) const {
  // A tensor without elements has no gradient, and each input of a node costs a microsecond.
  const auto input = [&](const Tensor& tensor) {
    return tensor.numel() == 0 ? plan_->nothing : tensor;
  };
  return Node::apply(&request, t.nominal, input(t.histosys_hi), input(t.histosys_lo),
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
