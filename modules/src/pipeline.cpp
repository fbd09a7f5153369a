// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/pipeline.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>
#include <utility>

#include "slalom/core/error.hpp"
#include "slalom/modules/batching.hpp"
#include "slalom/modules/diagnostics.hpp"

namespace slalom {

namespace {

constexpr const char* k_score = "score";

const ChannelSpec& find_channel(const ModelSpec& spec, const std::string& name) {
  if (name.empty()) return spec.channels.front();
  const auto found = std::find_if(spec.channels.begin(), spec.channels.end(),
                                  [&](const ChannelSpec& c) { return c.name == name; });
  if (found == spec.channels.end()) {
    throw Error(ErrorKind::model, "no channel named '" + name + "'", "pipeline");
  }
  return *found;
}

/// Whether a sample has a histosys of that parameter.
bool has_histosys(const ModelSpec& spec, const SampleSpec& sample, const std::string& name) {
  const auto parameter = spec.find(name);
  return parameter && std::any_of(sample.histosys.begin(), sample.histosys.end(),
                                  [&](const HistosysTerm& t) { return t.parameter == *parameter; });
}

/// Name of the sample's staterror, or "".
std::string staterror_of(const ModelSpec& spec, const SampleSpec& sample) {
  for (const BinwiseTerm& term : sample.binwise) {
    if (term.type != ModifierType::staterror) continue;
    for (const ParameterSet& set : spec.sets) {
      const std::size_t p = term.parameters.front();
      if (p >= set.first && p < set.first + set.size) return set.name;
    }
  }
  return "";
}

void check_slopes(const PipelineOptions& options) {
  if (options.slopes.empty()) return;
  if (options.slopes.size() != options.variations.size()) {
    throw Error(ErrorKind::usage, "one for each variation expected, or none", "slopes");
  }
  for (std::size_t v = 0; v < options.slopes.size(); ++v) {
    const std::string& name = options.variations[v].name;
    if (options.slopes[v] == SlopeMethod::automatic) {
      throw Error(ErrorKind::usage, "copies or score expected: a histosys has two sides", name);
    }
    if (options.slopes[v] == SlopeMethod::score && !options.variations[v].score) {
      throw Error(ErrorKind::usage, "the variation has no score", name);
    }
  }
}

/// Yields beside the statistical model, which is on the CPU. One way there: with several, gradients
/// would add up in an order that depends on the threads of the devices.
Tensor on_model(const Tensor& yields) { return yields.to(at::kCPU); }

/// sqrt, with 0 and no derivative where there is nothing.
Tensor safe_sqrt(const Tensor& x) {
  const Tensor positive = x > 0.0;
  return at::where(positive, at::sqrt(at::where(positive, x, at::ones_like(x))), at::zeros_like(x));
}

Tensor of_process(const EventBatch& events, const std::string& name) {
  return events.process == events.process_index(name);
}

}  // namespace

/// What one set of events becomes.
struct PipelineImpl::Filled {
  Tensor scores, efficiency;
  Tensor rows;  // sums of weights and squared weights of each row of weights, [rows, 2, B]
};

std::function<Tensor(const EventBatch&)> column_region(std::string column, double value) {
  return [column = std::move(column), value](const EventBatch& events) {
    return events.column(column) == value;
  };
}

PipelineImpl::PipelineImpl(Workspace workspace, Classifier classifier_stage,
                           Selection selection_stage, SoftHistogram histogram_stage,
                           PipelineOptions options)
    : classifier(std::move(classifier_stage)),
      selection(std::move(selection_stage)),
      histogram(std::move(histogram_stage)),
      workspace_(std::move(workspace)),
      options_(std::move(options)),
      likelihood_(make_model_spec(workspace_, options_.model)),
      figure_(likelihood_, options_.loss) {
  register_module("histogram", histogram);
  prepare();
  const std::size_t axes = histogram->options().axes.size();
  if (options_.axes.empty() ? axes > 1 : options_.axes.size() != axes) {
    throw Error(ErrorKind::usage,
                "the histogram has " + std::to_string(axes) + " axes, their columns are " +
                    std::to_string(options_.axes.size()),
                "pipeline");
  }
  if (histogram->bins() != static_cast<std::int64_t>(channel_->n_bins)) {
    throw Error(ErrorKind::model,
                "the channel has " + std::to_string(channel_->n_bins) + " bins, the histogram " +
                    std::to_string(histogram->bins()),
                "pipeline");
  }
}

PipelineImpl::PipelineImpl(Workspace workspace, Classifier classifier_stage,
                           Selection selection_stage, SoftmaxHistogram histogram_stage,
                           PipelineOptions options)
    : classifier(std::move(classifier_stage)),
      selection(std::move(selection_stage)),
      softmax_histogram(std::move(histogram_stage)),
      workspace_(std::move(workspace)),
      options_(std::move(options)),
      likelihood_(make_model_spec(workspace_, options_.model)),
      figure_(likelihood_, options_.loss) {
  register_module("histogram", softmax_histogram);
  prepare();
}

void PipelineImpl::prepare() {
  register_module("classifier", classifier);
  if (!selection.is_empty()) register_module("selection", selection);
  const ModelSpec& spec = likelihood_.spec();
  channel_ = &find_channel(spec, options_.channel);
  for (const SampleSpec& sample : channel_->samples) samples_.push_back(sample.name);
  check_slopes(options_);
  if (!options_.steps.empty() && options_.steps.size() != options_.variations.size()) {
    throw Error(ErrorKind::usage, "as many steps as variations expected", "pipeline");
  }
  for (const Variation& variation : options_.variations) {
    const bool used = std::any_of(
        channel_->samples.begin(), channel_->samples.end(), [&](const SampleSpec& sample) {
          return concerns(variation, sample.name) && has_histosys(spec, sample, variation.name);
        });
    if (used) continue;
    throw Error(ErrorKind::model, "no sample has a histosys for the variation", variation.name);
  }
}

bool PipelineImpl::by_score(std::size_t variation) const {
  return !options_.slopes.empty() && options_.slopes[variation] == SlopeMethod::score;
}

double PipelineImpl::step_of(std::size_t variation) const {
  return options_.steps.empty() ? options_.step : options_.steps[variation];
}

/// Weights of each sample's events [samples, n], then, with scores, for each variation by score and
/// each sample that it concerns, w (1 + step score) and w (1 - step score).
Tensor PipelineImpl::weight_rows(const EventBatch& events, bool scores) const {
  std::vector<Tensor> rows;
  for (const std::string& sample : samples_) {
    rows.push_back(events.weights * of_process(events, sample).to(events.weights.scalar_type()));
  }
  for (std::size_t v = 0; scores && v < options_.variations.size(); ++v) {
    if (!by_score(v)) continue;
    const Variation& variation = options_.variations[v];
    const Tensor score = step_of(v) * variation.score(events).to(at::kDouble);
    if (score.sizes() != events.weights.sizes()) {
      throw Error(ErrorKind::usage, "a score of each event expected", variation.name);
    }
    for (std::size_t k = 0; k < samples_.size(); ++k) {
      if (!concerns(variation, samples_[k])) continue;
      const Tensor change = rows[k] * score;
      rows.push_back(rows[k] + change);
      rows.push_back(rows[k] - change);
    }
  }
  return at::stack(rows);
}

Tensor PipelineImpl::scores_of(const EventBatch& events, const Tensor& theta) {
  const Tensor features =
      options_.features.empty() ? events.features : events.matrix(options_.features);
  return histogram.is_empty() ? classifier->outputs(features, theta)
                              : classifier->forward(features, theta);
}

/// Columns [n, columns], of which "score" is the classifier's.
Tensor PipelineImpl::values_of(const EventBatch& events, const Tensor& scores,
                               const std::vector<std::string>& columns) const {
  const bool on_score = std::find(columns.begin(), columns.end(), k_score) != columns.end();
  return (on_score ? events.with_column(k_score, scores) : events).matrix(columns);
}

std::vector<std::string> PipelineImpl::cut_columns() const {
  std::vector<std::string> columns;
  for (const CutOptions& cut : selection->options().cuts) columns.push_back(cut.column);
  return columns;
}

PipelineImpl::Filled PipelineImpl::fill(const EventBatch& all, const Tensor& theta, bool hard,
                                        bool scores) {
  const EventBatch events = options_.region ? all.select(options_.region(all)) : all;
  Filled result;
  result.scores = scores_of(events, theta);
  Tensor weights = weight_rows(events, scores);
  if (!selection.is_empty()) {
    const Tensor values = values_of(events, result.scores, cut_columns());
    result.efficiency = hard ? selection->hard(values).to(at::kDouble) : selection->forward(values);
    weights = weights * result.efficiency;
  }
  const Tensor binned = options_.axes.empty() || histogram.is_empty()
                            ? result.scores
                            : values_of(events, result.scores, options_.axes);
  const SoftHistogramResult filled = histogram.is_empty()
                                         ? softmax_histogram->forward(binned, weights)
                                         : histogram->forward(binned, weights);
  result.rows = hard ? at::stack({filled.hard.sumw, filled.hard.sumw2}, 1)
                     : at::stack({filled.sumw, filled.sumw2}, 1);
  return result;
}

/// Copies at one step of a variation from a place; undefined: 0.
ShiftedEvents PipelineImpl::copies_of(const EventBatch& events, std::size_t variation,
                                      const Tensor& place) const {
  const double step = step_of(variation);
  if (!place.defined()) return shifted_copies(events, options_.variations[variation], step);
  const auto moved = [&](double distance) {
    Tensor theta = place.clone();
    theta[static_cast<std::int64_t>(variation)] += distance;
    return apply_variations(events, options_.variations, theta);
  };
  return {moved(step), moved(-step)};
}

Tensor PipelineImpl::all_yields(const EventBatch& events, const Tensor& theta, bool hard,
                                Filled& nominal, const Tensor& place) {
  const auto n_samples = static_cast<std::int64_t>(samples_.size());
  nominal = fill(place.defined() ? apply_variations(events, options_.variations, place) : events,
                 theta, hard, true);
  const Tensor at_zero = nominal.rows.slice(0, 0, n_samples);
  std::vector<Tensor> columns{at_zero};
  std::int64_t next = n_samples;  // row of the next variation by score
  for (std::size_t v = 0; v < options_.variations.size(); ++v) {
    const Variation& variation = options_.variations[v];
    if (by_score(v)) {
      std::vector<Tensor> up, down;
      for (std::int64_t k = 0; k < n_samples; ++k) {
        const bool moves = concerns(variation, samples_[static_cast<std::size_t>(k)]);
        up.push_back(nominal.rows[moves ? next++ : k]);
        down.push_back(nominal.rows[moves ? next++ : k]);
      }
      columns.push_back(at::stack(up));
      columns.push_back(at::stack(down));
      continue;
    }
    Tensor mask = at::zeros_like(events.process, at::kBool);
    Tensor rows = at::zeros_like(at_zero, at::kBool);
    for (std::size_t k = 0; k < samples_.size(); ++k) {
      if (!concerns(variation, samples_[k])) continue;
      mask = mask.logical_or(of_process(events, samples_[k]));
      rows[static_cast<std::int64_t>(k)].fill_(true);
    }
    // Only events that move go through the network again.
    const ShiftedEvents copies = copies_of(events.select(mask), v, place);
    for (const EventBatch& copy : {copies.up, copies.down}) {
      columns.push_back(at::where(rows, fill(copy, theta, hard, false).rows, at_zero));
    }
  }
  return at::stack(columns, 1);
}

Tensor PipelineImpl::yields(const EventBatch& events, const Tensor& theta) {
  Filled unused;
  return all_yields(events, theta, false, unused);
}

Tensor PipelineImpl::hard_yields(const EventBatch& events, const Tensor& theta) {
  const at::NoGradGuard no_graph;
  Filled unused;
  return all_yields(events, theta, true, unused);
}

Tensor PipelineImpl::passes(const EventBatch& events, const Tensor& theta) {
  const at::NoGradGuard no_graph;
  Tensor result = options_.region ? options_.region(events).to(at::kBool)
                                  : at::ones_like(events.weights, at::kBool);
  if (selection.is_empty()) return result;
  const std::vector<std::string> columns = cut_columns();
  const bool on_score = std::find(columns.begin(), columns.end(), k_score) != columns.end();
  const Tensor scores = on_score ? scores_of(events, theta) : Tensor();
  return result.logical_and(selection->hard(values_of(events, scores, columns)) > 0.5);
}

Tensor PipelineImpl::bin_of(const EventBatch& events, const Tensor& theta) {
  const at::NoGradGuard no_graph;
  const Tensor scores = scores_of(events, theta);
  const Tensor place =
      histogram.is_empty()
          ? at::argmax(scores, 1)
          : histogram->bin_of(options_.axes.empty() ? scores
                                                    : values_of(events, scores, options_.axes));
  return at::where(passes(events, theta), place, -1);
}

Tensor PipelineImpl::yields_at(const EventBatch& events, const Tensor& place, bool hard,
                               const Tensor& theta) {
  for (std::size_t v = 0; v < options_.variations.size(); ++v) {
    // Weights alone, which are not moved themselves, have the same slope everywhere.
    const bool stays =
        !options_.variations[v].shifts && place[static_cast<std::int64_t>(v)].item<double>() == 0.0;
    if (!by_score(v) || stays) continue;
    throw Error(ErrorKind::usage, "a score is a slope at theta = 0: use copies",
                options_.variations[v].name);
  }
  Filled unused;
  if (!hard) return all_yields(events, theta, false, unused, place);
  const at::NoGradGuard no_graph;
  return all_yields(events, theta, true, unused, place);
}

Templates PipelineImpl::templates(const Tensor& yields) const {
  return templates(yields, likelihood_.templates());
}

Templates PipelineImpl::templates(const Tensor& yields, const Templates& others) const {
  const Systematics& places = likelihood_.systematics();
  const ModelSpec& spec = likelihood_.spec();
  const Tensor here = on_model(yields);
  Templates t = others;
  for (std::size_t k = 0; k < samples_.size(); ++k) {
    const SampleSpec& sample = channel_->samples[k];
    const Tensor of_sample = here[static_cast<std::int64_t>(k)];
    const Tensor nominal = of_sample[0][0];
    t.nominal =
        replace_range(t.nominal, places.nominal_range(channel_->name, sample.name), nominal);
    const std::string stat = staterror_of(spec, sample);
    if (!stat.empty()) {
      t.uncertainty =
          replace_range(t.uncertainty, places.uncertainty_range(channel_->name, sample.name, stat),
                        safe_sqrt(of_sample[0][1]));
    }
    for (std::size_t v = 0; v < options_.variations.size(); ++v) {
      const std::string& name = options_.variations[v].name;
      if (!has_histosys(spec, sample, name)) continue;
      const Range range = places.histosys_range(channel_->name, sample.name, name);
      const auto column = static_cast<std::int64_t>(1 + 2 * v);
      const auto at_one = [&](std::int64_t c) {
        return nominal + (of_sample[c][0] - nominal) / step_of(v);
      };
      t.histosys_hi = replace_range(t.histosys_hi, range, at_one(column));
      t.histosys_lo = replace_range(t.histosys_lo, range, at_one(column + 1));
    }
  }
  if (!uses_observed_data(options_.loss)) {
    const Tensor expected = places.expected(likelihood_.initial(), t).detach();
    const Range bins{static_cast<std::int64_t>(channel_->first_bin),
                     static_cast<std::int64_t>(channel_->n_bins)};
    t.observed =
        replace_range(t.observed, bins, expected.slice(0, bins.first, bins.first + bins.size));
  }
  return t;
}

Tensor PipelineImpl::loss(const Tensor& yields) const {
  const Tensor here = on_model(yields);
  const Templates t = templates(here);
  const Tensor value = options_.objective ? options_.objective(likelihood_, t) : figure_(t);
  const Tensor extra = penalty(here);
  return extra.defined() ? value + extra.to(value.device()) : value;
}

Tensor PipelineImpl::penalty(const Tensor& yields) const {
  if (options_.one_sidedness == 0.0) return {};
  Tensor value = at::zeros({}, yields.options());
  const Tensor expected = yields.select(1, 0).select(1, 0).sum(0);
  for (std::size_t k = 0; k < samples_.size(); ++k) {
    for (std::size_t v = 0; v < options_.variations.size(); ++v) {
      if (!has_histosys(likelihood_.spec(), channel_->samples[k], options_.variations[v].name)) {
        continue;
      }
      const Tensor of_sample = yields[static_cast<std::int64_t>(k)];
      const auto column = static_cast<std::int64_t>(1 + 2 * v);
      value = value + options_.one_sidedness * one_sidedness_penalty(expected, of_sample[0][0],
                                                                     of_sample[column][0],
                                                                     of_sample[column + 1][0]);
    }
  }
  return value;
}

PipelineResult PipelineImpl::forward(const EventBatch& events, const Tensor& theta) {
  PipelineResult result;
  Filled nominal;
  result.yields = all_yields(events, theta, false, nominal);
  result.scores = nominal.scores;
  result.efficiency = nominal.efficiency;
  result.hard_yields = hard_yields(events, theta);
  result.templates = templates(result.yields);
  result.hard_templates = templates(result.hard_yields);
  result.loss = loss(result.yields);
  return result;
}

double PipelineImpl::backward(const std::vector<EventBatch>& batches, const Tensor& theta) {
  return two_pass_backward(
      static_cast<std::int64_t>(batches.size()),
      [&](std::int64_t b) { return yields(batches[static_cast<std::size_t>(b)], theta); },
      [&](const Tensor& y) { return loss(y); });
}

void PipelineImpl::set_step(std::int64_t step) {
  if (!selection.is_empty()) selection->set_step(step);
  if (!histogram.is_empty()) histogram->set_step(step);
  if (!softmax_histogram.is_empty()) softmax_histogram->set_step(step);
}

Workspace PipelineImpl::publish(const EventBatch& events, const Tensor& theta) {
  return export_workspace(workspace_, likelihood_, templates(hard_yields(events, theta)));
}

}  // namespace slalom
