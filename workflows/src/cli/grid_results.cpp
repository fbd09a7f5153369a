// SPDX-License-Identifier: Apache-2.0
#include "cli/grid_results.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <fcntl.h>
#include <fmt/format.h>
#include <map>
#include <sys/file.h>
#include <system_error>
#include <unistd.h>

#include "cli/csv.hpp"
#include "cli/text.hpp"
#include "slalom/core/json.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

constexpr const char* k_format = "slalom signal grid 1";

OrderedJson number_or_null(double value) {
  return std::isfinite(value) ? OrderedJson(value) : OrderedJson(nullptr);
}

template <typename Values>
OrderedJson numbers_or_null(const Values& values) {
  OrderedJson array = OrderedJson::array();
  for (const double value : values) array.push_back(number_or_null(value));
  return array;
}

void append_test(OrderedJson& row, const HypothesisTest& test, double best_fit) {
  append(row, "mu", test.mu);
  append(row, "cls_observed", number_or_null(test.cls));
  append(row, "cls_expected", numbers_or_null(test.cls_expected));
  append(row, "clsb", number_or_null(test.clsb));
  append(row, "clb", number_or_null(test.clb));
  append(row, "test_statistic", number_or_null(test.test_statistic));
  append(row, "best_fit", number_or_null(best_fit));
}

OrderedJson limit_json(const UpperLimit& limit) {
  return {{"observed", number_or_null(limit.observed)},
          {"expected", numbers_or_null(limit.expected)}};
}

OrderedJson discovery_json(const DiscoveryTest& test) {
  return {{"p0_observed", number_or_null(test.p0)},
          {"z_observed", number_or_null(test.z)},
          {"p0_expected", number_or_null(test.p0_expected)},
          {"z_expected", number_or_null(test.z_expected)}};
}

OrderedJson header_json(const GridHeader& header) {
  return {{"workspace", header.workspace},
          {"signals", header.signals},
          {"n_signals", header.n_signals},
          {"labels", header.labels},
          {"options", header.options}};
}

std::string text_of(const OrderedJson& value) {
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::optional<double> number_of(const OrderedJson& value) {
  return value.is_number() ? std::optional(value.get<double>()) : std::nullopt;
}

std::size_t index_of(const OrderedJson& row) { return row.at("index").get<std::size_t>(); }

[[noreturn]] void fail(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::usage, message, where);
}

/// What the rest of this file takes for granted.
void check_row(const OrderedJson& row, std::size_t n_signals, const std::string& where) {
  const OrderedJson& index = member(row, "index");
  const bool valid = index.is_number_unsigned() && member(row, "name").is_string() &&
                     member(row, "status").is_string();
  if (!valid) fail("no result of a signal", where);
  if (index.get<std::size_t>() >= n_signals) {
    fail(fmt::format("the signal has number {}, but the grid has {}", index.get<std::size_t>(),
                     count(n_signals, "signal")),
         where);
  }
}

GridHeader read_header(const OrderedJson& document, const std::string& where) {
  const OrderedJson& labels = member(document, "labels");
  const bool valid = member(document, "workspace").is_string() &&
                     member(document, "signals").is_string() &&
                     member(document, "n_signals").is_number_unsigned() && labels.is_array() &&
                     std::all_of(labels.begin(), labels.end(),
                                 [](const OrderedJson& label) { return label.is_string(); }) &&
                     member(document, "options").is_object();
  if (!valid) fail("no results of `slalom patchset run`", where);
  return {document["workspace"].get<std::string>(), document["signals"].get<std::string>(),
          document["n_signals"].get<std::size_t>(),
          document["labels"].get<std::vector<std::string>>(), document["options"]};
}

OrderedJson parse_line(std::string_view line, const std::string& where) {
  OrderedJson document = OrderedJson::parse(line, nullptr, false);
  if (document.is_discarded()) fail("the line is no JSON", where);
  return document;
}

/// Calls `use(line, number)` for every complete line; returns how many bytes these are.
std::size_t for_each_line(std::string_view text,
                          const std::function<void(std::string_view, std::size_t)>& use) {
  std::size_t begin = 0;
  for (std::size_t number = 1;; ++number) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string_view::npos) return begin;
    use(text.substr(begin, end - begin), number);
    begin = end + 1;
  }
}

