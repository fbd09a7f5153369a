// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/lhco.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <utility>
#include <vector>

#include "slalom/core/error.hpp"
#include "slalom/modules/event_files.hpp"
#include "slalom/modules/hdf5_files.hpp"

namespace slalom {

namespace {

constexpr double k_gev = 1e-3;        // in TeV
constexpr double k_small_tau = 1e-5;  // keeps ratios of jets without structure finite

[[noreturn]] void fail(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::io, message, where);
}

/// The columns of a file as a table.
Hdf5Table read_table(const std::string& path, const LhcoOptions& options) {
  if (path.ends_with(".h5") || path.ends_with(".hdf5") || path.ends_with(".hdf")) {
    return read_hdf5_table(path, options.name, options.max_events);
  }
  EventFileOptions file;
  file.max_events = options.max_events;
  file.float64 = true;
  const EventBatch events = read_events(path, file);
  return {events.columns, events.features};
}

class Table {
 public:
  Table(Hdf5Table table, std::string path) : table_(std::move(table)), path_(std::move(path)) {}

  bool has(const std::string& name) const { return find(name) < table_.columns.size(); }
  /// One column [n]. \throws Error (io) if it is missing, or a number is not finite
  Tensor column(const std::string& name) const {
    const std::size_t j = find(name);
    if (j == table_.columns.size()) {
      std::string there;
      for (const std::string& other : table_.columns) {
        there += (there.empty() ? "" : ", ") + other;
      }
      fail("no column '" + name + "' (there are: " + there + ")", path_);
    }
    Tensor values = table_.values.select(1, static_cast<std::int64_t>(j));
    require(at::isfinite(values), name, "a number that is not finite");
    return values;
  }
  void require(const Tensor& good, const std::string& name, const std::string& message) const {
    if (good.all().item<bool>()) return;
    const auto row = good.logical_not().nonzero()[0][0].item<std::int64_t>();
    fail(message, path_ + ":" + name + "[" + std::to_string(row) + "]");
  }

 private:
  std::size_t find(const std::string& name) const {
    std::size_t j = 0;
    while (j < table_.columns.size() && table_.columns[j] != name) ++j;
    return j;
  }

  Hdf5Table table_;
  std::string path_;
};

/// One jet of every event [n] each, masses and momenta in GeV.
struct Jet {
  Tensor px, py, pz, mass, energy, tau21, tau32;
};

Jet jet(const Table& table, const std::string& which) {
  Jet j;
  j.px = table.column("px" + which);
  j.py = table.column("py" + which);
  j.pz = table.column("pz" + which);
  j.mass = table.column("m" + which);
  table.require(j.mass >= 0.0, "m" + which, "a negative mass");
  j.energy = at::sqrt(j.px * j.px + j.py * j.py + j.pz * j.pz + j.mass * j.mass);
  const Tensor tau1 = table.column("tau1" + which), tau2 = table.column("tau2" + which);
  j.tau21 = tau2 / (tau1 + k_small_tau);
  if (table.has("tau3" + which)) j.tau32 = table.column("tau3" + which) / (tau2 + k_small_tau);
  return j;
}

Tensor dijet_mass(const Jet& a, const Jet& b) {
  const Tensor e = a.energy + b.energy, x = a.px + b.px, y = a.py + b.py, z = a.pz + b.pz;
  return at::sqrt((e * e - x * x - y * y - z * z).clamp_min(0.0));
}

}  // namespace

EventBatch read_lhco(const std::string& path, const LhcoOptions& options) {
  const Table table(read_table(path, options), path);
  const Jet first = jet(table, "j1"), second = jet(table, "j2");
  const Tensor ordered = first.mass <= second.mass;  // the first one is the lighter
  const auto lighter = [&](const Tensor& a, const Tensor& b) { return at::where(ordered, a, b); };
  const Tensor mjj = k_gev * dijet_mass(first, second);
  const Tensor mass = k_gev * lighter(first.mass, second.mass);
  const Tensor heavier = k_gev * lighter(second.mass, first.mass);
  std::vector<std::string> columns{"mjj", "mj_min", "delta_mj", "tau21_1", "tau21_2"};
  std::vector<Tensor> features{mjj, mass, heavier - mass, lighter(first.tau21, second.tau21),
                               lighter(second.tau21, first.tau21)};
  if (options.tau32) {
    table.column("tau3j1");  // says what is missing
    table.column("tau3j2");
    columns.insert(columns.end(), {"tau32_1", "tau32_2"});
    features.push_back(lighter(first.tau32, second.tau32));
    features.push_back(lighter(second.tau32, first.tau32));
  }
  Tensor labels;
  if (table.has("label")) {
    labels = table.column("label");
    table.require((labels == 0.0).logical_or(labels == 1.0), "label", "a label that is not 0 or 1");
    labels = labels.to(at::kLong);
  }
  const EventBatch events = make_events(
      std::move(columns), at::stack(features, 1).to(options.float64 ? at::kDouble : at::kFloat), {},
      labels);
  Tensor kept = mjj >= options.min_mjj;
  if (options.max_mjj > 0.0) kept = kept.logical_and(mjj < options.max_mjj);
  return kept.all().item<bool>() ? events : events.select(kept);
}

}  // namespace slalom
