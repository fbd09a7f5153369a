// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/events.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/ones.h>
#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "check.hpp"
#include "slalom/core/random.hpp"
#include "to_tensor.hpp"

namespace slalom {

namespace {

using detail::require;
using detail::shape_of;
using detail::to_tensor;

constexpr const char* k_where = "events";

std::int64_t place_of(const std::vector<std::string>& names, const std::string& name,
                      const std::string& what) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return found - names.begin();
  std::string known;
  for (const std::string& other : names) known += (known.empty() ? "" : ", ") + other;
  throw Error(ErrorKind::usage, "no " + what + " named '" + name + "' (there are: " + known + ")",
              k_where);
}

void check_names(const std::vector<std::string>& names, const std::string& what) {
  std::set<std::string> seen;
  for (const std::string& name : names) {
    require(seen.insert(name).second, "two " + what + " named '" + name + "'", k_where);
  }
}

Tensor picked(const Tensor& tensor, const Tensor& index) {
  return tensor.defined() ? tensor.index_select(0, index.to(tensor.device())) : tensor;
}

Tensor moved(const Tensor& tensor, const at::Device& device) {
  return tensor.defined() ? tensor.to(device) : tensor;
}

/// Fisher and Yates with numbers of slalom's own, so that no version of LibTorch changes the order.
void shuffle(std::vector<std::int64_t>& values, RandomStream& random) {
  for (std::size_t i = values.size(); i > 1; --i) {
    std::swap(values[i - 1], values[random.bits() % i]);  // bias below 2^-40
  }
}

}  // namespace

std::int64_t EventBatch::column_index(const std::string& name) const {
  return place_of(columns, name, "column");
}

std::int64_t EventBatch::process_index(const std::string& name) const {
  return place_of(processes, name, "process");
}

Tensor EventBatch::column(const std::string& name) const {
  return features.select(1, column_index(name));
}

Tensor EventBatch::matrix(const std::vector<std::string>& names) const {
  if (names == columns) return features;
  std::vector<std::int64_t> places;
  for (const std::string& name : names) places.push_back(column_index(name));
  return features.index_select(1, to_tensor(places).to(features.device()));
}

EventBatch EventBatch::with_features(const Tensor& other) const {
  require(other.sizes() == features.sizes(),
          "features " + shape_of(other) + " in the place of " + shape_of(features), k_where);
  EventBatch result = *this;
  result.features = other;
  return result;
}

EventBatch EventBatch::with_column(const std::string& name, const Tensor& values) const {
  require(values.dim() == 1 && values.size(0) == size(),
          "a column " + shape_of(values) + " for " + std::to_string(size()) + " events", k_where);
  EventBatch result = *this;
  const Tensor column = values.to(features.scalar_type()).unsqueeze(1);
  const auto found = std::find(columns.begin(), columns.end(), name);
  if (found == columns.end()) {
    result.columns.push_back(name);
    result.features = at::cat({features, column}, 1);
  } else {
    const std::int64_t place = found - columns.begin();
    result.features =
        at::cat({features.slice(1, 0, place), column, features.slice(1, place + 1)}, 1);
  }
  return result;
}

EventBatch EventBatch::with_weights(const Tensor& other) const {
  require(other.sizes() == weights.sizes(),
          "weights " + shape_of(other) + " in the place of " + shape_of(weights), k_where);
  EventBatch result = *this;
  result.weights = other.to(at::kDouble);
  return result;
}

EventBatch EventBatch::select(const Tensor& which) const {
  require(which.dim() == 1, "a mask or a list expected, found " + shape_of(which), k_where);
  const bool is_mask = which.scalar_type() == at::kBool;
  require(!is_mask || which.size(0) == size(),
          "a mask " + shape_of(which) + " for " + std::to_string(size()) + " events", k_where);
  const Tensor index = is_mask ? which.nonzero().flatten() : which.to(at::kLong);
  EventBatch result = *this;
  result.features = picked(features, index);
  result.weights = picked(weights, index);
  result.labels = picked(labels, index);
  result.process = picked(process, index);
  return result;
}

EventBatch EventBatch::of_process(const std::string& name) const {
  const std::int64_t index = process_index(name);
  require(process.defined(), "events without processes", k_where);
  return select(process == index);
}

EventBatch EventBatch::to(const at::Device& device) const {
  EventBatch result = *this;
  result.features = moved(features, device);
  result.weights = moved(weights, device);
  result.labels = moved(labels, device);
  result.process = moved(process, device);
  return result;
}

EventBatch EventBatch::to(at::ScalarType type) const {
  EventBatch result = *this;
  result.features = features.to(type);
  return result;
}

EventBatch make_events(std::vector<std::string> columns, const Tensor& features,
                       const Tensor& weights, const Tensor& labels, const Tensor& process,
                       std::vector<std::string> processes) {
  const auto n_columns = static_cast<std::int64_t>(columns.size());
  require(
      features.dim() == 2 && features.size(1) == n_columns,
      "features [events, " + std::to_string(n_columns) + "] expected, found " + shape_of(features),
      k_where);
  require(features.scalar_type() == at::kDouble || features.scalar_type() == at::kFloat,
          "features must be float32 or float64", k_where);
  check_names(columns, "columns");
  check_names(processes, "processes");
  const std::int64_t n = features.size(0);
  for (const auto& [tensor, name] : {std::pair(weights, "weights"), std::pair(labels, "labels"),
                                     std::pair(process, "processes")}) {
    require(!tensor.defined() || (tensor.dim() == 1 && tensor.size(0) == n),
            std::string(name) + (tensor.defined() ? " " + shape_of(tensor) : "") + " for " +
                std::to_string(n) + " events",
            k_where);
  }
  EventBatch result;
  result.columns = std::move(columns);
  result.features = features;
  result.weights = weights.defined() ? weights.to(features.device(), at::kDouble)
                                     : at::ones({n}, features.options().dtype(at::kDouble));
  if (labels.defined()) result.labels = labels.to(features.device(), at::kLong);
  if (process.defined()) {
    result.process = process.to(features.device(), at::kLong);
    const auto n_processes = static_cast<std::int64_t>(processes.size());
    require(n == 0 || (result.process.min().item<std::int64_t>() >= 0 &&
                       result.process.max().item<std::int64_t>() < n_processes),
            "an index of a process that has no name", k_where);
  } else {
    require(processes.empty(), "names of processes, but no index for each event", k_where);
  }
  result.processes = std::move(processes);
  return result;
}

