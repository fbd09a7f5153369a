// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/json.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "json_tape.hpp"
#include "place.hpp"
#include "slalom/core/error.hpp"
#include "text.hpp"

namespace slalom {
namespace {

// Workspaces are 8 levels deep. The limit keeps recursive code (copying, comparing and writing
// documents) far away from the end of the stack, whatever a file contains.
constexpr std::size_t max_depth = 200;

// `source:line:column` of a byte of the text, both counted from one, columns in bytes.
std::string location(const std::string& source, std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, std::min(offset, text.size()));
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const std::size_t newline = before.rfind('\n');
  const std::size_t start = newline == std::string_view::npos ? 0 : newline + 1;
  return source + ":" + std::to_string(line) + ":" + std::to_string(before.size() - start + 1);
}

// Number of bytes of a token as the parser reports it, which writes control characters <U+XXXX>.
std::size_t token_length(const std::string& token) {
  constexpr std::size_t escape = 8;
  std::size_t length = 0;
  for (std::size_t i = 0; i < token.size(); ++length) {
    const bool escaped = token.compare(i, 3, "<U+") == 0 && i + escape <= token.size() &&
                         token[i + escape - 1] == '>';
    i += escaped ? escape : 1;
  }
  return length;
}

// What the parser complains about, without its own account of the place and the text it read.
std::string complaint(const std::string& what) {
  std::string message = what.substr(std::min(what.find("] ") + 2, what.size()));
  if (message.rfind("parse error at ", 0) == 0) {
    message = message.substr(std::min(message.find(": ") + 2, message.size()));
  }
  const std::size_t expected = message.rfind("; expected ");
  const std::string tail = expected == std::string::npos ? "" : message.substr(expected);
  const std::size_t read = message.find("; last read: ");
  return read == std::string::npos ? message : message.substr(0, read) + tail;
}

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '+' || c == '-' || c == '.';
}

bool starts_with_any(std::string_view text, std::initializer_list<std::string_view> prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](std::string_view prefix) {
    return text.substr(0, prefix.size()) == prefix;
  });
}

// Builds the document from the parser's events; nlohmann's own builder keeps the last of two equal
// keys and has no limit on the depth.
class DocumentBuilder {
 public:
  DocumentBuilder(std::string_view text, const std::string& source)
      : text_(text), source_(source) {}

  Json take() { return std::move(root_); }

  bool null() { return add(nullptr) != nullptr; }
  bool boolean(bool value) { return add(value) != nullptr; }
  bool number_integer(Json::number_integer_t value) { return add(value) != nullptr; }
  bool number_unsigned(Json::number_unsigned_t value) { return add(value) != nullptr; }
  bool number_float(double value, const std::string&) { return add(value) != nullptr; }
  bool string(std::string& value) { return add(std::move(value)) != nullptr; }
  bool binary(Json::binary_t&) { return false; }  // never sent for text
  bool start_object(std::size_t) { return open(Json::value_t::object); }
  bool start_array(std::size_t) { return open(Json::value_t::array); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    Level& level = levels_.back();
    auto& object = level.container->get_ref<Json::object_t&>();
    const auto [member, inserted] = object.try_emplace(std::move(name));
    level.key = &member->first;
    level.member = &member->second;
    if (!inserted) {
      throw Error(ErrorKind::json, "duplicate key " + detail::in_quotes(member->first),
                  source_ + "#" + pointer());
    }
    return true;
  }

  bool parse_error(std::size_t position, const std::string& token,
                   const nlohmann::detail::exception& error) {
    const std::size_t end = std::min(position, text_.size() + 1);
    const std::string message = complaint(error.what());
    const std::size_t offset = token_start(message, end, token);
    throw Error(ErrorKind::json, explain(message, offset, token), location(source_, text_, offset));
  }

 private:
  struct Level {
    Json* container;
    const std::string* key = nullptr;  // of the member that is being read, in an object
    Json* member = nullptr;            // its value
  };

  // Where the token that ends at `end` starts. What the parser calls the last token is one only for
  // numbers and strings; before other tokens it has everything since the last of those.
  std::size_t token_start(const std::string& message, std::size_t end,
                          const std::string& token) const {
    const auto says = [&](const char* part) { return message.find(part) != std::string::npos; };
    if (end == 0 || end > text_.size()) return text_.size();
    // A broken string is broken where reading stopped.
    if (says("invalid string")) return end - 1;
    if (says("number") || says("unexpected string"))
      return end - std::min(end, token_length(token));
    std::size_t start = end - 1;
    if (says("invalid literal") || is_word(text_[start])) {
      while (start > 0 && is_word(text_[start - 1])) --start;
    }
    return start;
  }

