// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/pipeline.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>
#include <numeric>
#include <utility>

#include "slalom/core/error.hpp"
#include "slalom/modules/batching.hpp"
#include "slalom/modules/diagnostics.hpp"
#include "to_tensor.hpp"

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

/// 0 ... n - 1: each element where it is.
std::vector<std::int64_t> counted(std::int64_t n) {
  std::vector<std::int64_t> result(static_cast<std::size_t>(n));
  std::iota(result.begin(), result.end(), 0);
  return result;
}

/// A range becomes a row of what comes behind the elements themselves.
void put_row(std::vector<std::int64_t>& places, const Range& range, std::int64_t row) {
  const auto all = static_cast<std::int64_t>(places.size());
  for (std::int64_t b = 0; b < range.size; ++b) {
    places[static_cast<std::size_t>(range.first + b)] = all + row * range.size + b;
  }
}

Tensor of_process(const EventBatch& events, const std::string& name) {
  return events.process == events.process_index(name);
}

}  // namespace

/// What one set of events becomes.
struct PipelineImpl::Filled {
  Tensor scores, efficiency;
  Tensor soft, hard;  // sums of weights and squared weights of each row of weights, [rows, 2, B]
};

/// Where things come from, so that a single operation puts all of them in their places.
struct PipelineImpl::Places {
  /// Row of the sums (nominal, by score, of copies) for each sample and column of yields
  /// [samples (1 + 2 variations)].
  Tensor rows;
  /// Elements of nominal, hi and lo templates one after another: element of these as they are, or
  /// behind them of yields [samples, 1 + 2 variations, B].
  Tensor templates;
  /// The same for uncertainties, from errors [samples, B]; undefined: the channel has no staterror.
  Tensor uncertainty;
  /// Steps of the columns [1 + 2 variations, 1], 1 for the nominal one; undefined: all are 1.
  Tensor steps;
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
  find_places();
}

void PipelineImpl::find_places() {
  Places found;
  found.rows = detail::to_tensor(rows_of_columns());
  const Systematics& systematics = likelihood_.systematics();
  const Templates& t = likelihood_.templates();
  const ModelSpec& spec = likelihood_.spec();
  const std::int64_t n_nominal = t.nominal.numel(), n_histosys = t.histosys_hi.numel(),
                     columns = 1 + 2 * static_cast<std::int64_t>(options_.variations.size());
  std::vector<std::int64_t> templates = counted(n_nominal + 2 * n_histosys),
                            uncertainty = counted(t.uncertainty.numel());
  bool any_uncertainty = false;
  for (std::size_t k = 0; k < samples_.size(); ++k) {
    const SampleSpec& sample = channel_->samples[k];
    const auto row = static_cast<std::int64_t>(k);
    put_row(templates, systematics.nominal_range(channel_->name, sample.name), row * columns);
    const std::string stat = staterror_of(spec, sample);
    if (!stat.empty()) {
      any_uncertainty = true;
      put_row(uncertainty, systematics.uncertainty_range(channel_->name, sample.name, stat), row);
    }
    for (std::size_t v = 0; v < options_.variations.size(); ++v) {
      const std::string& name = options_.variations[v].name;
      if (!has_histosys(spec, sample, name)) continue;
      Range range = systematics.histosys_range(channel_->name, sample.name, name);
      const std::int64_t up = row * columns + 1 + 2 * static_cast<std::int64_t>(v);
      range.first += n_nominal;
      put_row(templates, range, up);
      range.first += n_histosys;
      put_row(templates, range, up + 1);
    }
  }
  found.templates = detail::to_tensor(templates);
  if (any_uncertainty) found.uncertainty = detail::to_tensor(uncertainty);
  std::vector<double> steps{1.0};
  for (std::size_t v = 0; v < options_.variations.size(); ++v) {
    steps.insert(steps.end(), 2, step_of(v));
  }
  if (std::any_of(steps.begin(), steps.end(), [](double step) { return step != 1.0; })) {
    found.steps = detail::to_tensor(steps).unsqueeze(1);
  }
  places_ = std::make_shared<const Places>(std::move(found));
}

std::vector<std::int64_t> PipelineImpl::rows_of_columns() const {
  const auto n_samples = static_cast<std::int64_t>(samples_.size());
  std::int64_t scored = n_samples, copied = n_samples;  // next rows
  for (std::size_t v = 0; v < options_.variations.size(); ++v) {
    if (by_score(v)) copied += 2 * moving(v);
  }
  const std::size_t columns = 1 + 2 * options_.variations.size();
  std::vector<std::int64_t> result(samples_.size() * columns);
  for (std::size_t k = 0; k < samples_.size(); ++k) {
    std::fill_n(result.begin() + static_cast<std::ptrdiff_t>(k * columns), columns,
                static_cast<std::int64_t>(k));
  }
  for (std::size_t v = 0; v < options_.variations.size(); ++v) {
    std::int64_t place = 0;  // among the samples that move
    for (std::size_t k = 0; k < samples_.size(); ++k) {
      if (!concerns(options_.variations[v], samples_[k])) continue;
      std::int64_t* up = &result[k * columns + 1 + 2 * v];
      up[0] = by_score(v) ? scored + 2 * place : copied + place;
      up[1] = by_score(v) ? scored + 2 * place + 1 : copied + moving(v) + place;
      ++place;
    }
    (by_score(v) ? scored : copied) += 2 * moving(v);
  }
  return result;
}