EventBatch concatenate(const std::vector<EventBatch>& batches) {
  require(!batches.empty(), "nothing to concatenate", k_where);
  EventBatch result = batches.front();
  std::vector<Tensor> features, weights, labels, process;
  for (const EventBatch& batch : batches) {
    require(batch.columns == result.columns, "batches with different columns", k_where);
    require(batch.labels.defined() == result.labels.defined(), "labels in some batches only",
            k_where);
    require(batch.process.defined() == result.process.defined(), "processes in some batches only",
            k_where);
    features.push_back(batch.features);
    weights.push_back(batch.weights);
    labels.push_back(batch.labels);
    if (!batch.process.defined()) continue;
    std::vector<std::int64_t> places;  // in the list of all
    for (const std::string& name : batch.processes) {
      auto& all = result.processes;
      const auto found = std::find(all.begin(), all.end(), name);
      places.push_back(found - all.begin());
      if (found == all.end()) all.push_back(name);
    }
    process.push_back(picked(to_tensor(places).to(batch.process.device()), batch.process));
  }
  result.features = at::cat(features);
  result.weights = at::cat(weights);
  if (result.labels.defined()) result.labels = at::cat(labels);
  if (result.process.defined()) result.process = at::cat(process);
  return result;
}

EventLoader::EventLoader(EventBatch events, const EventLoaderOptions& options)
    : events_(std::move(events)), options_(options) {
  require(options_.batch_size > 0, "the batch size must be positive", "event loader");
  require(events_.size() > 0, "no events", "event loader");
  const std::int64_t n = events_.size();
  batches_ = (n + options_.batch_size - 1) / options_.batch_size;
  const bool by_process = options_.stratified && events_.process.defined();
  strata_.resize(by_process ? events_.processes.size() : 1);
  if (by_process) {
    const Tensor process = events_.process.to(at::kCPU).contiguous();
    const auto* index = process.data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < n; ++i) {
      strata_[static_cast<std::size_t>(index[i])].push_back(i);
    }
  } else {
    strata_[0].resize(static_cast<std::size_t>(n));
    std::iota(strata_[0].begin(), strata_[0].end(), 0);
  }
}

void EventLoader::check(const State& state) const {
  require(state.epoch >= 0 && state.batch >= 0 && state.batch < batches_,
          "batch " + std::to_string(state.batch) + " of epoch " + std::to_string(state.epoch) +
              ", where epochs have " + std::to_string(batches_) + " batches",
          "event loader");
}

Tensor EventLoader::indices(const State& which) const {
  check(which);
  if (shuffled_epoch_ != which.epoch) {
    shuffled_ = strata_;
    for (std::size_t s = 0; options_.shuffle && s < shuffled_.size(); ++s) {
      RandomStream random(options_.seed, static_cast<std::uint64_t>(which.epoch),
                          static_cast<std::uint32_t>(s));
      shuffle(shuffled_[s], random);
    }
    shuffled_epoch_ = which.epoch;
  }
  std::vector<std::int64_t> result;
  for (std::size_t s = 0; s < shuffled_.size(); ++s) {
    const auto n = static_cast<std::int64_t>(shuffled_[s].size());
    // Every process rounds otherwise, so that small ones do not all miss the same batch.
    const auto offset = static_cast<std::int64_t>(s) % batches_;
    const auto cut = [&](std::int64_t b) { return (b * n + offset) / batches_; };
    result.insert(result.end(), shuffled_[s].begin() + cut(which.batch),
                  shuffled_[s].begin() + cut(which.batch + 1));
  }
  return to_tensor(result).to(events_.features.device());
}

EventBatch EventLoader::batch(const State& which) const {
  EventBatch result = events_.select(indices(which));
  if (!options_.rescale) return result;
  if (strata_.size() == 1) {
    const double scale = static_cast<double>(events_.size()) /
                         static_cast<double>(std::max<std::int64_t>(result.size(), 1));
    return result.with_weights(result.weights * scale);
  }
  std::vector<double> scales;
  for (std::size_t s = 0; s < strata_.size(); ++s) {
    const double here = (result.process == static_cast<std::int64_t>(s)).sum().item<double>();
    scales.push_back(here > 0.0 ? static_cast<double>(strata_[s].size()) / here : 0.0);
  }
  const Tensor scale =
      at::from_blob(scales.data(), {static_cast<std::int64_t>(scales.size())}, at::kDouble)
          .clone()
          .to(result.weights.device());
  return result.with_weights(result.weights * picked(scale, result.process));
}

EventBatch EventLoader::next() {
  EventBatch result = batch(state_);
  if (++state_.batch == batches_) state_ = {state_.epoch + 1, 0};
  return result;
}

void EventLoader::restore(const State& state) {
  check(state);
  state_ = state;
}

}  // namespace slalom
