// SPDX-License-Identifier: Apache-2.0
#include "cli/result.hpp"

#include <algorithm>
#include <cmath>

namespace slalom::cli {

namespace {

void write(const OrderedJson& node, std::size_t depth, std::string& text);

void new_line(std::size_t depth, std::string& text) {
  text += '\n';
  text.append(2 * depth, ' ');
}

void write_array(const OrderedJson& node, std::size_t depth, std::string& text) {
  const auto nested = [](const OrderedJson& item) { return item.is_structured(); };
  const bool one_line = std::none_of(node.begin(), node.end(), nested);
  text += '[';
  bool first = true;
  for (const OrderedJson& item : node) {
    if (!first) text += one_line ? ", " : ",";
    if (!one_line) new_line(depth + 1, text);
    write(item, depth + 1, text);
    first = false;
  }
  if (!one_line) new_line(depth, text);
  text += ']';
}

void write_object(const OrderedJson& node, std::size_t depth, std::string& text) {
  text += '{';
  bool first = true;
  for (const auto& [key, value] : node.get_ref<const OrderedJson::object_t&>()) {
    if (!first) text += ',';
    new_line(depth + 1, text);
    text += OrderedJson(key).dump();
    text += ": ";
    write(value, depth + 1, text);
    first = false;
  }
  if (!first) new_line(depth, text);
  text += '}';
}

void write(const OrderedJson& node, std::size_t depth, std::string& text) {
  if (node.is_array()) {
    write_array(node, depth, text);
  } else if (node.is_object()) {
    write_object(node, depth, text);
  } else {
    text += node.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  }
}

}  // namespace

double finite(double value, const std::string& what) {
  if (!std::isfinite(value)) {
    throw Error(ErrorKind::numerical, "the value is not defined at this point", what);
  }
  return value;
}

OrderedJson number_or_null(double value) {
  return std::isfinite(value) ? OrderedJson(value) : OrderedJson(nullptr);
}

OrderedJson number_array(std::span<const double> values, const std::string& what) {
  OrderedJson::array_t array;
  array.reserve(values.size());
  for (const double value : values) array.emplace_back(finite(value, what));
  return OrderedJson(std::move(array));
}

void append(OrderedJson& object, const std::string& key, OrderedJson value) {
  if (object.is_null()) object = OrderedJson::object();
  using Members = OrderedJson::object_t::Container;
  auto& members = static_cast<Members&>(object.get_ref<OrderedJson::object_t&>());
  members.emplace_back(key, std::move(value));
}

OrderedJson to_json(const Warnings& warnings) {
  OrderedJson array = OrderedJson::array();
  for (const Warning& warning : warnings) {
    array.push_back({{"message", warning.message}, {"where", warning.where}});
  }
  return array;
}

std::string dump(const OrderedJson& document) {
  std::string text;
  write(document, 0, text);
  text += '\n';
  return text;
}

}  // namespace slalom::cli