/// Reads the complete lines of a journal; of several rows of one signal the last one counts.
GridResults read_lines(std::string_view text, const std::string& path, std::size_t* complete) {
  GridResults results;
  std::map<std::size_t, OrderedJson> rows;
  const std::size_t bytes = for_each_line(text, [&](std::string_view line, std::size_t number) {
    const std::string where = fmt::format("{}:{}", path, number);
    OrderedJson document = parse_line(line, where);
    if (number == 1) {
      if (member(document, "format") != k_format)
        fail("no results of `slalom patchset run`", where);
      results.header = read_header(document, where);
      return;
    }
    check_row(document, results.header.n_signals, where);
    const std::size_t index = index_of(document);
    rows[index] = std::move(document);
  });
  for (auto& [index, row] : rows) results.rows.push_back(std::move(row));
  if (complete != nullptr) *complete = bytes;
  return results;
}

}  // namespace

const OrderedJson& member(const OrderedJson& object, const char* key) {
  static const OrderedJson nothing;
  if (!object.is_object()) return nothing;
  const auto found = object.find(key);
  return found == object.end() ? nothing : *found;
}

const OrderedJson& element(const OrderedJson& array, std::size_t i) {
  static const OrderedJson nothing;
  return array.is_array() && i < array.size() ? array[i] : nothing;
}

std::string difference(const GridHeader& a, const GridHeader& b) {
  if (a.workspace != b.workspace) {
    return fmt::format("the workspace is {} there and {} here", a.workspace, b.workspace);
  }
  const OrderedJson left = header_json(a)["options"], right = header_json(b)["options"];
  for (const OrderedJson* list : {&left, &right}) {
    for (const auto& item : list->items()) {
      const OrderedJson &there = member(left, item.key().c_str()),
                        &here = member(right, item.key().c_str());
      if (there == here) continue;
      return fmt::format("{} is {} there and {} here", item.key(), there.dump(), here.dump());
    }
  }
  if (a.n_signals != b.n_signals || a.labels != b.labels || a.signals != b.signals) {
    return "the signals are not the same";
  }
  return {};
}

OrderedJson grid_row(const SignalResult& result, const std::string& name,
                     const std::vector<PatchValue>& values) {
  OrderedJson row;
  append(row, "index", result.index);
  append(row, "name", name);
  OrderedJson list = OrderedJson::array();
  for (const PatchValue& value : values) {
    std::visit([&list](const auto& content) { list.push_back(content); }, value);
  }
  append(row, "values", std::move(list));
  append(row, "status", to_string(result.status));
  append(row, "message", result.message);
  if (result.status == SignalStatus::failed) {
    append(row, "where", result.where);
  } else {
    append(row, "converged", result.status == SignalStatus::ok);
    append(row, "poi", result.poi);
    append_test(row, result.test, result.best_fit);
    if (result.limit) append(row, "limit", limit_json(*result.limit));
    if (result.discovery) append(row, "discovery", discovery_json(*result.discovery));
  }
  append(row, "seconds", result.seconds);
  if (!result.warnings.empty()) append(row, "warnings", to_json(result.warnings));
  return row;
}

void sort_rows(GridResults& results) {
  std::stable_sort(
      results.rows.begin(), results.rows.end(),
      [](const OrderedJson& a, const OrderedJson& b) { return index_of(a) < index_of(b); });
}

Warnings take_common_warnings(GridResults& results) {
  std::vector<OrderedJson*> rows;
  for (OrderedJson& row : results.rows) {
    if (text_of(member(row, "status")) != "failed") rows.push_back(&row);
  }
  if (rows.size() < 2) return {};
  std::vector<OrderedJson> common;
  for (const OrderedJson& warning : member(*rows.front(), "warnings")) common.push_back(warning);
  const auto has = [](const OrderedJson& row, const OrderedJson& warning) {
    const OrderedJson& list = member(row, "warnings");
    return std::find(list.begin(), list.end(), warning) != list.end();
  };
  Warnings warnings;
  for (const OrderedJson& warning : common) {
    const bool in_all = std::all_of(rows.begin(), rows.end(),
                                    [&](const OrderedJson* row) { return has(*row, warning); });
    if (!in_all) continue;
    warnings.push_back({text_of(member(warning, "message")), text_of(member(warning, "where"))});
    for (OrderedJson* row : rows) {
      OrderedJson& list = (*row)["warnings"];
      list.erase(std::find(list.begin(), list.end(), warning));
      if (list.empty()) row->erase("warnings");
    }
  }
  return warnings;
}

std::size_t count_status(const GridResults& results, const std::string& status) {
  return static_cast<std::size_t>(std::count_if(
      results.rows.begin(), results.rows.end(),
      [&](const OrderedJson& row) { return text_of(member(row, "status")) == status; }));
}

