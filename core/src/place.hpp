// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "slalom/core/error.hpp"

/// \file
/// Checked reading of JSON documents: every failure names its JSON pointer.
namespace slalom::detail {

/// A place in a document, as a chain through the frames of the callers. No string is made unless
/// something is wrong, so carrying it costs nothing.
class Place {
 public:
  /// The whole document; `kind` is that of the errors.
  explicit Place(ErrorKind kind) : kind_(kind) {}
  /// A member of the object at this place; `key` must outlive the result.
  Place at(std::string_view key) const { return Place(this, key, 0, true); }
  /// An element of the array at this place.
  Place at(std::size_t index) const { return Place(this, {}, index, false); }

  /// RFC 6901 pointer; empty for the whole document.
  std::string pointer() const;
  /// \throws Error of the kind of the document
  [[noreturn]] void fail(const std::string& message) const;

 private:
  Place(const Place* parent, std::string_view key, std::size_t index, bool is_key)
      : kind_(parent->kind_), parent_(parent), key_(key), index_(index), is_key_(is_key) {}

  ErrorKind kind_;
  const Place* parent_ = nullptr;
  std::string_view key_;
  std::size_t index_ = 0;
  bool is_key_ = false;
};

/// One reference token of a JSON pointer, escaped.
std::string pointer_token(std::string_view key);

/// "an object", "a string", "null", ... for messages.
const char* type_name(const nlohmann::json& value);

/// \throws Error unless it is an object with all `required` keys and no others than those and
///   `optional`; an unknown key is reported with the nearest known one
void check_object(const nlohmann::json& value, const Place& place,
                  std::initializer_list<const char*> required,
                  std::initializer_list<const char*> optional = {});

/// \throws Error unless it is an array with at least `minimum` elements
void check_array(const nlohmann::json& value, const Place& place, std::size_t minimum);

/// \throws Error unless it is a string
const std::string& read_string(const nlohmann::json& value, const Place& place);

/// \throws Error unless it is a string with at least one character
const std::string& read_name(const nlohmann::json& value, const Place& place);

/// \throws Error unless it is a finite number; true and false are none
double read_number(const nlohmann::json& value, const Place& place);

/// \throws Error unless it is an array of at least one number
std::vector<double> read_numbers(const nlohmann::json& value, const Place& place);

}  // namespace slalom::detail
