// SPDX-License-Identifier: Apache-2.0
#include "sealed_workspace.hpp"

#include <bit>
#include <cstdint>

namespace slalom::detail {

namespace {

// A seal is a NaN with its number as payload: no text gives one, and it costs nothing to copy.
constexpr std::uint64_t k_tag = 0x7ff85ea100000000;
constexpr std::uint64_t k_tag_mask = 0xffffffff00000000;

nlohmann::json make_seal(std::size_t number) { return std::bit_cast<double>(k_tag | number); }

nlohmann::json* member(nlohmann::json& value, const char* key, nlohmann::json::value_t type) {
  if (!value.is_object()) return nullptr;
  const auto found = value.find(key);
  return found != value.end() && found->type() == type ? &*found : nullptr;
}

}  // namespace

SealedWorkspace::SealedWorkspace(nlohmann::json document) : document_(std::move(document)) {
  using Type = nlohmann::json::value_t;
  if (nlohmann::json* channels = member(document_, "channels", Type::array)) {
    for (nlohmann::json& channel : *channels) {
      if (nlohmann::json* samples = member(channel, "samples", Type::array)) {
        for (nlohmann::json& sample : *samples) seal(sample);
      }
      seal(channel);
    }
  }
  for (const char* key : {"measurements", "observations"}) {
    if (nlohmann::json* list = member(document_, key, Type::array)) seal(*list);
  }
  read();
}

void SealedWorkspace::seal(nlohmann::json& value) {
  nlohmann::json place = make_seal(sealed_.size());
  std::swap(place, value);
  sealed_.push_back({std::move(place)});
}

void SealedWorkspace::read() {
  WorkspaceParts parts;
  try {
    parts = read_parts(document_, this, &warnings_);
  } catch (const Error&) {
    warnings_.clear();
    return;
  }
  const nlohmann::json& channels = document_["channels"];
  for (std::size_t i = 0; i < channels.size(); ++i) {
    Sealed& channel = sealed_[number(channels[i])];
    const nlohmann::json& samples = channel.document["samples"];
    for (std::size_t j = 0; j < samples.size(); ++j) {
      SamplePart& part = parts.channels[i].samples[j];
      part.seal = number(samples[j]);
      sealed_[part.seal].sample = part.sample;
    }
    channel.channel = parts.channels[i];
  }
  sealed_[number(document_["measurements"])].measurements = parts.measurements;
  sealed_[number(document_["observations"])].observations = parts.observations;
  parts_ = std::move(parts);
}

std::size_t SealedWorkspace::number(const nlohmann::json& value) const {
  if (!value.is_number_float()) return k_not_sealed;
  const auto bits = std::bit_cast<std::uint64_t>(value.get_ref<const double&>());
  const std::uint64_t number = bits & ~k_tag_mask;
  return (bits & k_tag_mask) == k_tag && number < sealed_.size() ? number : k_not_sealed;
}

const nlohmann::json& SealedWorkspace::open(const nlohmann::json& value) const {
  const std::size_t found = number(value);
  return found == k_not_sealed ? value : sealed_[found].document;
}

void SealedWorkspace::open_all(nlohmann::json& value) const {
  const std::size_t found = number(value);
  if (found != k_not_sealed) value = nlohmann::json(sealed_[found].document);
  if (!value.is_structured()) return;
  for (nlohmann::json& element : value) open_all(element);
}

}  // namespace slalom::detail