int exit_code(const GridResults& results) {
  if (count_status(results, "failed") > 0) return exit_failure;
  return count_status(results, "not_converged") > 0 ? exit_not_converged : exit_success;
}

OrderedJson grid_json(const GridResults& results) {
  OrderedJson document = header_json(results.header);
  append(document, "complete", results.rows.size() == results.header.n_signals);
  append(document, "n_failed", count_status(results, "failed"));
  append(document, "n_not_converged", count_status(results, "not_converged"));
  append(document, "results", OrderedJson(results.rows));
  return document;
}

namespace {

constexpr const char* k_band[] = {"minus2", "minus1", "median", "plus1", "plus2"};

/// Which optional columns there are.
struct Columns {
  bool limit, discovery;
  explicit Columns(const GridHeader& header)
      : limit(member(header.options, "level").is_number()),
        discovery(member(header.options, "discovery") == true) {}
};

std::string csv_value(const OrderedJson& value) {
  return value.is_string() ? csv_cell(value.get<std::string>()) : csv_cell(number_of(value));
}

void add_band(std::vector<std::string>& cells, const OrderedJson& band) {
  for (std::size_t i = 0; i < std::size(k_band); ++i) {
    cells.push_back(csv_cell(number_of(element(band, i))));
  }
}

/// Name and values of a signal for people.
std::vector<std::string> head_of(const OrderedJson& row, std::size_t n_labels) {
  std::vector<std::string> cells{shorten(text_of(row["name"]), 40)};
  for (std::size_t i = 0; i < n_labels; ++i) {
    const OrderedJson& value = element(member(row, "values"), i);
    const std::optional<double> number = number_of(value);
    cells.push_back(number ? brief(*number) : shorten(text_of(value), 20));
  }
  return cells;
}

std::string cell(const OrderedJson& value, int digits = 4) {
  const std::optional<double> number = number_of(value);
  return number ? brief(*number, digits) : "-";
}

/// "12 of 64 signals have CLs below 0.05".
std::string summary(const GridResults& results) {
  const double level = number_of(member(results.header.options, "level")).value_or(0.05);
  std::size_t excluded = 0, expected = 0;
  for (const OrderedJson& row : results.rows) {
    if (text_of(row["status"]) != "ok") continue;
    if (number_of(member(row, "cls_observed")).value_or(1.0) < level) ++excluded;
    if (number_of(element(member(row, "cls_expected"), 2)).value_or(1.0) < level) ++expected;
  }
  std::string text =
      fmt::format("  {} of {}: CLs below {} for {} (expected {})\n", results.rows.size(),
                  count(results.header.n_signals, "signal"), brief(level), excluded, expected);
  if (const std::size_t n = count_status(results, "not_converged"); n > 0) {
    text += fmt::format("  {} did not converge\n", count(n, "signal"));
  }
  if (const std::size_t n = count_status(results, "failed"); n > 0) {
    text += fmt::format("  {} failed\n", count(n, "signal"));
  }
  return text;
}

}  // namespace

std::string grid_csv(const GridResults& results) {
  const Columns columns(results.header);
  std::vector<std::string> names{"name"};
  names.insert(names.end(), results.header.labels.begin(), results.header.labels.end());
  names.insert(names.end(), {"status", "mu", "cls_observed"});
  for (const char* point : k_band) names.push_back(fmt::format("cls_expected_{}", point));
  names.insert(names.end(), {"clsb", "clb", "test_statistic", "best_fit"});
  if (columns.limit) {
    names.emplace_back("limit_observed");
    for (const char* point : k_band) names.push_back(fmt::format("limit_expected_{}", point));
  }
  if (columns.discovery) {
    names.insert(names.end(), {"p0_observed", "z_observed", "p0_expected", "z_expected"});
  }
  names.insert(names.end(), {"seconds", "message"});
  Csv csv(names);
  for (const OrderedJson& row : results.rows) {
    std::vector<std::string> cells{csv_value(row["name"])};
    for (std::size_t i = 0; i < results.header.labels.size(); ++i) {
      cells.push_back(csv_value(element(member(row, "values"), i)));
    }
    for (const char* key : {"status", "mu", "cls_observed"}) {
      cells.push_back(csv_value(member(row, key)));
    }
    add_band(cells, member(row, "cls_expected"));
    for (const char* key : {"clsb", "clb", "test_statistic", "best_fit"}) {
      cells.push_back(csv_value(member(row, key)));
    }
    if (columns.limit) {
      cells.push_back(csv_value(member(member(row, "limit"), "observed")));
      add_band(cells, member(member(row, "limit"), "expected"));
    }
    if (columns.discovery) {
      for (const char* key : {"p0_observed", "z_observed", "p0_expected", "z_expected"}) {
        cells.push_back(csv_value(member(member(row, "discovery"), key)));
      }
    }
    cells.push_back(csv_value(member(row, "seconds")));
    cells.push_back(csv_value(member(row, "message")));
    csv.row(cells);
  }
  return csv.str();
}

