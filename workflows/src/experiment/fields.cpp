// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/fields.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "cli/suggest.hpp"
#include "cli/text.hpp"
#include "slalom/core/error.hpp"

namespace slalom {

namespace {

const std::vector<std::string> k_shapes{"constant", "linear", "geometric", "cosine"};

void schedule_members(Fields& fields, Schedule& value, const Limits& limits) {
  fields.choice("shape", value.shape, k_shapes, "way from start to end");
  fields.number("start", value.start, "value at the end of the warm-up", limits);
  fields.number("end", value.end, "value after warm_up + steps", limits);
  fields.integer("steps", value.steps,
                 "length of the way; 0: all steps of the training after the warm-up",
                 k_not_negative);
  fields.integer("warm_up", value.warm_up, "steps before it", k_not_negative);
  fields.number("warm_up_from", value.warm_up_from, "value at step 0, from where it rises to start",
                value.warm_up > 0 ? limits : Limits{});
}

std::string escaped(const std::string& key) {
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

std::string number_text(double value) { return fmt::format("{}", value); }

std::string range_text(const Limits& limits) {
  const bool low = std::isfinite(limits.low), high = std::isfinite(limits.high);
  std::string text;
  if (low) text += fmt::format(" {} {}", limits.above ? ">" : ">=", number_text(limits.low));
  if (low && high) text += " and";
  if (high) text += fmt::format(" {} {}", limits.below ? "<" : "<=", number_text(limits.high));
  return text;
}

bool within(double value, const Limits& limits) {
  const bool low = limits.above ? value > limits.low : value >= limits.low;
  const bool high = limits.below ? value < limits.high : value <= limits.high;
  return std::isfinite(value) && low && high;
}

std::string found(const Json& value) {
  constexpr std::size_t k_longest = 60;
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > k_longest) text = text.substr(0, k_longest - 3) + "...";
  return text;
}

class Reader : public Fields {
 public:
  Reader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) {
      throw Error(ErrorKind::usage, "expected an object, got " + found(object), place());
    }
  }

  void number(const std::string& key, double& value, const std::string&,
              const Limits& limits) override {
    if (const Json* json = find(key)) value = read_number(*json, at(key), limits);
  }
  void optional_number(const std::string& key, std::optional<double>& value, const std::string&,
                       const Limits& limits) override {
    const Json* json = find(key);
    if (json == nullptr) return;
    value.reset();
    if (!json->is_null()) value = read_number(*json, at(key), limits);
  }
  void integer(const std::string& key, std::int64_t& value, const std::string&,
               const Limits& limits) override {
    if (const Json* json = find(key)) value = read_integer(*json, at(key), limits);
  }
  void flag(const std::string& key, bool& value, const std::string&) override {
    const Json* json = find(key);
    if (json == nullptr) return;
    if (!json->is_boolean()) fail("true or false", *json, at(key));
    value = json->get<bool>();
  }
  void text(const std::string& key, std::string& value, const std::string&) override {
    if (const Json* json = find(key)) value = read_text_value(*json, at(key));
  }
  void word(const std::string& key, std::size_t& value, const std::vector<std::string>& words,
            const std::string&) override {
    const Json* json = find(key);
    if (json == nullptr) return;
    const std::string text = read_text_value(*json, at(key));
    const auto place = std::find(words.begin(), words.end(), text);
    if (place == words.end()) {
      throw Error(ErrorKind::usage,
                  fmt::format("expected one of {}, got '{}'{}", cli::listing(words, words.size()),
                              text, cli::did_you_mean(text, words)),
                  at(key));
    }
    value = static_cast<std::size_t>(place - words.begin());
  }
  void numbers(const std::string& key, std::vector<double>& values, const std::string&,
               const Limits& limits) override {
    read_list(key, values, [&](const Json& json, const std::string& where) {
      return read_number(json, where, limits);
    });
  }
  void integers(const std::string& key, std::vector<std::int64_t>& values, const std::string&,
                const Limits& limits) override {
    read_list(key, values, [&](const Json& json, const std::string& where) {
      return read_integer(json, where, limits);
    });
  }
  void texts(const std::string& key, std::vector<std::string>& values,
             const std::string&) override {
    read_list(key, values, read_text_value);
  }
  void schedule(const std::string& key, Schedule& value, const std::string& help,
                const Limits& limits) override {
    const Json* json = find(key);
    if (json == nullptr) return;
    value = {};
    if (json->is_number()) {
      value.start = value.end = read_number(*json, at(key), limits);
    } else if (json->is_object()) {
      value.shape = ScheduleShape::linear;
      object(key, help, [&](Fields& fields) { schedule_members(fields, value, limits); });
      check(value, at(key));
    } else {
      fail("a number or a schedule", *json, at(key));
    }
  }
  void object(const std::string& key, const std::string&, const Members& members) override {
    const Json* json = find(key);
    if (json == nullptr) return;
    Reader reader(*json, at(key));
    members(reader);
    reader.finish();
  }
  void objects(const std::string& key, std::size_t, const std::function<void(std::size_t)>& resize,
               const std::string&,
               const std::function<void(Fields&, std::size_t)>& element) override {
    const Json* json = find(key);
    if (json == nullptr) return;
    if (!json->is_array()) fail("a list of objects", *json, at(key));
    resize(json->size());
    for (std::size_t i = 0; i < json->size(); ++i) {
      Reader reader((*json)[i], fmt::format("{}/{}", at(key), i));
      element(reader, i);
      reader.finish();
    }
  }

