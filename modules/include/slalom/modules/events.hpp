// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <string>
#include <vector>

/// \file
/// Events: named feature columns, weights, labels and processes; and a loader that deals them out
/// in batches. Everything is held in memory, in tensors on one device.
namespace slalom {

/// Events in columns. Copies share their tensors, and so does what is derived from them where it
/// does not differ: a nuisance-shifted copy holds new features, and the same labels.
struct EventBatch {
  std::vector<std::string> columns;    ///< names of the features, no two alike
  Tensor features;                     ///< [n, columns], float32 or float64
  Tensor weights;                      ///< [n], float64; negative ones are welcome
  Tensor labels;                       ///< [n] integers, or undefined
  Tensor process;                      ///< [n] indices of `processes`, or undefined
  std::vector<std::string> processes;  ///< names of the processes

  /// Number of events.
  std::int64_t size() const { return features.size(0); }
  /// Place of a column. \throws Error (usage) for a name that is not there
  std::int64_t column_index(const std::string& name) const;
  /// Place of a process. \throws Error (usage) for a name that is not there
  std::int64_t process_index(const std::string& name) const;
  /// One feature [n], a view. \throws Error (usage) for a name that is not there
  Tensor column(const std::string& name) const;
  /// Some features [n, names], in that order. \throws Error (usage) for a name that is not there
  Tensor matrix(const std::vector<std::string>& names) const;

  /// The same events with other features; the rest is shared. \throws Error (usage) for other
  /// shapes
  EventBatch with_features(const Tensor& other) const;
  /// The same with one column [n] replaced, or appended under a new name. Differentiable.
  EventBatch with_column(const std::string& name, const Tensor& values) const;
  /// The same with other weights [n]. \throws Error (usage) for other shapes
  EventBatch with_weights(const Tensor& other) const;
  /// Events picked by a boolean mask [n], or by indices. \throws Error (usage) for a wrong mask
  EventBatch select(const Tensor& which) const;
  /// Events of one process. \throws Error (usage) if there is none of that name
  EventBatch of_process(const std::string& name) const;
  /// The same on another device.
  EventBatch to(const at::Device& device) const;
  /// The same with features of another type; weights stay float64.
  EventBatch to(at::ScalarType type) const;
};

/// Checked events: shapes, names, indices of processes.
/// \param columns names of the features
/// \param features [n, columns], float32 or float64
/// \param weights [n]; undefined: 1 each
/// \param labels [n] or undefined \param process [n] or undefined, indices of `processes`
/// \throws Error (usage)
EventBatch make_events(std::vector<std::string> columns, const Tensor& features,
                       const Tensor& weights = {}, const Tensor& labels = {},
                       const Tensor& process = {}, std::vector<std::string> processes = {});

/// All events of several batches. Processes are matched by name; columns must be the same.
/// \throws Error (usage) for columns that differ, or labels or processes that only some have
EventBatch concatenate(const std::vector<EventBatch>& batches);

/// Options of EventLoader.
struct EventLoaderOptions {
  std::int64_t batch_size = 1000;  ///< events in a batch at most, > 0 (stratified: about)
  std::uint64_t seed = 0;          ///< of the order
  bool shuffle = true;             ///< a new order for every epoch, or always that of the events
  bool stratified = true;          ///< every batch has its share of every process, to one event
  bool rescale = false;            ///< weights times all events over those in the batch, for each
                                   ///< process if stratified: yields estimate those of the whole
  /// Equal in all members.
  bool operator==(const EventLoaderOptions&) const = default;
};

/// Deals out events. Every event comes once an epoch; batches are of equal sizes, to one event for
/// each process. What batch b of epoch e holds depends on nothing but the events and the options.
class EventLoader {
 public:
  /// Where a loader stands: what a checkpoint has to hold.
  struct State {
    std::int64_t epoch = 0;  ///< number of complete epochs
    std::int64_t batch = 0;  ///< number of the next batch in this one
    /// Equal in both.
    bool operator==(const State&) const = default;
  };

  /// \throws Error (usage) for no events or a batch size that is not positive
  explicit EventLoader(EventBatch events, const EventLoaderOptions& options = {});

  /// Batches in an epoch.
  std::int64_t batches() const { return batches_; }
  /// The next batch; after the last of an epoch follows the first of another.
  EventBatch next();
  /// Any batch, without moving. \throws Error (usage) for a number out of range
  EventBatch batch(const State& which) const;
  /// Indices of the events in a batch. \throws Error (usage) for a number out of range
  Tensor indices(const State& which) const;
  /// Where it stands.
  State state() const { return state_; }
  /// Goes on from there. \throws Error (usage) for a number out of range
  void restore(const State& state);
  /// All events.
  const EventBatch& events() const { return events_; }
  /// As given.
  const EventLoaderOptions& options() const { return options_; }

 private:
  void check(const State& state) const;

  EventBatch events_;
  EventLoaderOptions options_;
  std::vector<std::vector<std::int64_t>> strata_;  // indices of the events of each process
  std::int64_t batches_ = 0;
  State state_;
  mutable std::int64_t shuffled_epoch_ = -1;
  mutable std::vector<std::vector<std::int64_t>> shuffled_;  // strata in the order of that epoch
};

}  // namespace slalom