/// How many samples a variation concerns.
std::int64_t PipelineImpl::moving(std::size_t variation) const {
  return std::count_if(samples_.begin(), samples_.end(), [&](const std::string& sample) {
    return concerns(options_.variations[variation], sample);
  });
}

bool PipelineImpl::by_score(std::size_t variation) const {
  return !options_.slopes.empty() && options_.slopes[variation] == SlopeMethod::score;
}

double PipelineImpl::step_of(std::size_t variation) const {
  return options_.steps.empty() ? options_.step : options_.steps[variation];
}

/// Weights of the events of each of these samples, 0 for all others: [samples, n].
Tensor PipelineImpl::weights_of(const EventBatch& events,
                                const std::vector<std::string>& samples) const {
  std::vector<Tensor> rows;
  const Tensor none = at::zeros({}, events.weights.options());
  for (const std::string& sample : samples) {
    rows.push_back(at::where(of_process(events, sample), events.weights, none));
  }
  return at::stack(rows);
}

/// Those of all samples, then for each variation by score and each sample that it concerns
/// w (1 + step score) and w (1 - step score).
Tensor PipelineImpl::weight_rows(const EventBatch& events) const {
  const Tensor nominal = weights_of(events, samples_);
  std::vector<Tensor> rows{nominal};
  for (std::size_t v = 0; v < options_.variations.size(); ++v) {
    if (!by_score(v)) continue;
    const Variation& variation = options_.variations[v];
    const Tensor score = step_of(v) * variation.score(events).to(at::kDouble);
    if (score.sizes() != events.weights.sizes()) {
      throw Error(ErrorKind::usage, "a score of each event expected", variation.name);
    }
    for (std::size_t k = 0; k < samples_.size(); ++k) {
      if (!concerns(variation, samples_[k])) continue;
      const Tensor row = nominal[static_cast<std::int64_t>(k)], change = row * score;
      rows.push_back(at::stack({row + change, row - change}));
    }
  }
  return rows.size() == 1 ? nominal : at::cat(rows);
}

Tensor PipelineImpl::scores_of(const EventBatch& events, const Tensor& theta) {
  const Tensor features =
      options_.features.empty() ? events.features : events.matrix(options_.features);
  return histogram.is_empty() ? classifier->outputs(features, theta)
                              : classifier->forward(features, theta);
}