  /// Complains about what nobody asked for.
  void finish() const {
    for (const auto& item : object_.items()) {
      if (std::find(known_.begin(), known_.end(), item.key()) != known_.end()) continue;
      const std::string hint = cli::did_you_mean(item.key(), known_);
      throw Error(ErrorKind::usage,
                  fmt::format("unknown key '{}'{}", item.key(),
                              hint.empty() ? fmt::format("; known are {}",
                                                         cli::listing(known_, known_.size()))
                                           : hint),
                  at(item.key()));
    }
  }

 private:
  std::string place() const { return where_.empty() ? "/" : where_; }
  std::string at(const std::string& key) const { return where_ + "/" + escaped(key); }
  const Json* find(const std::string& key) {
    known_.push_back(key);
    const auto item = object_.find(key);
    return item == object_.end() ? nullptr : &*item;
  }
  [[noreturn]] static void fail(const std::string& expected, const Json& json,
                                const std::string& where) {
    throw Error(ErrorKind::usage, fmt::format("expected {}, got {}", expected, found(json)), where);
  }
  static double read_number(const Json& json, const std::string& where, const Limits& limits) {
    if (!json.is_number() || !within(json.get<double>(), limits)) {
      fail("a number" + range_text(limits), json, where);
    }
    return json.get<double>();
  }
  static std::int64_t read_integer(const Json& json, const std::string& where,
                                   const Limits& limits) {
    const bool fits = json.is_number_integer() &&
                      (!json.is_number_unsigned() ||
                       json.get<std::uint64_t>() <=
                           static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
    if (!fits || !within(static_cast<double>(json.get<std::int64_t>()), limits)) {
      fail("an integer" + range_text(limits), json, where);
    }
    return json.get<std::int64_t>();
  }
  static std::string read_text_value(const Json& json, const std::string& where) {
    if (!json.is_string()) fail("a text", json, where);
    return json.get<std::string>();
  }
  template <class T, class Read>
  void read_list(const std::string& key, std::vector<T>& values, const Read& read) {
    const Json* json = find(key);
    if (json == nullptr) return;
    if (!json->is_array()) fail("a list", *json, at(key));
    values.clear();
    for (std::size_t i = 0; i < json->size(); ++i) {
      values.push_back(read((*json)[i], fmt::format("{}/{}", at(key), i)));
    }
  }
  static void check(const Schedule& value, const std::string& where) {
    try {
      value_at(value, 0);
    } catch (const Error& error) {
      throw Error(ErrorKind::usage, error.message(), where);
    }
  }

  const Json& object_;
  std::string where_;
  std::vector<std::string> known_;
};

class Writer : public Fields {
 public:
  nlohmann::ordered_json result = nlohmann::ordered_json::object();

