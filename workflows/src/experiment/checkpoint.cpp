// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/empty.h>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <sstream>
#include <torch/serialize.h>

#include "experiment/state.hpp"
#include "slalom/core/json.hpp"

namespace slalom {

namespace {

constexpr const char* k_trained = "trained.";
constexpr const char* k_best = "best.";
constexpr const char* k_optimizer = "optimizer";
constexpr const char* k_average = "average";
constexpr const char* k_adversary = "adversary.";
constexpr const char* k_adversary_optimizer = "adversary_optimizer";
constexpr const char* k_state = "state";

template <class Saved>
std::string serialised(const Saved& saved) {
  std::ostringstream stream;
  torch::save(saved, stream);
  return stream.str();
}

Tensor bytes_of(const std::string& text) {
  Tensor result = at::empty({static_cast<std::int64_t>(text.size())}, at::kByte);
  std::memcpy(result.data_ptr<std::uint8_t>(), text.data(), text.size());
  return result;
}

std::string text_of(const Tensor& bytes) {
  const Tensor flat = bytes.contiguous();
  return {reinterpret_cast<const char*>(flat.data_ptr<std::uint8_t>()),
          static_cast<std::size_t>(flat.numel())};
}

/// What the training hangs on: a change of anything else does not forbid to go on.
std::string fingerprint(const ExperimentOptions& options) {
  nlohmann::ordered_json document = experiment_document(options);
  for (const char* key : {"name", "description", "evaluation"}) document.erase(key);
  document["training"].erase("checkpoint_every");
  document["fold"] = options.data.fold;
  return digest(Json::parse(document.dump()));
}

const Tensor& entry(const NamedTensors& tensors, const std::string& name,
                    const std::filesystem::path& file) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) {
    throw Error(ErrorKind::io, fmt::format("no entry '{}': not a checkpoint", name), file.string());
  }
  return found->second;
}

NamedTensors with_prefix(const NamedTensors& tensors, const std::string& prefix) {
  NamedTensors result;
  for (const auto& [name, tensor] : tensors) {
    if (name.rfind(prefix, 0) == 0) result[name.substr(prefix.size())] = tensor;
  }
  return result;
}

}  // namespace

void Experiment::save(const std::filesystem::path& checkpoint) const {
  const State& s = *state_;
  NamedTensors tensors;
  for (const auto& [name, tensor] : named_tensors(s.trained())) tensors[k_trained + name] = tensor;
  for (const auto& [name, tensor] : s.best.tensors) tensors[k_best + name] = tensor;
  if (s.optimizer) {
    tensors[k_optimizer] = bytes_of(serialised(*s.optimizer));
  }
  if (!s.adversary.is_empty()) {
    for (const auto& [name, tensor] : named_tensors(*s.adversary)) {
      tensors[k_adversary + name] = tensor;
    }
    tensors[k_adversary_optimizer] = bytes_of(serialised(*s.adversary_optimizer));
  }
  if (s.averaged.state().average.defined()) tensors[k_average] = s.averaged.state().average;
  const Json state{{"experiment", fingerprint(s.options)},
                   {"step", s.step},
                   {"stopped", s.stopped},
                   {"averaged_steps", s.averaged.state().steps},
                   {"best_step", s.best.step},
                   {"best_loss", s.best.loss},
                   {"best_since", s.best.since}};
  tensors[k_state] = bytes_of(dump_json(state));
  write_npz(checkpoint.string(), tensors);
}

void Experiment::restore(const std::filesystem::path& checkpoint) {
  State& s = *state_;
  const NamedTensors tensors = read_npz(checkpoint.string());
  const Json state = parse_json(text_of(entry(tensors, k_state, checkpoint)), checkpoint.string());
  if (state.at("experiment") != fingerprint(s.options)) {
    throw Error(ErrorKind::usage, "the checkpoint is of another experiment", checkpoint.string());
  }
  load_tensors(s.trained(), with_prefix(tensors, k_trained));
  if (s.optimizer) {
    std::istringstream stream(text_of(entry(tensors, k_optimizer, checkpoint)));
    torch::load(*s.optimizer, stream);
  }
  if (!s.adversary.is_empty()) {
    load_tensors(*s.adversary, with_prefix(tensors, k_adversary));
    std::istringstream stream(text_of(entry(tensors, k_adversary_optimizer, checkpoint)));
    torch::load(*s.adversary_optimizer, stream);
  }
  const auto average = tensors.find(k_average);
  s.averaged.restore({average == tensors.end() ? Tensor() : average->second,
                      state.at("averaged_steps").get<std::int64_t>()});
  s.step = state.at("step").get<std::int64_t>();
  s.stopped = state.at("stopped").get<bool>();
  s.best = {state.at("best_step").get<std::int64_t>(), state.at("best_loss").get<double>(),
            state.at("best_since").get<std::int64_t>(), with_prefix(tensors, k_best)};
}

void Experiment::save_weights(const std::filesystem::path& file) const {
  const State& s = *state_;
  if (s.stages.is_empty()) {
    throw Error(ErrorKind::usage, "the experiment has not been evaluated", file.string());
  }
  write_npz(file.string(), named_tensors(*s.stages));
}

}  // namespace slalom
