// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/modules/schedule.hpp"

/// \file
/// Options as JSON objects. A function that names each member of a struct once, with its help and
/// limits, is all that is needed to read it strictly, to write it in full, and to make its schema.
namespace slalom {

/// Range of a number; ends included unless said otherwise.
struct Limits {
  double low = -std::numeric_limits<double>::infinity();  ///< smallest
  double high = std::numeric_limits<double>::infinity();  ///< largest
  bool above = false;                                     ///< whether `low` is excluded
  bool below = false;                                     ///< whether `high` is excluded
};
/// x > 0.
inline constexpr Limits k_positive{.low = 0.0, .above = true};
/// x >= 0.
inline constexpr Limits k_not_negative{.low = 0.0};
/// 0 <= x <= 1.
inline constexpr Limits k_share{.low = 0.0, .high = 1.0};

/// Visits the members of a struct. `key` is the name in JSON; `value` holds the default when it is
/// called, and after it what was read.
class Fields {
 public:
  /// Members of an object.
  using Members = std::function<void(Fields&)>;

  virtual ~Fields() = default;
  /// A finite number.
  virtual void number(const std::string& key, double& value, const std::string& help,
                      const Limits& limits = {}) = 0;
  /// A finite number, or null.
  virtual void optional_number(const std::string& key, std::optional<double>& value,
                               const std::string& help, const Limits& limits = {}) = 0;
  /// An integer of 64 bits.
  virtual void integer(const std::string& key, std::int64_t& value, const std::string& help,
                       const Limits& limits = {}) = 0;
  /// true or false.
  virtual void flag(const std::string& key, bool& value, const std::string& help) = 0;
  /// A text.
  virtual void text(const std::string& key, std::string& value, const std::string& help) = 0;
  /// One of several words, as its index.
  virtual void word(const std::string& key, std::size_t& value,
                    const std::vector<std::string>& words, const std::string& help) = 0;
  /// A list of numbers.
  virtual void numbers(const std::string& key, std::vector<double>& values, const std::string& help,
                       const Limits& limits = {}) = 0;
  /// A list of integers.
  virtual void integers(const std::string& key, std::vector<std::int64_t>& values,
                        const std::string& help, const Limits& limits = {}) = 0;
  /// A list of texts.
  virtual void texts(const std::string& key, std::vector<std::string>& values,
                     const std::string& help) = 0;
  /// A number, or a schedule: an object of the members of Schedule.
  virtual void schedule(const std::string& key, Schedule& value, const std::string& help,
                        const Limits& limits = {}) = 0;
  /// An object.
  virtual void object(const std::string& key, const std::string& help, const Members& members) = 0;
  /// A list of objects. \param size their number, and a way to change it
  /// \param element members of one of them
  virtual void objects(const std::string& key, std::size_t size,
                       const std::function<void(std::size_t)>& resize, const std::string& help,
                       const std::function<void(Fields&, std::size_t)>& element) = 0;

  /// One of the words of an enumeration, which are in the order of its values from 0 on.
  template <class Enum>
  void choice(const std::string& key, Enum& value, const std::vector<std::string>& words,
              const std::string& help) {
    auto index = static_cast<std::size_t>(value);
    word(key, index, words, help);
    value = static_cast<Enum>(index);
  }
  /// A list of structs. \param members visits those of one
  template <class T>
  void list(const std::string& key, std::vector<T>& values, const std::string& help,
            void (*members)(Fields&, T&)) {
    const std::vector<T> before = values;
    objects(
        key, values.size(), [&](std::size_t n) { values.assign(n, T{}); }, help,
        [&](Fields& fields, std::size_t i) {
          T element = i < values.size() ? values[i] : T{};
          members(fields, element);
          if (i < values.size()) values[i] = element;
        });
  }
};

/// Reads an object into the members that `members` visits. What is absent keeps its default.
/// \param where JSON pointer of the object, "" for the document
/// \throws Error (usage) with the JSON pointer: an unknown key, with the nearest known one; a value
///   of another type or out of range, with what was expected
void read_fields(const Json& object, const std::string& where, const Fields::Members& members);

/// The members with their values, in the order in which they are visited.
nlohmann::ordered_json write_fields(const Fields::Members& members);

/// A JSON Schema (2020-12) of the members, with their defaults and help.
nlohmann::ordered_json fields_schema(const Fields::Members& members);

/// Parses JSON with comments: `//` to the end of the line and `/* */`, outside of texts. Otherwise
/// as parse_json(), with the same places in errors.
Json parse_commented_json(const std::string& text, const std::string& source);

/// Puts a value into a document: `a.b.2.c=VALUE`, VALUE being JSON, or a text if it is not. Objects
/// that are not there are made.
/// \throws Error (usage) for an assignment without `=`, an index out of range, or a path through
///   what is neither object nor list
void set_value(Json& document, const std::string& assignment);

}  // namespace slalom