  void number(const std::string& key, double& value, const std::string&, const Limits&) override {
    result[key] = value;
  }
  void optional_number(const std::string& key, std::optional<double>& value, const std::string&,
                       const Limits&) override {
    result[key] = nullptr;
    if (value) result[key] = *value;
  }
  void integer(const std::string& key, std::int64_t& value, const std::string&,
               const Limits&) override {
    result[key] = value;
  }
  void flag(const std::string& key, bool& value, const std::string&) override {
    result[key] = value;
  }
  void text(const std::string& key, std::string& value, const std::string&) override {
    result[key] = value;
  }
  void word(const std::string& key, std::size_t& value, const std::vector<std::string>& words,
            const std::string&) override {
    result[key] = words.at(value);
  }
  void numbers(const std::string& key, std::vector<double>& values, const std::string&,
               const Limits&) override {
    result[key] = values;
  }
  void integers(const std::string& key, std::vector<std::int64_t>& values, const std::string&,
                const Limits&) override {
    result[key] = values;
  }
  void texts(const std::string& key, std::vector<std::string>& values,
             const std::string&) override {
    result[key] = values;
  }
  void schedule(const std::string& key, Schedule& value, const std::string& help,
                const Limits& limits) override {
    if (value.shape == ScheduleShape::constant && value.warm_up == 0) {
      result[key] = value.start;
    } else {
      object(key, help, [&](Fields& fields) { schedule_members(fields, value, limits); });
    }
  }
  void object(const std::string& key, const std::string&, const Members& members) override {
    result[key] = write_fields(members);
  }
  void objects(const std::string& key, std::size_t size, const std::function<void(std::size_t)>&,
               const std::string&,
               const std::function<void(Fields&, std::size_t)>& element) override {
    auto list = nlohmann::ordered_json::array();
    for (std::size_t i = 0; i < size; ++i) {
      list.push_back(write_fields([&](Fields& fields) { element(fields, i); }));
    }
    result[key] = std::move(list);
  }
};

class Schema : public Fields {
 public:
  nlohmann::ordered_json properties = nlohmann::ordered_json::object();

  void number(const std::string& key, double& value, const std::string& help,
              const Limits& limits) override {
    auto& entry = add(key, with_limits("number", limits), help);
    entry["default"] = value;
  }
  void optional_number(const std::string& key, std::optional<double>& value,
                       const std::string& help, const Limits& limits) override {
    auto number = with_limits("number", limits);
    number["type"] = {"number", "null"};
    auto& entry = add(key, std::move(number), help);
    entry["default"] = nullptr;
    if (value) entry["default"] = *value;
  }
  void integer(const std::string& key, std::int64_t& value, const std::string& help,
               const Limits& limits) override {
    add(key, with_limits("integer", limits), help)["default"] = value;
  }
  void flag(const std::string& key, bool& value, const std::string& help) override {
    add(key, {{"type", "boolean"}}, help)["default"] = value;
  }
  void text(const std::string& key, std::string& value, const std::string& help) override {
    add(key, {{"type", "string"}}, help)["default"] = value;
  }
  void word(const std::string& key, std::size_t& value, const std::vector<std::string>& words,
            const std::string& help) override {
    nlohmann::ordered_json entry{{"type", "string"}};
    entry["enum"] = words;
    add(key, std::move(entry), help)["default"] = words.at(value);
  }
  void numbers(const std::string& key, std::vector<double>& values, const std::string& help,
               const Limits& limits) override {
    add(key, list_of(with_limits("number", limits)), help)["default"] = values;
  }
  void integers(const std::string& key, std::vector<std::int64_t>& values, const std::string& help,
                const Limits& limits) override {
    add(key, list_of(with_limits("integer", limits)), help)["default"] = values;
  }
  void texts(const std::string& key, std::vector<std::string>& values,
             const std::string& help) override {
    add(key, list_of({{"type", "string"}}), help)["default"] = values;
  }
  void schedule(const std::string& key, Schedule& value, const std::string& help,
                const Limits& limits) override {
    Schedule example = value;
    nlohmann::ordered_json entry;
    entry["oneOf"] = nlohmann::ordered_json::array(
        {with_limits("number", limits),
         fields_schema([&](Fields& fields) { schedule_members(fields, example, limits); })});
    Writer writer;
    writer.schedule(key, value, help, limits);
    add(key, std::move(entry), help)["default"] = writer.result[key];
  }
  void object(const std::string& key, const std::string& help, const Members& members) override {
    add(key, fields_schema(members), help);
  }
  void objects(const std::string& key, std::size_t size, const std::function<void(std::size_t)>&,
               const std::string& help,
               const std::function<void(Fields&, std::size_t)>& element) override {
    // One beyond the last is an element with its defaults.
    add(key, list_of(fields_schema([&](Fields& fields) { element(fields, size); })), help);
  }

