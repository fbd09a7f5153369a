// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/patchset.hpp"

#include <algorithm>
#include <cctype>
#include <optional>
#include <set>
#include <string_view>

#include "json_scanner.hpp"
#include "place.hpp"
#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/patch.hpp"
#include "text.hpp"

namespace slalom {
namespace {

using detail::check_array;
using detail::check_object;
using detail::in_quotes;
using detail::Place;
using detail::read_string;

bool is_hexadecimal(std::string_view text) {
  return text.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// Metadata may have keys of its own, so only what must be there is looked for.
const Json& require(const Json& object, const char* key, const Place& place) {
  if (!object.is_object()) {
    place.fail(std::string("an object expected, found ") + detail::type_name(object));
  }
  const auto found = object.find(key);
  if (found == object.end()) place.fail("missing key " + in_quotes(key));
  return *found;
}

// What the schema writes ^[a-zA-Z0-9_]+$.
std::string read_identifier(const Json& value, const Place& place) {
  const std::string& name = read_string(value, place);
  const bool valid = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
  if (!valid) {
    place.fail("a name of letters, digits and '_' expected, found " + in_quotes(name));
  }
  return name;
}

std::map<std::string, std::string> read_references(const Json& value, const Place& place) {
  check_object(value, place, {"hepdata"});
  const std::string& record = read_string(value["hepdata"], place.at("hepdata"));
  constexpr std::size_t length = 10;
  const bool valid = record.size() == length && record.rfind("ins", 0) == 0 &&
                     record.find_first_not_of("0123456789", 3) == std::string::npos;
  if (!valid) {
    place.at("hepdata").fail("'ins' and seven digits expected, found " + in_quotes(record));
  }
  return {{"hepdata", record}};
}

std::map<std::string, std::string> read_digests(const Json& value, const Place& place) {
  check_object(value, place, {}, {"md5", "sha256"});
  if (value.empty()) place.fail("at least one of 'md5' and 'sha256' expected");
  std::map<std::string, std::string> digests;
  for (const auto& [algorithm, text] : value.get_ref<const Json::object_t&>()) {
    const Place at_digest = place.at(algorithm);
    const std::string& found = read_string(text, at_digest);
    const std::size_t length = algorithm == "md5" ? 32 : 64;
    if (found.size() != length || !is_hexadecimal(found)) {
      at_digest.fail(std::to_string(length) + " hexadecimal digits expected, found " +
                     in_quotes(found));
    }
    digests[algorithm] = lower_case(found);
  }
  return digests;
}

std::vector<PatchValue> read_values(const Json& value, const Place& place, std::size_t count) {
  check_array(value, place, 0);
  std::vector<PatchValue> values;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i].is_string()) {
      values.emplace_back(value[i].get<std::string>());
    } else if (value[i].is_number()) {
      values.emplace_back(detail::read_number(value[i], place.at(i)));
    } else {
      place.at(i).fail(std::string("a number or a string expected, found ") +
                       detail::type_name(value[i]));
    }
  }
  if (values.size() != count) {
    place.fail(std::to_string(count) + (count == 1 ? " value" : " values") +
               " expected as in /metadata/labels, found " + std::to_string(values.size()));
  }
  return values;
}

Patch read_patch(const Json& value, const Place& place, std::size_t n_labels) {
  check_object(value, place, {"metadata", "patch"});
  const Json& metadata = value["metadata"];
  const Place at_metadata = place.at("metadata");
  Patch patch;
  patch.name = read_identifier(require(metadata, "name", at_metadata), at_metadata.at("name"));
  patch.values =
      read_values(require(metadata, "values", at_metadata), at_metadata.at("values"), n_labels);
  patch.operations = value["patch"];
  check_patch(patch.operations, place.at("patch").pointer());
  return patch;
}

std::string to_text(const std::vector<PatchValue>& values) {
  Json list = Json::array();
  for (const PatchValue& value : values) {
    std::visit([&](const auto& content) { list.push_back(content); }, value);
  }
  return python_dumps(list);
}

std::vector<Patch> read_patches(const Json& value, const Place& place, std::size_t n_labels) {
  check_array(value, place, 1);
  std::vector<Patch> patches;
  std::map<std::string, std::size_t> names;
  std::map<std::vector<PatchValue>, std::size_t> values;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const Place at_patch = place.at(i);
    patches.push_back(read_patch(value[i], at_patch, n_labels));
    const Place at_metadata = at_patch.at("metadata");
    const auto [name, new_name] = names.emplace(patches.back().name, i);
    if (!new_name) {
      at_metadata.at("name").fail("a second patch named " + in_quotes(patches.back().name) +
                                  "; the first is at " + place.at(name->second).pointer());
    }
    const auto [same, new_values] = values.emplace(patches.back().values, i);
    if (!new_values) {
      at_metadata.at("values").fail("a second patch with the values " +
                                    to_text(patches.back().values) + "; the first is at " +
                                    place.at(same->second).pointer());
    }
  }
  return patches;
}

}  // namespace

PatchSet parse_patchset(const nlohmann::json& document) {
  const Place root(ErrorKind::patch);
  check_object(document, root, {"metadata", "patches", "version"});
  PatchSet set;
  set.version = read_string(document["version"], root.at("version"));
  if (set.version != "1.0.0") {
    root.at("version").fail("version '1.0.0' of the schema expected, found " +
                            in_quotes(set.version));
  }
  const Json& metadata = document["metadata"];
  const Place place = root.at("metadata");
  set.references = read_references(require(metadata, "references", place), place.at("references"));
  set.digests = read_digests(require(metadata, "digests", place), place.at("digests"));
  set.description = read_string(require(metadata, "description", place), place.at("description"));
  const Json& labels = require(metadata, "labels", place);
  const Place at_labels = place.at("labels");
  check_array(labels, at_labels, 1);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    set.labels.push_back(read_identifier(labels[i], at_labels.at(i)));
  }
  set.patches = read_patches(document["patches"], root.at("patches"), set.labels.size());
  return set;
}

