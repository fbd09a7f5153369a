// SPDX-License-Identifier: Apache-2.0
#include "json_tape.hpp"

#include <simdjson.h>
#include <string>
#include <utility>

namespace slalom::detail {

namespace {

using Json = nlohmann::json;
namespace dom = simdjson::dom;

/// What simdjson made of a text, copied into nlohmann's types.
class TapeReader {
 public:
  explicit TapeReader(std::size_t max_depth) : max_depth_(max_depth) {}

  /// False where the document is not one that this reader may decide about.
  bool read(const dom::element& element, Json& value, std::size_t depth) const {
    switch (element.type()) {
      case dom::element_type::ARRAY:
        return read_array(element, value, depth + 1);
      case dom::element_type::OBJECT:
        return read_object(element, value, depth + 1);
      case dom::element_type::INT64:
        value = signed_or_not(element);
        return true;
      case dom::element_type::UINT64:
        value = std::uint64_t(element.get_uint64());
        return true;
      case dom::element_type::DOUBLE:
        value = double(element.get_double());
        return true;
      case dom::element_type::STRING:
        value = std::string_view(element.get_string());
        return true;
      case dom::element_type::BOOL:
        value = bool(element.get_bool());
        return true;
      case dom::element_type::NULL_VALUE:
        value = nullptr;
        return true;
    }
    return false;
  }

 private:
  /// nlohmann's parser has numbers without a sign as unsigned.
  static Json signed_or_not(const dom::element& element) {
    const std::int64_t number = element.get_int64();
    return number < 0 ? Json(number) : Json(static_cast<std::uint64_t>(number));
  }

  bool read_array(const dom::array& elements, Json& value, std::size_t depth) const {
    if (depth > max_depth_) return false;
    value = Json::value_t::array;
    auto& array = value.get_ref<Json::array_t&>();
    array.reserve(elements.size());
    for (const dom::element element : elements) {
      if (!read(element, array.emplace_back(), depth)) return false;
    }
    return true;
  }

  bool read_object(const dom::object& members, Json& value, std::size_t depth) const {
    if (depth > max_depth_) return false;
    value = Json::value_t::object;
    auto& object = value.get_ref<Json::object_t&>();
    for (const auto member : members) {
      const auto [place, inserted] = object.try_emplace(std::string(member.key));
      if (!inserted || !read(member.value, place->second, depth)) return false;
    }
    return true;
  }

  std::size_t max_depth_;
};

}  // namespace

std::optional<Json> read_tape(std::string_view text, std::size_t max_depth) {
  // Memory that is asked for and given back for every text costs as much as reading a small one.
  constexpr std::size_t usual = 1 << 18;
  thread_local dom::parser kept(usual);
  thread_local std::string copy;  // with room behind it, as simdjson wants it
  const bool large = text.size() > usual;
  dom::parser own(large ? text.size() : 0);
  dom::element root;
  if (!large) {
    copy.reserve(usual + simdjson::SIMDJSON_PADDING);
    copy.assign(text);
  }
  const auto parsed =
      large ? own.parse(text.data(), text.size()) : kept.parse(copy.data(), copy.size(), false);
  if (parsed.get(root) != simdjson::SUCCESS) return std::nullopt;
  std::optional<Json> document(std::in_place);
  if (!TapeReader(max_depth).read(root, *document, 0)) return std::nullopt;
  return document;
}

}  // namespace slalom::detail
