// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/patch.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "place.hpp"
#include "sealed_workspace.hpp"
#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"
#include "text.hpp"

namespace slalom {
namespace {

using detail::in_quotes;

// As for parse_json: recursive code stays far away from the end of the stack.
constexpr std::size_t max_depth = 200;
// "copy" doubles a document with every operation. Fifty lines would fill any memory.
constexpr std::size_t max_copied = 10'000'000;
constexpr std::size_t shown_value = 60;

/// The reference tokens of a JSON pointer, unescaped.
using Pointer = std::vector<std::string>;

std::string to_text(const Pointer& pointer, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += "/" + detail::pointer_token(pointer[i]);
  return text.empty() ? "the document" : text;
}

std::size_t nodes(const Json& value) {
  std::size_t count = 1;
  if (value.is_structured()) {
    for (const Json& element : value) count += nodes(element);
  }
  return count;
}

std::size_t depth(const Json& value) {
  if (!value.is_structured()) return 0;
  std::size_t deepest = 0;
  for (const Json& element : value) deepest = std::max(deepest, depth(element));
  return deepest + 1;
}

std::string shown(const Json& value) {
  std::string text = python_dumps(value);
  if (text.size() <= shown_value) return text;
  return std::string(detail::type_name(value)) + " that starts with " +
         in_quotes(std::string_view(text).substr(0, shown_value), shown_value);
}

/// One operation: knows how to complain.
class Operation {
 public:
  /// \param operation its JSON form, which must outlive this object
  /// \param mine the same if its value may be moved away, or null
  Operation(const Json& operation, std::size_t index, const std::string& where,
            Json* mine = nullptr)
      : where_(where + "/" + std::to_string(index)), mine_(mine) {
    check_form(operation);
  }

  const std::string& name() const { return name_; }
  const Pointer& path() const { return path_; }
  const Pointer& from() const { return from_; }
  const Json& value() const { return *value_; }
  /// The value for the document: a copy, or the value itself if nobody else needs it.
  Json take_value() const {
    if (mine_ == nullptr) return *value_;
    return std::move((*mine_)["value"]);
  }

  [[noreturn]] void fail(const std::string& message) const {
    const std::string what = name_.empty() ? "" : name_ + " " + in_quotes(path_text_, 200) + ": ";
    throw Error(ErrorKind::patch, what + message, where_);
  }

 private:
  void check_form(const Json& operation) {
    if (!operation.is_object()) {
      fail(std::string("an operation must be an object, found ") + detail::type_name(operation));
    }
    const std::string op = member(operation, "op");
    path_text_ = member(operation, "path");
    static const std::vector<std::string> known = {"add",  "remove", "replace",
                                                   "move", "copy",   "test"};
    if (std::find(known.begin(), known.end(), op) == known.end()) {
      fail("unknown operation " + in_quotes(op) + detail::suggestion(op, known));
    }
    name_ = op;
    path_ = parse(path_text_, "path");
    if (op == "move" || op == "copy") from_ = parse(member(operation, "from"), "from");
    if (op == "add" || op == "replace" || op == "test") {
      const auto found = operation.find("value");
      if (found == operation.end()) fail("missing key 'value'");
      value_ = &*found;
    }
  }

  std::string member(const Json& operation, const char* key) const {
    const auto found = operation.find(key);
    if (found == operation.end()) fail("missing key " + in_quotes(key));
    if (!found->is_string()) {
      fail(in_quotes(key) + " must be a string, found " + detail::type_name(*found));
    }
    return found->get<std::string>();
  }

  Pointer parse(const std::string& text, const char* key) const {
    Pointer pointer;
    if (text.empty()) return pointer;
    if (text.front() != '/') {
      fail(std::string("a JSON pointer starts with '/', ") + key + " is " + in_quotes(text));
    }
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '/') {
        pointer.emplace_back();
        continue;
      }
      if (text[i] != '~') {
        pointer.back() += text[i];
        continue;
      }
      const char escaped = i + 1 < text.size() ? text[i + 1] : '\0';
      if (escaped != '0' && escaped != '1') {
        fail(std::string("'~' must be followed by 0 or 1 in ") + key + " " + in_quotes(text));
      }
      pointer.back() += escaped == '0' ? '~' : '/';
      ++i;
    }
    return pointer;
  }

  std::string where_;
  Json* mine_;
  std::string name_;
  std::string path_text_;
  Pointer path_;
  Pointer from_;
  const Json* value_ = nullptr;
};

std::optional<std::size_t> array_index(const std::string& token) {
  constexpr std::size_t most_digits = 18;
  const bool digits = !token.empty() && token.size() <= most_digits &&
                      token.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || (token.size() > 1 && token.front() == '0')) return std::nullopt;
  return std::stoull(token);
}

/// A document while a patch is applied to it. Parts of it may be sealed; they are opened where an
/// operation goes through them or looks at them.
class PatchedDocument {
 public:
  explicit PatchedDocument(Json document, const detail::SealedWorkspace* seals = nullptr)
      : root_(std::move(document)), seals_(seals) {}

  void apply(const Operation& operation) {
    const std::string& name = operation.name();
    if (name == "add") add(operation, operation.take_value());
    if (name == "remove") remove(operation, operation.path());
    if (name == "replace") replace(operation);
    if (name == "move") move(operation);
    if (name == "copy") copy(operation);
    if (name == "test") test(operation);
  }

  Json take() { return std::move(root_); }

 private:
  /// The value at the first `count` parts of a pointer.
  Json& find(const Operation& operation, const Pointer& pointer, std::size_t count) {
    Json* value = &root_;
    for (std::size_t i = 0; i < count; ++i) value = &child(operation, *value, pointer, i);
    return *value;
  }

