// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "slalom/core/model_spec.hpp"

/// \file
/// From the parts of a workspace to the specification of a model. What can be known of a sample by
/// itself is prepared, so that it is done once for samples that many models share.
namespace slalom::detail {

/// Numbers for the names of modifiers; the names must outlive the table.
class NameTable {
 public:
  /// \param base a table to continue; it must not change meanwhile
  explicit NameTable(const NameTable* base = nullptr);
  /// The number of a name, a new one if it has none.
  std::uint32_t add(std::string_view name);
  /// The number of a name, or size().
  std::uint32_t find(std::string_view name) const;
  /// How many names have a number.
  std::uint32_t size() const { return size_; }

 private:
  const NameTable* base_;
  std::unordered_map<std::string_view, std::uint32_t> numbers_;
  std::uint32_t size_;
};

/// A sample and its modifiers in pyhf's order: by name, then by type.
struct PreparedSample {
  PreparedSample(const Sample& sample, NameTable& table);

  const Sample* sample;
  std::vector<const Modifier*> modifiers;
  std::vector<std::uint32_t> names;  ///< numbers of their names
};

/// A channel and its samples, sorted by name.
struct PreparedChannel {
  const std::string* name;
  std::size_t place;                           ///< in the file
  std::vector<const PreparedSample*> samples;  ///< sorted by name
  std::vector<std::size_t> sample_places;      ///< of each in the file
  std::size_t n_bins;
};

/// A workspace as the specification is made from.
struct PreparedWorkspace {
  std::vector<PreparedChannel> channels;  ///< sorted by name
  const Measurement* measurement;
  std::size_t measurement_place;  ///< in the file
  std::vector<const Observation*> observations;
};

/// Sorts samples and channels by name.
void sort_by_name(PreparedWorkspace& workspace);

/// Contract of make_model_spec(). `names` has all names of the samples.
ModelSpec build_spec(const PreparedWorkspace& workspace, const NameTable& names,
                     const ModelOptions& options, Warnings* warnings);

}  // namespace slalom::detail
