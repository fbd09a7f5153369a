// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "place.hpp"
#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"
#include "text.hpp"

namespace slalom {
namespace {

// Places where Python's repr changes to the exponent form: 1e-05 and 1e+16.
constexpr int smallest_exponent = -4;
constexpr int largest_exponent = 15;
// What fits into this many columns goes on one line.
constexpr std::size_t line_width = 96;

template <class Integer>
void append_integer(std::string& out, Integer value) {
  std::array<char, 24> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  out.append(buffer.data(), end);
}

// Shortest digits that read back exactly, arranged as Python's repr arranges them.
void append_float(std::string& out, double value) {
  if (!std::isfinite(value)) throw Error(ErrorKind::json, "NaN and Infinity are no JSON numbers");
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::scientific)
                       .ptr;
  std::string_view text(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  const std::size_t mark = text.find('e');
  const bool negative_exponent = text[mark + 1] == '-';
  int exponent = 0;
  std::from_chars(text.data() + mark + 2, end, exponent);
  if (negative_exponent) exponent = -exponent;
  if (exponent < smallest_exponent || exponent > largest_exponent) {
    out += text;
    return;
  }
  if (text.front() == '-') {
    out += '-';
    text.remove_prefix(1);
  }
  std::string digits(1, text.front());
  const std::size_t last = text.find('e');
  if (last > 2) digits += text.substr(2, last - 2);
  if (exponent < 0) {
    out += "0.";
    out.append(static_cast<std::size_t>(-exponent - 1), '0');
    out += digits;
    return;
  }
  const std::size_t integers = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() < integers) digits.append(integers - digits.size(), '0');
  out.append(digits, 0, integers);
  out += '.';
  out += digits.size() > integers ? digits.substr(integers) : "0";
}

void append_string(std::string& out, const std::string& text) {
  constexpr const char* hexadecimal = "0123456789abcdef";
  out += '"';
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = detail::utf8_length(text, i);
    if (length == 0) {
      throw Error(ErrorKind::json, "invalid UTF-8 in " + detail::in_quotes(text));
    }
    const char c = text[i];
    if (length > 1) {
      out.append(text, i, length);
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) >= 0x20) {
      out += c;
    } else if (const std::size_t known = std::string_view("\b\t\n\f\r").find(c);
               known != std::string_view::npos) {
      out += '\\';
      out += "btnfr"[known];
    } else {
      out += "\\u00";
      out += hexadecimal[c >> 4];
      out += hexadecimal[c & 0xF];
    }
    i += length;
  }
  out += '"';
}

void append_scalar(std::string& out, const Json& value) {
  switch (value.type()) {
    case Json::value_t::boolean:
      out += value.get<bool>() ? "true" : "false";
      return;
    case Json::value_t::number_integer:
      return append_integer(out, value.get<Json::number_integer_t>());
    case Json::value_t::number_unsigned:
      return append_integer(out, value.get<Json::number_unsigned_t>());
    case Json::value_t::number_float:
      return append_float(out, value.get<double>());
    case Json::value_t::string:
      return append_string(out, value.get_ref<const std::string&>());
    case Json::value_t::null:
      out += "null";
      return;
    default:
      throw Error(ErrorKind::json, "binary data cannot be written as JSON");
  }
}

// One line with Python's separators.
void append_compact(std::string& out, const Json& value) {
  const char* separator = "";
  if (value.is_object()) {
    out += '{';
    for (const auto& [key, member] : value.get_ref<const Json::object_t&>()) {
      out += separator;
      append_string(out, key);
      out += ": ";
      append_compact(out, member);
      separator = ", ";
    }
    out += '}';
  } else if (value.is_array()) {
    out += '[';
    for (const Json& element : value) {
      out += separator;
      append_compact(out, element);
      separator = ", ";
    }
    out += ']';
  } else {
    append_scalar(out, value);
  }
}

// Lines and indentation for people. Lists of numbers and small objects keep to one line, because a
// workspace with one number per line cannot be read.
class ReadableWriter {
 public:
  ReadableWriter(std::string& out, std::size_t indent) : out_(out), indent_(indent) {}

  void write(const Json& value, std::size_t level) {
    if (!value.is_structured()) return append_scalar(out_, value);
    if (value.empty() || (level > 0 && is_simple(value))) {
      const std::size_t start = out_.size();
      append_compact(out_, value);
      if (value.empty() || out_.size() - start + level * indent_ <= line_width) return;
      out_.resize(start);
    }
    const bool fill = value.is_array() && has_only_numbers(value);
    out_ += value.is_object() ? '{' : '[';
    fill ? write_filled(value, level + 1) : write_elements(value, level + 1);
    new_line(level);
    out_ += value.is_object() ? '}' : ']';
  }

 private:
  // No object inside, and short enough that trying costs nothing.
  static bool is_simple(const Json& value) {
    if (value.size() > line_width) return false;
    for (const Json& element : value) {
      if (element.is_object() && !element.empty()) return false;
      if (element.is_array() && !has_only_numbers(element)) return false;
    }
    return true;
  }

  static bool has_only_numbers(const Json& array) {
    for (const Json& element : array) {
      if (!element.is_number()) return false;
    }
    return true;
  }

  void write_elements(const Json& value, std::size_t level) {
    const char* separator = "";
    for (auto element = value.begin(); element != value.end(); ++element) {
      out_ += separator;
      new_line(level);
      if (value.is_object()) {
        append_string(out_, element.key());
        out_ += ": ";
      }
      write(*element, level);
      separator = ",";
    }
  }

  void write_filled(const Json& numbers, std::size_t level) {
    std::string number;
    std::size_t column = line_width + 1;
    const char* separator = "";
    for (const Json& element : numbers) {
      number.clear();
      append_scalar(number, element);
      out_ += separator;
      if (column + number.size() > line_width) {
        new_line(level);
        column = level * indent_;
      } else {
        out_ += ' ';
      }
      out_ += number;
      column += number.size() + 2;
      separator = ",";
    }
  }

  void new_line(std::size_t level) {
    out_ += '\n';
    out_.append(level * indent_, ' ');
  }

  std::string& out_;
  std::size_t indent_;
};

}  // namespace

std::string dump_json(const Json& document, int indent) {
  std::string text;
  if (indent < 0) {
    append_compact(text, document);
  } else {
    ReadableWriter(text, static_cast<std::size_t>(indent)).write(document, 0);
  }
  return text;
}

std::string python_dumps(const Json& document) {
  std::string text;
  append_compact(text, document);
  return text;
}

}  // namespace slalom