  template <class Value>
  Json* add(Value&& value) {
    if (levels_.empty()) {
      root_ = Json(std::forward<Value>(value));
      return &root_;
    }
    Level& level = levels_.back();
    if (level.member != nullptr) {
      *level.member = Json(std::forward<Value>(value));
      return level.member;
    }
    return &level.container->get_ref<Json::array_t&>().emplace_back(std::forward<Value>(value));
  }

  bool open(Json::value_t type) {
    if (levels_.size() >= max_depth) fail_depth();
    constexpr std::size_t usual = 4;
    Json* container = add(type);
    if (type == Json::value_t::array) container->get_ref<Json::array_t&>().reserve(usual);
    levels_.push_back({container});
    return true;
  }

  bool close() {
    levels_.pop_back();
    return true;
  }

  std::string pointer() const {
    std::string result;
    for (const Level& level : levels_) {
      result += "/";
      result += level.key != nullptr ? detail::pointer_token(*level.key)
                                     : std::to_string(level.container->size() - 1);
    }
    return result;
  }

  // The parser does not tell the place of a bracket, so count again up to the one too many.
  [[noreturn]] void fail_depth() const {
    std::size_t depth = 0;
    bool in_string = false;
    std::size_t offset = 0;
    for (; offset < text_.size(); ++offset) {
      const char c = text_[offset];
      if (in_string) {
        if (c == '\\') ++offset;
        if (c == '"') in_string = false;
      } else if (c == '"') {
        in_string = true;
      } else if (c == '[' || c == '{') {
        if (++depth > max_depth) break;
      } else if (c == ']' || c == '}') {
        --depth;
      }
    }
    throw Error(ErrorKind::json,
                "more than " + std::to_string(max_depth) + " levels of arrays and objects",
                location(source_, text_, offset));
  }

  std::string explain(const std::string& message, std::size_t offset,
                      const std::string& token) const {
    const std::string_view rest = text_.substr(std::min(offset, text_.size()));
    if (text_.find_first_not_of(" \t\r\n") == std::string_view::npos) return "the text is empty";
    if (rest.empty()) return "the text ends too early (" + message + ")";
    if (starts_with_any(rest, {"NaN", "nan", "Infinity", "inf", "-Infinity", "-inf"})) {
      return "NaN and Infinity are no JSON numbers";
    }
    if (message.rfind("number overflow", 0) == 0) {
      return "the number " + detail::in_quotes(token, 40) + " does not fit into a double";
    }
    return message + ", found " + detail::in_quotes(rest.substr(0, 24), 20);
  }

  std::string_view text_;
  const std::string& source_;
  Json root_;
  std::vector<Level> levels_;
};

}  // namespace

namespace {

constexpr std::string_view k_byte_order_mark = "\xEF\xBB\xBF";

Json parse(std::string_view text, const std::string& source) {
  // The parser would skip a mark of its own, and take a zero byte for the end of the text.
  if (text.substr(0, k_byte_order_mark.size()) == k_byte_order_mark) {
    throw Error(ErrorKind::json, "a second byte order mark", location(source, text, 0));
  }
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos) {
    throw Error(ErrorKind::json, "a zero byte, which JSON does not have",
                location(source, text, zero));
  }
  DocumentBuilder builder(text, source);
  // Pointers rather than string_view iterators: the parser then takes its fast contiguous path.
  const char* begin = text.empty() ? "" : text.data();
  Json::sax_parse(begin, begin + text.size(), &builder);
  return builder.take();
}

}  // namespace

Json parse_json(std::string_view text, const std::string& source) {
  if (text.substr(0, k_byte_order_mark.size()) == k_byte_order_mark) {
    text.remove_prefix(k_byte_order_mark.size());
  }
  // The slow reader accepts the same documents, has fewer limits, and says where an error is.
  if (std::optional<Json> document = detail::read_tape(text, max_depth))
    return *std::move(document);
  return parse(text, source);
}

Json read_json(const std::filesystem::path& path) {
  return parse_json(read_text(path), path == "-" ? "<stdin>" : path.string());
}

}  // namespace slalom
