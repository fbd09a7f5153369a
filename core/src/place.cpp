// SPDX-License-Identifier: Apache-2.0
#include "place.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "text.hpp"

namespace slalom::detail {

std::string pointer_token(std::string_view key) {
  std::string result;
  for (const char c : key) {
    if (c == '~') {
      result += "~0";
    } else if (c == '/') {
      result += "~1";
    } else {
      result += c;
    }
  }
  return result;
}

std::string Place::pointer() const {
  if (parent_ == nullptr) return {};
  return parent_->pointer() + "/" + (is_key_ ? pointer_token(key_) : std::to_string(index_));
}

void Place::fail(const std::string& message) const { throw Error(kind_, message, pointer()); }

const char* type_name(const nlohmann::json& value) {
  switch (value.type()) {
    case nlohmann::json::value_t::null:
      return "null";
    case nlohmann::json::value_t::boolean:
      return "a boolean";
    case nlohmann::json::value_t::string:
      return "a string";
    case nlohmann::json::value_t::array:
      return "an array";
    case nlohmann::json::value_t::object:
      return "an object";
    default:
      return "a number";
  }
}

namespace {

bool contains(std::initializer_list<const char*> list, const std::string& key) {
  return std::find(list.begin(), list.end(), key) != list.end();
}

[[noreturn]] void fail_unknown_key(const std::string& key, const Place& place,
                                   std::initializer_list<const char*> required,
                                   std::initializer_list<const char*> optional) {
  std::vector<std::string> known(required.begin(), required.end());
  known.insert(known.end(), optional.begin(), optional.end());
  place.at(key).fail("unknown key " + in_quotes(key) + suggestion(key, known));
}

}  // namespace

void check_object(const nlohmann::json& value, const Place& place,
                  std::initializer_list<const char*> required,
                  std::initializer_list<const char*> optional) {
  if (!value.is_object()) {
    place.fail(std::string("an object expected, found ") + type_name(value));
  }
  const auto& object = value.get_ref<const nlohmann::json::object_t&>();
  // Unknown keys first: a misspelt key is then named itself, not as the missing correct one.
  for (const auto& [key, member] : object) {
    if (!contains(required, key) && !contains(optional, key)) {
      fail_unknown_key(key, place, required, optional);
    }
  }
  for (const char* key : required) {
    if (object.find(key) == object.end()) place.fail("missing key '" + std::string(key) + "'");
  }
}

void check_array(const nlohmann::json& value, const Place& place, std::size_t minimum) {
  if (!value.is_array()) place.fail(std::string("an array expected, found ") + type_name(value));
  if (value.size() < minimum) {
    place.fail("at least " + std::to_string(minimum) + " element" + (minimum == 1 ? "" : "s") +
               " expected, found " + std::to_string(value.size()));
  }
}

const std::string& read_string(const nlohmann::json& value, const Place& place) {
  if (!value.is_string()) place.fail(std::string("a string expected, found ") + type_name(value));
  return value.get_ref<const std::string&>();
}

const std::string& read_name(const nlohmann::json& value, const Place& place) {
  const std::string& name = read_string(value, place);
  if (name.empty()) place.fail("a name expected, found an empty string");
  return name;
}

double read_number(const nlohmann::json& value, const Place& place) {
  if (!value.is_number()) place.fail(std::string("a number expected, found ") + type_name(value));
  const double number = value.get<double>();
  if (!std::isfinite(number)) place.fail("a finite number expected");
  return number;
}

std::vector<double> read_numbers(const nlohmann::json& value, const Place& place) {
  check_array(value, place, 1);
  std::vector<double> result;
  result.reserve(value.size());
  for (std::size_t i = 0; i < value.size(); ++i) {
    result.push_back(read_number(value[i], place.at(i)));
  }
  return result;
}

}  // namespace slalom::detail