EventBatch PipelineImpl::in_region(const EventBatch& events) const {
  return options_.region ? events.select(options_.region(events)) : events;
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

SoftHistogramResult PipelineImpl::bins_of(const Tensor& values, const Tensor& weights) {
  return histogram.is_empty() ? softmax_histogram->forward(values, weights)
                              : histogram->forward(values, weights);
}

PipelineImpl::Filled PipelineImpl::fill(const EventBatch& events, const Tensor& weights,
                                        const Tensor& theta, Wanted wanted) {
  const bool cuts = !selection.is_empty();
  Filled result;
  result.scores = scores_of(events, theta);
  const Tensor cut = cuts ? values_of(events, result.scores, cut_columns()) : Tensor();
  const Tensor binned = options_.axes.empty() || histogram.is_empty()
                            ? result.scores
                            : values_of(events, result.scores, options_.axes);
  Histogram hard;
  if (wanted != Wanted::hard) {
    if (cuts) result.efficiency = selection->forward(cut);
    const SoftHistogramResult filled =
        bins_of(binned, cuts ? weights * result.efficiency : weights);
    result.soft = at::stack({filled.sumw, filled.sumw2}, 1);
    hard = filled.hard;
  }
  if (wanted == Wanted::soft) return result;
  const at::NoGradGuard no_graph;
  if (wanted == Wanted::hard || cuts) {
    const Tensor passed = cuts ? weights * selection->hard(cut).to(at::kDouble) : weights;
    hard = bins_of(binned.detach(), passed.detach()).hard;
  }
  result.hard = at::stack({hard.sumw, hard.sumw2}, 1).detach();
  return result;
}

/// Copies at one step of a variation from a place; undefined: 0.
ShiftedEvents PipelineImpl::copies_of(const EventBatch& events, std::size_t variation,
                                      const Tensor& place) const {
  const double step = step_of(variation);
  if (!place.defined()) {
    Variation all = options_.variations[variation];
    all.processes.clear();  // the others are left out already
    return shifted_copies(events, all, step);
  }
  const auto moved = [&](double distance) {
    Tensor theta = place.clone();
    theta[static_cast<std::int64_t>(variation)] += distance;
    return apply_variations(events, options_.variations, theta);
  };
  return {moved(step), moved(-step)};
}

SoftHardYields PipelineImpl::all_yields(const EventBatch& events, const Tensor& theta,
                                        Wanted wanted, Filled& nominal, const Tensor& place) {
  const EventBatch here =
      in_region(place.defined() ? apply_variations(events, options_.variations, place) : events);
  nominal = fill(here, weight_rows(here), theta, wanted);
  std::vector<Tensor> soft{nominal.soft}, hard{nominal.hard};
  for (std::size_t v = 0; v < options_.variations.size(); ++v) {
    if (by_score(v)) continue;
    Tensor mask;
    std::vector<std::string> moving;
    for (const std::string& sample : samples_) {
      if (!concerns(options_.variations[v], sample)) continue;
      const Tensor part = of_process(events, sample);
      mask = mask.defined() ? mask | part : part;
      moving.push_back(sample);
    }
    // Only events that move go through the network again.
    const ShiftedEvents copies = copies_of(events.select(mask), v, place);
    for (const EventBatch& all : {copies.up, copies.down}) {
      const EventBatch copy = in_region(all);
      const Tensor weights =
          moving.size() == 1 ? copy.weights.unsqueeze(0) : weights_of(copy, moving);
      const Filled filled = fill(copy, weights, theta, wanted);
      soft.push_back(filled.soft);
      hard.push_back(filled.hard);
    }
  }
  return {nominal.soft.defined() ? columns_of(soft) : Tensor(),
          nominal.hard.defined() ? columns_of(hard) : Tensor()};
}

/// Yields [samples, 1 + 2 variations, 2, B] of all rows of sums.
Tensor PipelineImpl::columns_of(const std::vector<Tensor>& sums) const {
  const auto n_samples = static_cast<std::int64_t>(samples_.size());
  const Tensor rows = sums.size() == 1 ? sums.front() : at::cat(sums);
  return rows.index_select(0, places_->rows.to(rows.device()))
      .reshape({n_samples, -1, 2, rows.size(2)});
}

Tensor PipelineImpl::yields(const EventBatch& events, const Tensor& theta) {
  Filled unused;
  return all_yields(events, theta, Wanted::soft, unused).soft;
}

Tensor PipelineImpl::hard_yields(const EventBatch& events, const Tensor& theta) {
  const at::NoGradGuard no_graph;
  Filled unused;
  return all_yields(events, theta, Wanted::hard, unused).hard;
}

SoftHardYields PipelineImpl::soft_and_hard_yields(const EventBatch& events, const Tensor& theta) {
  Filled unused;
  return all_yields(events, theta, Wanted::both, unused);
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
  if (!hard) return all_yields(events, theta, Wanted::soft, unused, place).soft;
  const at::NoGradGuard no_graph;
  return all_yields(events, theta, Wanted::hard, unused, place).hard;
}

Templates PipelineImpl::templates(const Tensor& yields) const {
  return templates(yields, likelihood_.templates());
}

Templates PipelineImpl::filled_templates(const Tensor& yields, const Templates& others) const {
  const Tensor here = on_model(yields);
  Tensor sums = here.select(2, 0);  // [samples, 1 + 2 variations, B]
  if (places_->steps.defined()) {   // what one standard deviation does
    const Tensor nominal = sums.slice(1, 0, 1);
    sums = nominal + (sums - nominal) / places_->steps;
  }
  const std::vector<Tensor> parts =
      at::cat({others.nominal, others.histosys_hi, others.histosys_lo, sums.reshape({-1})})
          .index_select(0, places_->templates)
          .split_with_sizes(
              {others.nominal.numel(), others.histosys_hi.numel(), others.histosys_lo.numel()});
  Templates t = others;
  t.nominal = parts[0];
  t.histosys_hi = parts[1];
  t.histosys_lo = parts[2];
  if (places_->uncertainty.defined()) {
    const Tensor errors = safe_sqrt(here.select(1, 0).select(1, 1));
    t.uncertainty =
        at::cat({others.uncertainty, errors.reshape({-1})}).index_select(0, places_->uncertainty);
  }
  return t;
}

Templates PipelineImpl::templates(const Tensor& yields, const Templates& others) const {
  Templates t = filled_templates(yields, others);
  if (uses_observed_data(options_.loss)) return t;
  const at::NoGradGuard no_graph;
  const Tensor expected = likelihood_.systematics().expected(likelihood_.initial(), t);
  const Range bins{static_cast<std::int64_t>(channel_->first_bin),
                   static_cast<std::int64_t>(channel_->n_bins)};
  t.observed =
      replace_range(t.observed, bins, expected.slice(0, bins.first, bins.first + bins.size));
  return t;
}

Tensor PipelineImpl::loss(const Tensor& yields) const {
  const Tensor here = on_model(yields);
  const Tensor value = options_.objective
                           ? options_.objective(likelihood_, templates(here))
                           : figure_(filled_templates(here, likelihood_.templates()));
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
  const SoftHardYields yields = all_yields(events, theta, Wanted::both, nominal);
  result.yields = yields.soft;
  result.hard_yields = yields.hard;
  result.scores = nominal.scores;
  result.efficiency = nominal.efficiency;
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
