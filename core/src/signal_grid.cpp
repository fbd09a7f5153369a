// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/signal_grid.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <limits>
#include <mutex>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <unordered_map>

#include "sealed_workspace.hpp"
#include "slalom/core/fit.hpp"
#include "spec_builder.hpp"
#include "text.hpp"

namespace slalom {

using detail::ChannelPart;
using detail::k_not_sealed;
using detail::NameTable;
using detail::PreparedChannel;
using detail::PreparedSample;
using detail::PreparedWorkspace;
using detail::SamplePart;
using detail::SealedWorkspace;
using detail::WorkspaceParts;

const char* to_string(SignalStatus status) {
  switch (status) {
    case SignalStatus::ok:
      return "ok";
    case SignalStatus::not_converged:
      return "not_converged";
    case SignalStatus::failed:
      break;
  }
  return "failed";
}

struct SignalGrid::Background {
  Background(nlohmann::json document, SignalGridOptions grid_options);

  ModelSpec spec(const WorkspaceParts& parts, Warnings* warnings) const;
  void fit_alone();

  SignalGridOptions options;
  SealedWorkspace workspace;
  NameTable names;
  std::unordered_map<std::size_t, PreparedSample> samples;  ///< by number of their seal
  std::unordered_map<std::string, double> best_fit;         ///< by parameter; empty if unknown
};

namespace {

/// The measurement with that name, as find_measurement() finds it.
std::size_t measurement_place(const std::vector<const Measurement*>& measurements,
                              const std::string& name) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < measurements.size(); ++i) {
    if (name.empty() || measurements[i]->name == name) return i;
    names.push_back(measurements[i]->name);
  }
  throw Error(ErrorKind::model,
              "no measurement " + detail::in_quotes(name) + detail::suggestion(name, names),
              "/measurements");
}

/// Reads a patched document. A patch that puts a sealed part where it does not belong ends in an
/// error, for a seal is no valid value anywhere: the whole document then says what is wrong.
WorkspaceParts read_patched(nlohmann::json document, const SealedWorkspace& workspace,
                            Warnings* warnings) {
  try {
    return detail::read_parts(document, &workspace, warnings);
  } catch (const Error&) {
    workspace.open_all(document);
    return detail::read_parts(document, nullptr, warnings);
  }
}

/// Whether two warnings are about the same thing, whatever they suggest.
bool same_warning(const Warning& a, const Warning& b) {
  const auto subject = [](const Warning& w) { return w.message.substr(0, w.message.find(';')); };
  return a.where == b.where && subject(a) == subject(b);
}

}  // namespace

SignalGrid::Background::Background(nlohmann::json document, SignalGridOptions grid_options)
    : options(std::move(grid_options)), workspace(std::move(document)) {
  if (!workspace.parts()) return;
  for (const ChannelPart& channel : workspace.parts()->channels) {
    for (const SamplePart& part : channel.samples) {
      samples.emplace(part.seal, PreparedSample(*part.sample, names));
    }
  }
  if (options.warm_start) fit_alone();
}

/// The specification of a workspace that shares samples with the background.
ModelSpec SignalGrid::Background::spec(const WorkspaceParts& parts, Warnings* warnings) const {
  NameTable all_names(&names);
  std::deque<PreparedSample> new_samples;
  PreparedWorkspace prepared;
  prepared.measurement_place = measurement_place(parts.measurements, options.model.measurement);
  prepared.measurement = parts.measurements[prepared.measurement_place];
  prepared.observations = parts.observations;
  prepared.channels.reserve(parts.channels.size());
  for (std::size_t i = 0; i < parts.channels.size(); ++i) {
    const ChannelPart& part = parts.channels[i];
    PreparedChannel& channel = prepared.channels.emplace_back();
    channel.name = &part.name;
    channel.place = i;
    channel.n_bins = part.samples.front().sample->data.size();
    channel.samples.reserve(part.samples.size());
    for (const SamplePart& sample : part.samples) {
      channel.samples.push_back(sample.seal != k_not_sealed
                                    ? &samples.at(sample.seal)
                                    : &new_samples.emplace_back(*sample.sample, all_names));
    }
  }
  detail::sort_by_name(prepared);
  ModelSpec spec = detail::build_spec(prepared, all_names, options.model, warnings);
  if (options.adjust) options.adjust(spec);
  return spec;
}

/// The background alone may be no model, or have no minimum: fits then start as they always do.
void SignalGrid::Background::fit_alone() {
  const std::optional<std::string> poi = options.model.poi;
  try {
    options.model.poi = "";
    const Model model(spec(*workspace.parts(), nullptr));
    options.model.poi = poi;
    const FitResult result = fit(model);
    if (!result.converged()) return;
    for (std::size_t i = 0; i < result.parameters.size(); ++i) {
      best_fit.emplace(model.spec().parameters[i].name, result.parameters[i]);
    }
  } catch (const Error&) {
    options.model.poi = poi;
  }
}

