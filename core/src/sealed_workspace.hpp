// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "slalom/core/workspace.hpp"

/// \file
/// A workspace document to which many patches are applied. Its channels, samples, measurements and
/// observations are read once and stand behind seals: placeholders that a patch may move, remove or
/// leave alone like any value, and that are opened only where a patch reaches inside. What is still
/// sealed afterwards need not be read again.
namespace slalom::detail {

/// A sample where a channel has it.
struct SamplePart {
  const Sample* sample;  ///< never null
  /// Number of its seal, or k_not_sealed if it was read from the document.
  std::size_t seal;
};

inline constexpr std::size_t k_not_sealed = static_cast<std::size_t>(-1);

/// A channel whose samples may belong to someone else.
struct ChannelPart {
  std::string name;                 ///< of the channel
  std::vector<SamplePart> samples;  ///< in file order, at least one
};

/// A workspace whose parts may belong to someone else. What was read anew is in the last three
/// members.
struct WorkspaceParts {
  std::vector<ChannelPart> channels;
  std::vector<const Measurement*> measurements;
  std::vector<const Observation*> observations;
  std::string version;

  std::deque<Sample> new_samples;
  std::deque<Measurement> new_measurements;
  std::deque<Observation> new_observations;
};

/// What stands behind one seal. The members below `document` are filled if the background could be
/// read.
struct Sealed {
  nlohmann::json document;                         ///< may have seals inside
  const Sample* sample = nullptr;                  ///< of a sample
  std::optional<ChannelPart> channel{};            ///< of a channel
  std::vector<const Measurement*> measurements{};  ///< of the array of measurements
  std::vector<const Observation*> observations{};  ///< of the array of observations
};

/// A document behind seals, and all that was read from it.
class SealedWorkspace {
 public:
  /// Seals a document and reads it. A document that is no workspace by itself is only sealed, since
  /// a patch may complete it.
  explicit SealedWorkspace(nlohmann::json document);
  SealedWorkspace(const SealedWorkspace&) = delete;
  SealedWorkspace& operator=(const SealedWorkspace&) = delete;

  /// The document with seals in it.
  const nlohmann::json& document() const { return document_; }
  /// What was read, if it is a workspace.
  const std::optional<WorkspaceParts>& parts() const { return parts_; }
  /// Warnings about it.
  const Warnings& warnings() const { return warnings_; }

  /// Number of the seal that a value is, or k_not_sealed.
  std::size_t number(const nlohmann::json& value) const;
  /// What stands behind a seal.
  const Sealed& behind(std::size_t number) const { return sealed_[number]; }
  /// The value, or what stands behind it if it is a seal (which may have seals inside).
  const nlohmann::json& open(const nlohmann::json& value) const;
  /// Opens a value and everything inside it.
  void open_all(nlohmann::json& value) const;

 private:
  void seal(nlohmann::json& value);
  void read();

  nlohmann::json document_;
  std::vector<Sealed> sealed_;
  std::optional<WorkspaceParts> parts_;
  Warnings warnings_;
};

/// Applies a patch, whose values are moved away, to a copy of the sealed document; errors are those
/// of the public apply_patch().
nlohmann::json apply_patch(const SealedWorkspace& workspace, nlohmann::json operations,
                           const std::string& where);

/// Reads a document whose parts may be sealed; `seals` may be null. Warnings are about what was
/// not sealed. \throws Error (workspace)
WorkspaceParts read_parts(const nlohmann::json& document, const SealedWorkspace* seals,
                          Warnings* warnings);

}  // namespace slalom::detail