const Patch& find_patch(const PatchSet& set, const std::string& name) {
  std::vector<std::string> names;
  for (const Patch& patch : set.patches) {
    if (patch.name == name) return patch;
    names.push_back(patch.name);
  }
  throw Error(ErrorKind::patch, "no patch " + in_quotes(name) + detail::suggestion(name, names),
              "/patches");
}

const Patch& find_patch(const PatchSet& set, const std::vector<PatchValue>& values) {
  for (const Patch& patch : set.patches) {
    if (patch.values == values) return patch;
  }
  throw Error(ErrorKind::patch, "no patch with the values " + to_text(values), "/patches");
}

void verify_patchset(const PatchSet& set, const nlohmann::json& document) {
  for (const auto& [algorithm, expected] : set.digests) {
    const std::string found = digest(document, algorithm);
    if (found == expected) continue;
    std::string message = "the patch set belongs to another document: ";
    message.append(algorithm).append(" ").append(expected);
    message.append(" expected, found ").append(found);
    throw Error(ErrorKind::patch, message, "/metadata/digests/" + algorithm);
  }
}

nlohmann::json apply_patchset(const PatchSet& set, const nlohmann::json& document,
                              const std::string& name) {
  const Patch& patch = find_patch(set, name);
  verify_patchset(set, document);
  const auto index = &patch - set.patches.data();
  return apply_patch(document, patch.operations, "/patches/" + std::to_string(index) + "/patch");
}

namespace {

using detail::JsonScanner;

/// Calls `member(key)` at the value of every member of an object; it goes over the value.
template <typename Member>
bool scan_object(JsonScanner& scanner, const Member& member) {
  if (!scanner.take('{')) return false;
  if (scanner.take('}')) return true;
  do {
    std::string_view key;
    if (!scanner.string(key) || !scanner.take(':') || !member(key)) return false;
  } while (scanner.take(','));
  return scanner.take('}');
}

/// Calls `element()` at every element of an array; it goes over the element.
template <typename Element>
bool scan_array(JsonScanner& scanner, const Element& element) {
  if (!scanner.take('[')) return false;
  if (scanner.take(']')) return true;
  do {
    if (!element()) return false;
  } while (scanner.take(','));
  return scanner.take(']');
}

/// First byte and byte after the last of every value at /patches/*/patch, or nothing if the text
/// has not the form of a patch set.
std::optional<std::vector<std::pair<std::size_t, std::size_t>>> find_patches(
    std::string_view text) {
  std::vector<std::pair<std::size_t, std::size_t>> extents;
  JsonScanner scanner(text);
  const auto patch_member = [&](std::string_view key) {
    scanner.skip_space();
    const std::size_t begin = scanner.position();
    if (!scanner.skip_value()) return false;
    if (key == "patch") extents.emplace_back(begin, scanner.position());
    return true;
  };
  const auto patch = [&] { return scan_object(scanner, patch_member); };
  const auto member = [&](std::string_view key) {
    return key == "patches" ? scan_array(scanner, patch) : scanner.skip_value();
  };
  if (!scan_object(scanner, member)) return std::nullopt;
  return extents;
}

PatchSet parse_patchset_of(const Json& document, const std::string& source) {
  try {
    return parse_patchset(document);
  } catch (const Error& error) {
    throw Error(error.kind(), error.message(), source + "#" + error.where());
  }
}

/// Parses a part of a text; places of errors are those in the whole text.
Json parse_part(std::string_view text, std::size_t begin, std::size_t end,
                const std::string& source) {
  try {
    return parse_json(text.substr(begin, end - begin), source);
  } catch (const Error&) {
    // Once more, behind as many lines and columns of nothing as there are before the part.
    const std::string_view before = text.substr(0, begin);
    const std::size_t newline = before.rfind('\n');
    const std::size_t columns = newline == std::string_view::npos ? begin : begin - newline - 1;
    std::string padded(static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n')),
                       '\n');
    padded.append(columns, ' ');
    padded.append(text.substr(begin, end - begin));
    return parse_json(padded, source);
  }
}

}  // namespace

LazyPatchSet::LazyPatchSet(std::string text, std::string source)
    : text_(std::move(text)), source_(std::move(source)) {
  const auto extents = find_patches(text_);
  if (extents) {
    std::string outline;
    std::size_t at = 0;
    for (const auto& [begin, end] : *extents) {
      outline.append(text_, at, begin - at);
      outline += "[]";
      at = end;
      extents_.push_back({begin, end});
    }
    outline.append(text_, at);
    try {
      set_ = parse_patchset_of(parse_json(outline, source_), source_);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::json) throw;
      extents_.clear();
    }
    if (set_.patches.size() == extents_.size() && !extents_.empty()) return;
  }
  // No JSON, no patch set, or one with escapes in its keys: read as a whole, for a good message.
  set_ = parse_patchset_of(parse_json(text_, source_), source_);
  text_.clear();
  extents_.clear();
  for (Patch& patch : set_.patches) {
    extents_.push_back({text_.size(), 0});
    text_ += dump_json(patch.operations, -1);
    extents_.back().end = text_.size();
    patch.operations = nullptr;
  }
}

nlohmann::json LazyPatchSet::operations(std::size_t i) const {
  const Extent extent = extents_.at(i);
  Json operations = parse_part(text_, extent.begin, extent.end, source_);
  check_patch(operations, source_ + "#/patches/" + std::to_string(i) + "/patch");
  return operations;
}

}  // namespace slalom