 private:
  static nlohmann::ordered_json with_limits(const char* type, const Limits& limits) {
    nlohmann::ordered_json entry{{"type", type}};
    if (std::isfinite(limits.low)) {
      entry[limits.above ? "exclusiveMinimum" : "minimum"] = limits.low;
    }
    if (std::isfinite(limits.high)) {
      entry[limits.below ? "exclusiveMaximum" : "maximum"] = limits.high;
    }
    return entry;
  }
  static nlohmann::ordered_json list_of(nlohmann::ordered_json items) {
    nlohmann::ordered_json entry{{"type", "array"}};
    entry["items"] = std::move(items);
    return entry;
  }
  nlohmann::ordered_json& add(const std::string& key, nlohmann::ordered_json entry,
                              const std::string& help) {
    entry["description"] = help;
    return properties[key] = std::move(entry);
  }
};

// The text with comments turned into blanks, so that places stay what they are.
std::string without_comments(const std::string& text, const std::string& source) {
  std::string result = text;
  const auto blank = [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      if (result[i] != '\n') result[i] = ' ';
    }
  };
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quoted) {
      if (text[i] == '\\') {
        ++i;
      } else if (text[i] == '"') {
        quoted = false;
      }
    } else if (text[i] == '"') {
      quoted = true;
    } else if (text.compare(i, 2, "//") == 0) {
      const std::size_t end = std::min(text.find('\n', i), text.size());
      blank(i, end);
      i = end;
    } else if (text.compare(i, 2, "/*") == 0) {
      const std::size_t end = text.find("*/", i + 2);
      if (end == std::string::npos) {
        const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<long>(i), '\n');
        throw Error(ErrorKind::json, "a comment has no end", fmt::format("{}:{}", source, line));
      }
      blank(i, end + 2);
      i = end + 1;
    }
  }
  return result;
}

std::vector<std::string> split_path(const std::string& path, const std::string& assignment) {
  std::vector<std::string> keys(1);
  for (const char c : path) {
    if (c == '.') {
      keys.emplace_back();
    } else {
      keys.back() += c;
    }
  }
  if (std::any_of(keys.begin(), keys.end(), [](const auto& key) { return key.empty(); })) {
    throw Error(ErrorKind::usage, "expected KEY.KEY=VALUE, got '" + assignment + "'", "--set");
  }
  return keys;
}

Json* child_of(Json* place, const std::string& key, const std::string& assignment) {
  if (place->is_null()) *place = Json::object();
  if (place->is_object()) return &(*place)[key];
  if (!place->is_array()) {
    throw Error(ErrorKind::usage, fmt::format("'{}' is below what is neither object nor list", key),
                "--set " + assignment);
  }
  const bool digits = key.size() < 10 && key.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || std::stoul(key) >= place->size()) {
    throw Error(ErrorKind::usage,
                fmt::format("expected an index below {}, got '{}'", place->size(), key),
                "--set " + assignment);
  }
  return &(*place)[std::stoul(key)];
}

}  // namespace

void read_fields(const Json& object, const std::string& where, const Fields::Members& members) {
  Reader reader(object, where);
  members(reader);
  reader.finish();
}

nlohmann::ordered_json write_fields(const Fields::Members& members) {
  Writer writer;
  members(writer);
  return writer.result;
}

nlohmann::ordered_json fields_schema(const Fields::Members& members) {
  Schema schema;
  members(schema);
  nlohmann::ordered_json result{{"type", "object"}};
  result["properties"] = std::move(schema.properties);
  result["additionalProperties"] = false;
  return result;
}

Json parse_commented_json(const std::string& text, const std::string& source) {
  return parse_json(without_comments(text, source), source);
}

void set_value(Json& document, const std::string& assignment) {
  const std::size_t equal = assignment.find('=');
  if (equal == std::string::npos) {
    throw Error(ErrorKind::usage, "expected KEY.KEY=VALUE, got '" + assignment + "'", "--set");
  }
  Json* place = &document;
  for (const std::string& key : split_path(assignment.substr(0, equal), assignment)) {
    place = child_of(place, key, assignment);
  }
  const std::string value = assignment.substr(equal + 1);
  Json parsed = Json::parse(value, nullptr, false);
  *place = parsed.is_discarded() ? Json(value) : std::move(parsed);
}

}  // namespace slalom
