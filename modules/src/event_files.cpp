// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/event_files.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/where.h>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <string_view>
#include <utility>
#include <zlib.h>

#include "slalom/core/error.hpp"
#include "slalom/modules/hdf5_files.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "to_tensor.hpp"

namespace slalom {

namespace {

using Names = std::vector<std::string>;
/// Place of a value: of row and name of the column.
using Where = std::function<std::string(std::int64_t row, const std::string& column)>;

[[noreturn]] void fail(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::io, message, where);
}

bool contains(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string joined(const Names& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// Features among the columns of a file. \throws Error (io) for a column that is not there
Names feature_names(const Names& in_file, const EventFileOptions& options,
                    const std::string& where) {
  for (const Names& wanted :
       {options.columns, options.ignore, Names{options.weight, options.label, options.process}}) {
    for (const std::string& name : wanted) {
      if (!name.empty() && !contains(in_file, name)) {
        fail("no column '" + name + "' (there are: " + joined(in_file) + ")", where);
      }
    }
  }
  if (!options.columns.empty()) return options.columns;
  Names result;
  for (const std::string& name : in_file) {
    if (name != options.weight && name != options.label && name != options.process &&
        !contains(options.ignore, name)) {
      result.push_back(name);
    }
  }
  return result;
}

/// Undefined features as the options want them; the events are checked.
EventBatch finish(Names columns, Tensor features, const Tensor& weights, const Tensor& labels,
                  const Tensor& process, Names processes, const EventFileOptions& options,
                  const Where& where) {
  Tensor undefined = at::isnan(features);
  if (options.missing) undefined = undefined | (features == *options.missing);
  const bool any = undefined.any().item<bool>();
  if (any && options.on_missing == MissingPolicy::refuse) {
    const Tensor first = undefined.nonzero()[0];
    const auto column = static_cast<std::size_t>(first[1].item<std::int64_t>());
    fail("the feature '" + columns[column] + "' is undefined",
         where(first[0].item<std::int64_t>(), columns[column]));
  }
  if (any && options.on_missing != MissingPolicy::drop_event) {
    const double value = options.on_missing == MissingPolicy::keep
                             ? std::numeric_limits<double>::quiet_NaN()
                             : options.replacement;
    features = at::where(undefined, at::full_like(features, value), features);
  }
  if (weights.defined() && !at::isfinite(weights).all().item<bool>()) {
    const auto row = (~at::isfinite(weights)).nonzero()[0][0].item<std::int64_t>();
    fail("a weight that is not finite", where(row, options.weight));
  }
  const EventBatch events =
      make_events(std::move(columns), features.to(options.float64 ? at::kDouble : at::kFloat),
                  weights, labels, process, std::move(processes));
  if (!any || options.on_missing != MissingPolicy::drop_event) return events;
  return events.select(~undefined.any(1));
}

// ---- CSV
// -----------------------------------------------------------------------------------------

/// Text of a file, compressed with gzip or not.
std::string read_compressed(const std::string& path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose_r);
  if (file == nullptr) fail("cannot be read", path);
  std::string text;
  constexpr unsigned k_block = 1u << 20;
  for (int n = 1; n > 0;) {
    const std::size_t size = text.size();
    text.resize(size + k_block);
    n = gzread(file.get(), text.data() + size, k_block);
    text.resize(size + static_cast<std::size_t>(std::max(n, 0)));
  }
  int status = Z_OK;
  const char* message = gzerror(file.get(), &status);
  if (status != Z_OK && status != Z_STREAM_END) {
    fail(std::string("the compressed data are damaged or cut off: ") + message, path);
  }
  return text;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Lines of a text, without their ends.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {
    if (rest_.starts_with("\xef\xbb\xbf")) rest_.remove_prefix(3);  // byte order mark
  }
  /// Whether there was another line, which is then in `line`.
  bool next(std::string_view& line) {
    if (rest_.empty()) return false;
    const std::size_t end = rest_.find('\n');
    line = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    ++number_;
    return true;
  }
  /// Number of the line last returned.
  std::int64_t number() const { return number_; }
  /// Whether nothing but line ends follows.
  bool ends() const { return rest_.find_first_not_of("\r\n") == std::string_view::npos; }

 private:
  std::string_view rest_;
  std::int64_t number_ = 0;
};

/// Fields of a line. Those with doubled quotes are copied to `owned`.
void split(std::string_view line, std::vector<std::string_view>& fields,
           std::vector<std::unique_ptr<std::string>>& owned, const std::string& where) {
  fields.clear();
  owned.clear();
  while (true) {
    if (!line.starts_with('"')) {
      const std::size_t comma = line.find(',');
      fields.push_back(trimmed(line.substr(0, comma)));
      if (comma == std::string_view::npos) return;
      line.remove_prefix(comma + 1);
      continue;
    }
    owned.push_back(std::make_unique<std::string>());
    std::size_t i = 1;
    for (; i < line.size(); ++i) {
      if (line[i] == '"') {
        if (i + 1 >= line.size() || line[i + 1] != '"') break;
        ++i;
      }
      *owned.back() += line[i];
    }
    if (i == line.size()) fail("a quote that does not end", where);
    fields.push_back(*owned.back());
    line.remove_prefix(i + 1);
    if (line.empty()) return;
    if (line.front() != ',') fail("text after a quote", where);
    line.remove_prefix(1);
  }
}

/// A number; NaN for an empty field.
double parse_number(std::string_view text, const std::string& column, const std::string& where) {
  if (text.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::string_view digits = text;
  if (digits.starts_with('+')) digits.remove_prefix(1);
  double value = 0.0;
  const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (status == std::errc::result_out_of_range) {  // rounds to 0 or infinity, as strtod does
    value = std::strtod(std::string(digits).c_str(), nullptr);
  } else if (status != std::errc() || digits.starts_with('+')) {
    fail("'" + std::string(text) + "' in column '" + column + "' is no number", where);
  }
  if (end != digits.data() + digits.size()) {
    fail("'" + std::string(text) + "' in column '" + column + "' is no number", where);
  }
  return value;
}

std::int64_t parse_label(std::string_view text, const EventFileOptions& options,
                         const std::string& where) {
  if (!options.label_values.empty()) {
    const auto found = std::find(options.label_values.begin(), options.label_values.end(), text);
    if (found == options.label_values.end()) {
      fail("the label '" + std::string(text) + "' (expected: " + joined(options.label_values) + ")",
           where);
    }
    return found - options.label_values.begin();
  }
  const double value = parse_number(text, options.label, where);
  if (!(value == std::floor(value)) || std::abs(value) > 1e9) {
    fail("the label '" + std::string(text) + "' is no integer", where);
  }
  return static_cast<std::int64_t>(value);
}

std::int64_t parse_process(std::string_view text, Names& processes, bool open,
                           const std::string& where) {
  const auto found = std::find(processes.begin(), processes.end(), text);
  if (found != processes.end()) return found - processes.begin();
  if (!open) {
    fail("the process '" + std::string(text) + "' (expected: " + joined(processes) + ")", where);
  }
  processes.emplace_back(text);
  return static_cast<std::int64_t>(processes.size()) - 1;
}

// ---- NPZ
// -----------------------------------------------------------------------------------------

/// Columns of an array: itself, or those of a matrix.
void add_columns(const std::string& name, const Tensor& array, const std::string& path,
                 NamedTensors& columns) {
  if (array.dim() == 1) {
    columns[name] = array;
  } else if (array.dim() == 2) {
    for (std::int64_t j = 0; j < array.size(1); ++j) {
      columns[name + "[" + std::to_string(j) + "]"] = array.select(1, j);
    }
  } else {
    fail("an array of " + std::to_string(array.dim()) + " dimensions, one or two expected",
         path + ":" + name);
  }
}

/// Events of arrays [n], in the order of `in_file`.
EventBatch of_arrays(const Names& in_file, const NamedTensors& all, const std::string& path,
                     const EventFileOptions& options) {
  Names columns = feature_names(in_file, options, path);
  const std::int64_t n_all = all.begin()->second.size(0);
  const std::int64_t n = options.max_events < 0 ? n_all : std::min(n_all, options.max_events);
  const auto array = [&](const std::string& name, at::ScalarType type) {
    return name.empty() ? Tensor() : all.at(name).slice(0, 0, n).to(type);
  };
  std::vector<Tensor> parts;
  for (const std::string& name : columns) parts.push_back(array(name, at::kDouble).unsqueeze(1));
  if (parts.empty()) fail("no features", path);
  const Tensor process = array(options.process, at::kLong);
  Names processes = process.defined() ? options.processes : Names();
  if (process.defined() && processes.empty() && n > 0) {
    const std::int64_t last = process.max().item<std::int64_t>();
    if (last > n_all) fail("an index of a process that is too large", path + ":" + options.process);
    for (std::int64_t i = 0; i <= last; ++i) processes.push_back(std::to_string(i));
  }
  const Where where = [&](std::int64_t row, const std::string& column) {
    return path + ":" + column + "[" + std::to_string(row) + "]";
  };
  return finish(std::move(columns), at::cat(parts, 1), array(options.weight, at::kDouble),
                array(options.label, at::kLong), process, std::move(processes), options, where);
}

}  // namespace

EventBatch read_csv(const std::string& path, const EventFileOptions& options) {
  const std::string text = read_compressed(path);
  Lines lines(text);
  std::string_view line;
  std::vector<std::string_view> fields;
  std::vector<std::unique_ptr<std::string>> owned;
  if (!lines.next(line)) fail("the file is empty", path + ":1");
  split(line, fields, owned, path + ":1");
  const Names in_file(fields.begin(), fields.end());
  for (auto name = in_file.begin(); name != in_file.end(); ++name) {
    if (std::find(in_file.begin(), name, *name) != name) {
      fail("two columns named '" + *name + "'", path + ":1");
    }
  }
  Names columns = feature_names(in_file, options, path + ":1");
  const auto place = [&](const std::string& name) {
    return static_cast<std::size_t>(std::find(in_file.begin(), in_file.end(), name) -
                                    in_file.begin());
  };
  std::vector<std::size_t> places;
  for (const std::string& name : columns) places.push_back(place(name));
  const std::size_t weight_at = place(options.weight), label_at = place(options.label),
                    process_at = place(options.process);
  std::vector<double> features, weights;
  std::vector<std::int64_t> labels, process;
  Names processes = options.processes;
  std::int64_t rows = 0;
  while ((options.max_events < 0 || rows < options.max_events) && !lines.ends() &&
         lines.next(line)) {
    const std::string where = path + ":" + std::to_string(lines.number());
    split(line, fields, owned, where);
    if (fields.size() != in_file.size()) {
      fail("the line has " + std::to_string(fields.size()) + " fields, the first one " +
               std::to_string(in_file.size()),
           where);
    }
    for (std::size_t j = 0; j < places.size(); ++j) {
      features.push_back(parse_number(fields[places[j]], columns[j], where));
    }
    if (!options.weight.empty()) {
      weights.push_back(parse_number(fields[weight_at], options.weight, where));
    }
    if (!options.label.empty()) labels.push_back(parse_label(fields[label_at], options, where));
    if (!options.process.empty()) {
      process.push_back(
          parse_process(fields[process_at], processes, options.processes.empty(), where));
    }
    ++rows;
  }
  const Where where = [&](std::int64_t row, const std::string&) {
    return path + ":" + std::to_string(row + 2);
  };
  const Tensor matrix =
      detail::to_tensor(features).reshape({rows, static_cast<std::int64_t>(columns.size())});
  return finish(std::move(columns), matrix,
                options.weight.empty() ? Tensor() : detail::to_tensor(weights),
                options.label.empty() ? Tensor() : detail::to_tensor(labels),
                options.process.empty() ? Tensor() : detail::to_tensor(process),
                options.process.empty() ? Names() : std::move(processes), options, where);
}

EventBatch read_npz_events(const std::string& path, const EventFileOptions& options) {
  NamedTensors all;
  for (const auto& [name, array] : read_npz(path)) add_columns(name, array, path, all);
  Names in_file;
  for (const auto& [name, array] : all) {
    in_file.push_back(name);
    if (array.size(0) != all.begin()->second.size(0)) {
      fail(std::to_string(array.size(0)) + " events, but '" + all.begin()->first + "' has " +
               std::to_string(all.begin()->second.size(0)),
           path + ":" + name);
    }
  }
  if (all.empty()) fail("no arrays", path);
  return of_arrays(in_file, all, path, options);
}

EventBatch read_hdf5_events(const std::string& path, const EventFileOptions& options) {
  const Hdf5Table table = read_hdf5_table(path, options.table, options.max_events);
  NamedTensors all;
  for (std::size_t j = 0; j < table.columns.size(); ++j) {
    all[table.columns[j]] = table.values.select(1, static_cast<std::int64_t>(j));
  }
  for (const std::string& name : {options.label, options.process}) {
    if (name.empty() || !all.contains(name)) continue;
    const Tensor whole = all.at(name) == all.at(name).floor();
    if (whole.all().item<bool>()) continue;
    const auto row = whole.logical_not().nonzero()[0][0].item<std::int64_t>();
    fail("is no integer", path + ":" + name + "[" + std::to_string(row) + "]");
  }
  return of_arrays(table.columns, all, path, options);
}

EventBatch read_events(const std::string& path, const EventFileOptions& options) {
  if (path.ends_with(".npz")) return read_npz_events(path, options);
  for (const char* end : {".h5", ".hdf5", ".hdf"}) {
    if (path.ends_with(end)) return read_hdf5_events(path, options);
  }
  return read_csv(path, options);
}

}  // namespace slalom
