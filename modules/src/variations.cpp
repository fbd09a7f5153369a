// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/variations.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>
#include <map>
#include <utility>

#include "check.hpp"
#include "slalom/modules/autodiff.hpp"

namespace slalom {

namespace {

using detail::require;
using detail::shape_of;

constexpr const char* k_where = "variations";

template <class Change>
EventBatch change_columns(const EventBatch& events, const std::vector<std::string>& columns,
                          const Change& change) {
  std::map<std::int64_t, Tensor> changed;  // by place
  for (const std::string& name : columns) {
    Tensor& column =
        changed.try_emplace(events.column_index(name), events.column(name)).first->second;
    column = change(column).to(events.features.scalar_type());
  }
  std::vector<Tensor> parts;  // of the new table, from left to right
  std::int64_t next = 0;
  for (const auto& [place, column] : changed) {
    if (next < place) parts.push_back(events.features.slice(1, next, place));
    parts.push_back(column.unsqueeze(1));
    next = place + 1;
  }
  if (next < events.features.size(1)) parts.push_back(events.features.slice(1, next));
  return events.with_features(at::cat(parts, 1));
}

/// Whether each event [n] is of these processes.
Tensor concerned(const EventBatch& events, const std::vector<std::string>& processes) {
  require(events.process.defined(), "events without processes", k_where);
  Tensor mask = at::zeros_like(events.process, at::kBool);
  for (const std::string& name : processes) {
    mask = mask | (events.process == events.process_index(name));
  }
  return mask;
}

Variation reweighting(std::string name, Variation::PerEvent numbers, bool exponential) {
  Variation result;
  result.name = std::move(name);
  result.score = numbers;
  result.shifts = false;
  result.apply = [numbers = std::move(numbers), exponential, called = result.name](
                     const EventBatch& events, const Tensor& theta) {
    const Tensor s = numbers(events).to(at::kDouble) * theta_of(theta, events, called);
    return events.with_weights(events.weights * (exponential ? at::exp(s) : 1.0 + s));
  };
  return result;
}

}  // namespace

Variation scale_variation(std::string name, std::vector<std::string> columns, double relative) {
  Variation result;
  result.name = std::move(name);
  result.apply = [columns = std::move(columns), relative, called = result.name](
                     const EventBatch& events, const Tensor& theta) {
    const Tensor factor = 1.0 + relative * theta_of(theta, events, called);
    return change_columns(events, columns, [&](const Tensor& x) { return x * factor; });
  };
  return result;
}

Variation shift_variation(std::string name, std::vector<std::string> columns, double amount) {
  Variation result;
  result.name = std::move(name);
  result.apply = [columns = std::move(columns), amount, called = result.name](
                     const EventBatch& events, const Tensor& theta) {
    const Tensor step = amount * theta_of(theta, events, called);
    return change_columns(events, columns, [&](const Tensor& x) { return x + step; });
  };
  return result;
}

Variation exponential_reweighting(std::string name, Variation::PerEvent log_ratio) {
  return reweighting(std::move(name), std::move(log_ratio), true);
}

Variation linear_reweighting(std::string name, Variation::PerEvent slope) {
  return reweighting(std::move(name), std::move(slope), false);
}

Variation energy_scale(
    std::string name, std::vector<std::string> columns, double relative,
    std::function<EventBatch(const EventBatch& scaled, const EventBatch& nominal)> recompute) {
  Variation result = scale_variation(std::move(name), std::move(columns), relative);
  result.apply = [scale = std::move(result.apply), recompute = std::move(recompute)](
                     const EventBatch& events, const Tensor& theta) {
    return recompute(scale(events, theta), events);
  };
  return result;
}

bool concerns(const Variation& variation, const std::string& process) {
  const std::vector<std::string>& all = variation.processes;
  return all.empty() || std::find(all.begin(), all.end(), process) != all.end();
}

Tensor concerned_events(const EventBatch& events, const Variation& variation) {
  if (variation.processes.empty()) return at::ones_like(events.weights, at::kBool);
  return concerned(events, variation.processes);
}

Tensor theta_of(const Tensor& theta, const EventBatch& events, const std::string& name) {
  if (theta.numel() == 1) return theta.reshape({});
  require(theta.dim() == 1 && theta.size(0) == events.size(),
          "one theta expected, or one for each of " + std::to_string(events.size()) +
              " events, found " + shape_of(theta),
          name.c_str());
  return theta;
}

EventBatch apply_variation(const EventBatch& events, const Variation& variation,
                           const Tensor& theta) {
  EventBatch moved = variation.apply(events, theta);
  require(moved.features.sizes() == events.features.sizes() &&
              moved.weights.sizes() == events.weights.sizes() && moved.columns == events.columns,
          "'" + variation.name + "' changed the number of events or columns", k_where);
  if (variation.processes.empty()) return moved;
  const Tensor mask = concerned(events, variation.processes);
  if (!moved.features.is_same(events.features)) {
    moved.features = at::where(mask.unsqueeze(1), moved.features, events.features);
  }
  if (!moved.weights.is_same(events.weights)) {
    moved.weights = at::where(mask, moved.weights, events.weights);
  }
  return moved;
}

EventBatch apply_variations(const EventBatch& events, const std::vector<Variation>& variations,
                            const Tensor& theta) {
  const bool of_events = theta.dim() == 2 && theta.size(0) == events.size();
  require((theta.dim() == 1 || of_events) &&
              theta.size(-1) == static_cast<std::int64_t>(variations.size()),
          "theta [" + std::to_string(variations.size()) + "] expected, found " + shape_of(theta),
          k_where);
  EventBatch result = events;
  for (std::size_t i = 0; i < variations.size(); ++i) {
    result = apply_variation(result, variations[i], theta.select(-1, static_cast<std::int64_t>(i)));
  }
  return result;
}

ShiftedEvents shifted_copies(const EventBatch& events, const Variation& variation, double step) {
  require(step > 0.0, "the step must be positive", k_where);
  const auto at_theta = [&](double theta) {
    return apply_variation(events, variation, at::full({}, theta, events.weights.options()));
  };
  return {at_theta(step), at_theta(-step)};
}

Tensor yield_slopes(const std::function<Tensor(const EventBatch&)>& yields,
                    const EventBatch& events, const Variation& variation,
                    const SlopeOptions& options, const ClassifierImpl* classifier) {
  if (options.method == SlopeMethod::copies) {
    const ShiftedEvents shifted = shifted_copies(events, variation, options.step);
    return (yields(shifted.up) - yields(shifted.down)) / (2.0 * options.step);
  }
  if (options.method == SlopeMethod::score) {
    require(static_cast<bool>(variation.score), "'" + variation.name + "' has no score", k_where);
    Tensor score = variation.score(events).to(at::kDouble);
    if (!variation.processes.empty()) {
      score = score * concerned(events, variation.processes).to(at::kDouble);
    }
    return yields(events.with_weights(events.weights * score));
  }
  if (classifier != nullptr && !options.allow_kinks) {
    const std::optional<Warning> warning = smoothness_warning(*classifier, variation);
    if (warning) throw Error(ErrorKind::usage, warning->message, warning->where);
  }
  const Tensor theta = at::zeros({1}, events.weights.options()).requires_grad_();
  return jacobian(yields(apply_variation(events, variation, theta)), theta, true).flatten();
}

std::optional<Warning> smoothness_warning(const ClassifierImpl& classifier,
                                          const Variation& variation) {
  if (!variation.shifts || !classifier.piecewise_linear()) return std::nullopt;
  return Warning{
      "an automatic derivative through a piecewise linear classifier loses the kinks: its gradient "
      "by the weights of the network is wrong; use up and down copies, score weights or a smooth "
      "activation",
      variation.name};
}

}  // namespace slalom