std::string grid_text(const GridResults& results) {
  const Columns columns(results.header);
  const std::size_t n_labels = results.header.labels.size();
  std::vector<std::string> head{"signal"};
  for (const std::string& label : results.header.labels) head.push_back(shorten(label, 20));
  head.insert(head.end(), {"CLs", "expected", "-1 sigma", "+1 sigma"});
  if (columns.limit) head.insert(head.end(), {"limit", "expected"});
  if (columns.discovery) head.insert(head.end(), {"Z", "expected"});
  head.emplace_back("");
  Table table("l" + std::string(head.size() - 2, 'r') + "l");
  table.row(head);
  for (const OrderedJson& row : results.rows) {
    std::vector<std::string> cells = head_of(row, n_labels);
    const OrderedJson& band = member(row, "cls_expected");
    cells.insert(cells.end(), {cell(member(row, "cls_observed")), cell(element(band, 2)),
                               cell(element(band, 1)), cell(element(band, 3))});
    if (columns.limit) {
      const OrderedJson& limit = member(row, "limit");
      cells.push_back(cell(member(limit, "observed")));
      cells.push_back(cell(element(member(limit, "expected"), 2)));
    }
    if (columns.discovery) {
      cells.push_back(cell(member(member(row, "discovery"), "z_observed")));
      cells.push_back(cell(member(member(row, "discovery"), "z_expected")));
    }
    const std::string status = text_of(row["status"]);
    cells.push_back(status == "ok" ? "" : status == "failed" ? "failed" : "not converged");
    table.row(std::move(cells));
  }
  std::string text = table.str();
  for (const OrderedJson& row : results.rows) {
    if (text_of(row["status"]) == "ok") continue;
    const std::string where = text_of(member(row, "where"));
    text += fmt::format("\n  {}: {}{}{}", text_of(row["name"]), where, where.empty() ? "" : ": ",
                        one_line(text_of(member(row, "message"))));
  }
  if (text.back() != '\n') text += '\n';
  return text + "\n" + summary(results);
}

GridResults read_grid_results(const std::string& text, const std::string& path) {
  const std::string first = text.substr(0, text.find('\n'));
  if (OrderedJson::accept(first) && member(OrderedJson::parse(first), "format") == k_format) {
    return read_lines(text, path, nullptr);
  }
  parse_json(text, path);  // for its messages
  const OrderedJson document = OrderedJson::parse(text);
  GridResults results{read_header(document, path), {}};
  const OrderedJson& rows = member(document, "results");
  if (!rows.is_array()) fail("no results of `slalom patchset run`", path);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    check_row(rows[i], results.header.n_signals, fmt::format("{}#/results/{}", path, i));
    results.rows.push_back(rows[i]);
  }
  return results;
}

namespace {

[[noreturn]] void fail_system(const std::string& message, const std::string& path) {
  throw Error(ErrorKind::io, message + ": " + std::generic_category().message(errno), path);
}

}  // namespace

GridJournal::GridJournal(const std::string& path, const GridHeader& header) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail_system("cannot be opened", path);
  try {
    // File systems without locks answer otherwise; the file is then used without one.
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      fail("another program is writing to this file", path);
    }
    const std::string text = read_text(path);
    std::size_t complete = 0;
    GridResults found = read_lines(text, path, &complete);
    if (complete != text.size() && ::ftruncate(descriptor_, static_cast<off_t>(complete)) != 0) {
      fail_system("cannot be written", path);
    }
    if (complete == 0) {
      OrderedJson line{{"format", k_format}};
      line.update(header_json(header));
      write_line(line);
      return;
    }
    const std::string other = difference(found.header, header);
    if (!other.empty()) fail("the results in this file are of other work: " + other, path);
    rows_ = std::move(found.rows);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

GridJournal::~GridJournal() { ::close(descriptor_); }

void GridJournal::append(const OrderedJson& row) { write_line(row); }

void GridJournal::write_line(const OrderedJson& line) {
  std::string text = line.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      fail_system("cannot be written", path_);
    }
  }
}

}  // namespace slalom::cli
