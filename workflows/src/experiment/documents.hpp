// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"
#include "slalom/workflows/fields.hpp"

/// \file
/// What experiments, studies and searches have in common as documents and directories.
namespace slalom::experiment {

/// Whether the member `kind` of a document is that one; documents of experiments and studies have
/// none. \throws Error (usage) for a kind that does not exist
inline bool has_kind(const Json& document, const std::string& kind) {
  if (!document.is_object()) return false;
  const auto found = document.find("kind");
  if (found == document.end()) return false;
  if (*found != "resonance" && *found != "mixture") {
    throw Error(ErrorKind::usage, "expected resonance or mixture, got " + found->dump(), "/kind");
  }
  return *found == kind;
}

/// The member `kind` as a field.
inline void kind_field(Fields& fields, const std::string& kind) {
  std::string value = kind;
  fields.text("kind", value, kind);
  if (value != kind) {
    throw Error(ErrorKind::usage, "expected " + kind + ", got '" + value + "'", "/kind");
  }
}

/// A seed: an integer that every JSON reader keeps, below 2^53.
inline void seed_field(Fields& fields, const std::string& key, std::uint64_t& value,
                       const std::string& help) {
  constexpr double k_exact = 9007199254740991.0;  // 2^53 - 1
  auto number = static_cast<std::int64_t>(value);
  fields.integer(key, number, help, {.low = 0.0, .high = k_exact});
  value = static_cast<std::uint64_t>(number);
}

/// fields_schema() as a document of its own.
inline nlohmann::ordered_json document_schema(const std::string& title,
                                              const Fields::Members& members) {
  nlohmann::ordered_json schema;
  schema["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  schema["title"] = title;
  const auto body = fields_schema(members);
  for (const auto& item : body.items()) schema[item.key()] = item.value();
  return schema;
}

/// With all folders above it. \throws Error (io)
inline void make_directory(const std::filesystem::path& directory) {
  std::error_code failure;
  std::filesystem::create_directories(directory, failure);
  if (failure) {
    throw Error(ErrorKind::io, "cannot make the directory: " + failure.message(),
                directory.string());
  }
}

}  // namespace slalom::experiment
