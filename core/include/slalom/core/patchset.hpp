// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

/// \file
/// Patch sets: the signals that belong to a published background-only likelihood (pyhf, schema
/// 1.0.0).
namespace slalom {

/// Coordinate of a patch, mostly a mass.
using PatchValue = std::variant<double, std::string>;

/// One signal hypothesis.
struct Patch {
  std::string name;                ///< letters, digits and '_'; unique in the set
  std::vector<PatchValue> values;  ///< one per label; unique in the set
  nlohmann::json operations;       ///< for apply_patch
};

/// A patch set, in file order.
struct PatchSet {
  std::map<std::string, std::string> references;  ///< e.g. hepdata: ins1234567
  std::map<std::string, std::string> digests;     ///< algorithm (md5, sha256) to digest
  std::vector<std::string> labels;                ///< what the values of the patches mean
  std::string description;                        ///< for people
  std::string version = "1.0.0";                  ///< of the schema
  std::vector<Patch> patches;                     ///< at least one
};

/// Checks a document against the schema and reads it; the operations of every patch are checked for
/// their form, too. Additional keys of the metadata are ignored, as the schema allows them.
/// \throws Error (patch) with the JSON pointer and what was expected
PatchSet parse_patchset(const nlohmann::json& document);

/// The patch with that name. \throws Error (patch) that names the nearest one
const Patch& find_patch(const PatchSet& set, const std::string& name);

/// The patch with those values; numbers are compared by value.
/// \throws Error (patch) if there is none
const Patch& find_patch(const PatchSet& set, const std::vector<PatchValue>& values);

/// Compares the digests of a document with those that the set was made for.
/// \throws Error (patch) with the digest that was expected and the one that was found
void verify_patchset(const PatchSet& set, const nlohmann::json& document);

/// The document with the patch of that name applied, after verify_patchset(). To leave out the
/// verification, use apply_patch() with the operations of find_patch().
/// \throws Error (patch)
nlohmann::json apply_patchset(const PatchSet& set, const nlohmann::json& document,
                              const std::string& name);

/// A patch set whose patches are read one by one, when they are asked for. A mistake in one of them
/// does not keep the others from being used. Any number of threads may use one.
class LazyPatchSet {
 public:
  /// Reads everything but the patches themselves.
  /// \param text the document
  /// \param source name used in errors, e.g. the path of the file
  /// \throws Error (json, patch) as parse_json() and parse_patchset(), with the source
  explicit LazyPatchSet(std::string text, std::string source = "<input>");

  /// The set; `operations` of its patches are empty.
  const PatchSet& set() const { return set_; }
  /// Reads the operations of a patch.
  /// \param i number of the patch, below set().patches.size()
  /// \throws Error (json, patch) with the place in the file
  nlohmann::json operations(std::size_t i) const;

 private:
  struct Extent {
    std::size_t begin, end;
  };

  std::string text_;
  std::string source_;
  PatchSet set_;
  std::vector<Extent> extents_;  ///< of the operations of each patch
};

}  // namespace slalom