  void open(Json& value) const {
    if (seals_ == nullptr || seals_->number(value) == detail::k_not_sealed) return;
    value = Json(seals_->open(value));
  }

  Json& child(const Operation& operation, Json& parent, const Pointer& pointer,
              std::size_t i) const {
    open(parent);
    const std::string& token = pointer[i];
    if (parent.is_array()) {
      const std::optional<std::size_t> index = array_index(token);
      if (!index || *index >= parent.size()) fail_index(operation, parent, pointer, i);
      return parent[*index];
    }
    if (!parent.is_object()) {
      operation.fail(to_text(pointer, i) + " is " + detail::type_name(parent) +
                     ", it has no part " + in_quotes(token));
    }
    const auto found = parent.find(token);
    if (found != parent.end()) return *found;
    std::vector<std::string> keys;
    for (const auto& member : parent.items()) keys.push_back(member.key());
    operation.fail(to_text(pointer, i) + " has no key " + in_quotes(token) +
                   detail::suggestion(token, keys));
  }

  [[noreturn]] static void fail_index(const Operation& operation, const Json& array,
                                      const Pointer& pointer, std::size_t i) {
    operation.fail(to_text(pointer, i) + " has " + std::to_string(array.size()) +
                   (array.size() == 1 ? " element" : " elements") + ", there is no index " +
                   in_quotes(pointer[i]));
  }

  void add(const Operation& operation, Json value) {
    const Pointer& path = operation.path();
    if (path.size() + depth(value) > max_depth) {
      operation.fail("more than " + std::to_string(max_depth) + " levels of arrays and objects");
    }
    if (path.empty()) {
      root_ = std::move(value);
      return;
    }
    const std::size_t last = path.size() - 1;
    Json& parent = find(operation, path, last);
    open(parent);
    if (parent.is_object()) {
      parent[path[last]] = std::move(value);
    } else if (parent.is_array()) {
      insert(operation, parent, std::move(value));
    } else {
      operation.fail(to_text(path, last) + " is " + detail::type_name(parent) +
                     ", nothing can be added to it");
    }
  }

  static void insert(const Operation& operation, Json& array, Json value) {
    const Pointer& path = operation.path();
    const std::size_t last = path.size() - 1;
    const std::optional<std::size_t> index =
        path[last] == "-" ? array.size() : array_index(path[last]);
    if (!index || *index > array.size()) fail_index(operation, array, path, last);
    auto& elements = array.get_ref<Json::array_t&>();
    elements.insert(elements.begin() + static_cast<std::ptrdiff_t>(*index), std::move(value));
  }

  Json remove(const Operation& operation, const Pointer& pointer) {
    if (pointer.empty()) operation.fail("the whole document cannot be removed");
    const std::size_t last = pointer.size() - 1;
    Json& parent = find(operation, pointer, last);
    Json removed = std::move(child(operation, parent, pointer, last));
    if (parent.is_array()) {
      parent.erase(*array_index(pointer[last]));
    } else {
      parent.erase(pointer[last]);
    }
    return removed;
  }

  void replace(const Operation& operation) {
    const Pointer& path = operation.path();
    if (path.size() + depth(operation.value()) > max_depth) {
      operation.fail("more than " + std::to_string(max_depth) + " levels of arrays and objects");
    }
    find(operation, path, path.size()) = operation.take_value();
  }

  void move(const Operation& operation) {
    const Pointer& from = operation.from();
    const Pointer& path = operation.path();
    find(operation, from, from.size());
    if (from == path) return;
    if (from.size() < path.size() && std::equal(from.begin(), from.end(), path.begin())) {
      operation.fail("a value cannot be moved into itself (from " +
                     in_quotes(to_text(from, from.size())) + ")");
    }
    add(operation, remove(operation, from));
  }

  void copy(const Operation& operation) {
    Json value = find(operation, operation.from(), operation.from().size());
    copied_ += nodes(value);
    if (copied_ > max_copied) {
      operation.fail("the patch copies more than " + std::to_string(max_copied) + " values");
    }
    add(operation, std::move(value));
  }

  void test(const Operation& operation) {
    Json& found = find(operation, operation.path(), operation.path().size());
    if (seals_ != nullptr) seals_->open_all(found);
    if (found == operation.value()) return;
    operation.fail("expected " + shown(operation.value()) + ", found " + shown(found));
  }

  Json root_;
  const detail::SealedWorkspace* seals_;
  std::size_t copied_ = 0;
};

void check_is_array(const Json& operations, const std::string& where) {
  if (operations.is_array()) return;
  throw Error(
      ErrorKind::patch,
      std::string("a patch is an array of operations, found ") + detail::type_name(operations),
      where);
}

}  // namespace

nlohmann::json apply_patch(nlohmann::json document, const nlohmann::json& operations,
                           const std::string& where) {
  check_is_array(operations, where);
  PatchedDocument patched(std::move(document));
  for (std::size_t i = 0; i < operations.size(); ++i) {
    patched.apply(Operation(operations[i], i, where));
  }
  return patched.take();
}

nlohmann::json detail::apply_patch(const SealedWorkspace& workspace, nlohmann::json operations,
                                   const std::string& where) {
  check_is_array(operations, where);
  PatchedDocument patched(workspace.document(), &workspace);
  for (std::size_t i = 0; i < operations.size(); ++i) {
    patched.apply(Operation(operations[i], i, where, &operations[i]));
  }
  return patched.take();
}

void check_patch(const nlohmann::json& operations, const std::string& where) {
  check_is_array(operations, where);
  for (std::size_t i = 0; i < operations.size(); ++i) Operation(operations[i], i, where);
}

}  // namespace slalom