SignalGrid::SignalGrid(nlohmann::json background, SignalGridOptions options)
    : background_(std::make_unique<Background>(std::move(background), std::move(options))) {}
SignalGrid::~SignalGrid() = default;
SignalGrid::SignalGrid(SignalGrid&&) noexcept = default;
SignalGrid& SignalGrid::operator=(SignalGrid&&) noexcept = default;

const Warnings& SignalGrid::warnings() const { return background_->workspace.warnings(); }

ModelSpec SignalGrid::spec(nlohmann::json operations, const std::string& where,
                           Warnings* warnings) const {
  const SealedWorkspace& workspace = background_->workspace;
  Warnings found;
  const WorkspaceParts parts =
      read_patched(detail::apply_patch(workspace, std::move(operations), where), workspace, &found);
  ModelSpec spec = background_->spec(parts, &found);
  if (warnings == nullptr) return spec;
  for (Warning& warning : found) {
    const auto known = std::any_of(workspace.warnings().begin(), workspace.warnings().end(),
                                   [&](const Warning& w) { return same_warning(w, warning); });
    if (!known) warnings->push_back(std::move(warning));
  }
  return spec;
}

std::vector<double> SignalGrid::start(const ModelSpec& spec) const {
  if (background_->best_fit.empty()) return {};
  std::vector<double> values = spec.initial();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Parameter& p = spec.parameters[i];
    const auto known = background_->best_fit.find(p.name);
    if (p.fixed || known == background_->best_fit.end()) continue;
    values[i] = std::clamp(known->second, p.lower, p.upper);
  }
  return values;
}

SignalResult SignalGrid::test(nlohmann::json operations, const SignalOptions& options,
                              const std::string& where) const {
  SignalResult result;
  try {
    const Model model(spec(std::move(operations), where, &result.warnings));
    Fitter fitter(model);
    FitOptions fit_options;
    fit_options.init = start(model.spec());
    AsymptoticCalculator calculator(fitter, fit_options, options.statistic);
    const std::size_t poi = *model.spec().poi;
    result.poi = model.spec().parameters[poi].name;
    result.test = calculator.test(options.mu);
    bool converged = result.test.converged;
    result.message = result.test.message;
    const auto add = [&](bool ok, const std::string& message) {
      converged = converged && ok;
      if (result.message.empty()) result.message = message;
    };
    if (options.discovery) {
      result.discovery = calculator.discovery();
      add(result.discovery->converged, result.discovery->message);
    }
    if (options.limit) {
      result.limit = calculator.upper_limit(options.level);
      add(result.limit->converged, result.limit->message);
    }
    result.best_fit = calculator.best().parameters[poi];
    result.status = converged ? SignalStatus::ok : SignalStatus::not_converged;
  } catch (const Error& error) {
    result.message = error.message();
    result.where = error.where();
  }
  return result;
}

namespace {

SignalResult test_one(const SignalGrid& grid, std::size_t index, const SignalSource& source,
                      const SignalOptions& options) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  SignalResult result;
  try {
    SignalPatch patch = source(index);
    result = grid.test(std::move(patch.operations), options, patch.where);
  } catch (const Error& error) {
    result.message = error.message();
    result.where = error.where();
  }
  result.index = index;
  result.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return result;
}

}  // namespace

std::size_t test_signals(const SignalGrid& grid, const std::vector<std::size_t>& signals,
                         const SignalSource& source, const SignalOptions& options,
                         std::size_t threads,
                         const std::function<bool(const SignalResult&)>& report) {
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stop{false};
  std::mutex reporting;
  std::size_t done = 0;
  // One signal at a time, in order: results then come about in the order of the grid, and an
  // interrupted run leaves few gaps.
  const auto work = [&](std::size_t) {
    for (std::size_t i = next++; i < signals.size() && !stop; i = next++) {
      const SignalResult result = test_one(grid, signals[i], source, options);
      const std::lock_guard<std::mutex> lock(reporting);
      if (stop) return;
      ++done;
      try {
        if (report && !report(result)) stop = true;
      } catch (...) {
        stop = true;
        throw;
      }
    }
  };
  constexpr auto most = static_cast<std::size_t>(std::numeric_limits<int>::max());
  std::optional<tbb::global_control> limit;
  if (threads > 1) limit.emplace(tbb::global_control::max_allowed_parallelism, threads);
  tbb::task_arena arena(threads == 0 ? tbb::task_arena::automatic
                                     : static_cast<int>(std::min(threads, most)));
  arena.execute([&] {
    const auto workers = static_cast<std::size_t>(tbb::this_task_arena::max_concurrency());
    tbb::parallel_for(std::size_t{0}, workers, work);
  });
  return done;
}

}  // namespace slalom
