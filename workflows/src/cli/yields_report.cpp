// SPDX-License-Identifier: Apache-2.0
#include "cli/yields_report.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <functional>

#include "cli/csv.hpp"
#include "cli/text.hpp"

namespace slalom::cli {

namespace {

constexpr std::size_t k_name_width = 36;
/// Bins side by side in a table for people.
constexpr std::size_t k_bins_per_block = 4;

/// Decimals that leave two digits of the error.
int decimals_of(const Yield& yield) {
  return yield.error > 0.0 ? std::max(0, decimals_for(yield.error) - 1) : 2;
}

std::string value_of(const Yield& yield) { return fixed_point(yield.value, decimals_of(yield)); }

/// Empty without an error.
std::string error_of(const Yield& yield) {
  return yield.error > 0.0 ? fixed_point(yield.error, decimals_of(yield)) : std::string();
}

std::string text_of(const Yield& yield) {
  const std::string error = error_of(yield);
  return value_of(yield) + (error.empty() ? "" : " +- " + error);
}

/// Observed counts are integers, Asimov data are not.
std::string data_text(double count) {
  return fixed_point(count, std::floor(count) == count ? 0 : 2);
}

std::string ratio_text(double data, double expected) {
  return expected > 0.0 ? fixed_point(data / expected, 3) : std::string("-");
}

double ratio_of(double data, double expected) {
  return expected > 0.0 ? data / expected : std::nan("");
}

std::vector<double> values_of(const SampleYields& sample) {
  std::vector<double> values;
  for (const Yield& bin : sample.bins) values.push_back(bin.value);
  return values;
}

OrderedJson errors_of(const SampleYields& sample, bool has_errors) {
  if (!has_errors) return nullptr;
  std::vector<double> errors;
  for (const Yield& bin : sample.bins) errors.push_back(bin.error);
  return number_array(errors, sample.name);
}

void append_yields(OrderedJson& object, const SampleYields& sample, bool bins, bool has_errors) {
  append(object, "yield", finite(sample.sum.value, sample.name));
  append(object, "error",
         has_errors ? OrderedJson(finite(sample.sum.error, sample.name)) : OrderedJson(nullptr));
  if (!bins) return;
  append(object, "bin_yields", number_array(values_of(sample), sample.name));
  append(object, "bin_errors", errors_of(sample, has_errors));
}

OrderedJson channel_json(const ChannelYields& channel, bool bins, bool has_errors) {
  OrderedJson samples = OrderedJson::array();
  for (const SampleYields& sample : channel.samples) {
    OrderedJson object;
    append(object, "name", sample.name);
    append_yields(object, sample, bins, has_errors);
    samples.push_back(std::move(object));
  }
  OrderedJson total;
  append_yields(total, channel.total, bins, has_errors);
  OrderedJson object;
  append(object, "name", channel.name);
  append(object, "samples", std::move(samples));
  append(object, "total", std::move(total));
  append(object, "data", finite(channel.data_sum, channel.name));
  append(object, "ratio", number_or_null(ratio_of(channel.data_sum, channel.total.sum.value)));
  if (!bins) return object;
  OrderedJson ratios = OrderedJson::array();
  for (std::size_t b = 0; b < channel.data.size(); ++b) {
    ratios.push_back(number_or_null(ratio_of(channel.data[b], channel.total.bins[b].value)));
  }
  append(object, "bin_data", number_array(channel.data, channel.name));
  append(object, "bin_ratios", std::move(ratios));
  return object;
}

/// Column of a table for people: what it shows of each sample, of the total, and the data.
struct Column {
  std::string title;
  const ChannelYields* channel;
  std::size_t bin;  ///< k_sum for the sum over bins

  static constexpr std::size_t k_sum = static_cast<std::size_t>(-1);

  const Yield& of(const SampleYields& sample) const {
    return bin == k_sum ? sample.sum : sample.bins[bin];
  }
  double data() const { return bin == k_sum ? channel->data_sum : channel->data[bin]; }
  const Yield* sample(const std::string& name) const {
    for (const SampleYields& sample : channel->samples) {
      if (sample.name == name) return &of(sample);
    }
    return nullptr;
  }
};

/// Names of the samples of all columns in the order of the first appearance.
std::vector<std::string> sample_names(const std::vector<Column>& columns) {
  std::vector<std::string> names;
  for (const Column& column : columns) {
    for (const SampleYields& sample : column.channel->samples) {
      if (std::find(names.begin(), names.end(), sample.name) == names.end()) {
        names.push_back(sample.name);
      }
    }
  }
  return names;
}

/// Rows of cells, the first of each row being its title: a head, the samples, three more.
std::vector<std::vector<std::string>> rows_of(
    const std::vector<Column>& columns, const std::function<std::string(const Yield&)>& show) {
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](const std::string& title,
                       const std::function<std::string(const Column&)>& cell) {
    rows.push_back({title});
    for (const Column& column : columns) rows.back().push_back(cell(column));
  };
  add("", [](const Column& column) { return column.title; });
  for (const std::string& name : sample_names(columns)) {
    add(name, [&](const Column& column) {
      const Yield* yield = column.sample(name);
      return yield == nullptr ? std::string("-") : show(*yield);
    });
  }
  add("total", [&](const Column& column) { return show(column.of(column.channel->total)); });
  add("data", [](const Column& column) { return data_text(column.data()); });
  add("data / total", [](const Column& column) {
    return ratio_text(column.data(), column.of(column.channel->total).value);
  });
  return rows;
}

std::string block(const std::vector<Column>& columns) {
  Table table("l" + std::string(columns.size(), 'r'));
  for (std::vector<std::string>& row : rows_of(columns, text_of)) {
    row[0] = shorten(row[0], k_name_width);
    table.row(std::move(row));
  }
  return table.str(2, 3) + "\n";
}

std::vector<Column> bin_columns(const ChannelYields& channel, std::size_t from, std::size_t to) {
  std::vector<Column> columns;
  for (std::size_t b = from; b < to; ++b) {
    columns.push_back({fmt::format("bin {}", b + 1), &channel, b});
  }
  return columns;
}

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\') {
      result += "\\textbackslash{}";
    } else if (c == '~' || c == '^') {
      result += fmt::format("\\{}{{}}", c);
    } else {
      if (std::string_view("_&%$#{}").find(c) != std::string_view::npos) result += '\\';
      result += c;
    }
  }
  return result;
}

std::string latex_of(const Yield& yield) {
  const std::string error = error_of(yield);
  return "$" + value_of(yield) + (error.empty() ? "" : " \\pm " + error) + "$";
}

std::string tabular(const std::vector<Column>& columns, const std::string& comment) {
  const auto rows = rows_of(columns, latex_of);
  std::string text = fmt::format("% {}\n\\begin{{tabular}}{{l{}}}\n\\toprule\n", one_line(comment),
                                 std::string(columns.size(), 'r'));
  for (std::size_t r = 0; r < rows.size(); ++r) {
    if (r == 1 || r + 3 == rows.size() || r + 2 == rows.size()) text += "\\midrule\n";
    for (std::size_t i = 0; i < rows[r].size(); ++i) {
      const bool name = r == 0 || i == 0;
      text += (i > 0 ? " & " : "") + (name ? escaped(rows[r][i]) : rows[r][i]);
    }
    text += " \\\\\n";
  }
  return text + "\\bottomrule\n\\end{tabular}\n";
}

void csv_rows(Csv& csv, const YieldsStage& stage, const Column& column) {
  const std::string bin = column.bin == Column::k_sum ? "" : std::to_string(column.bin + 1);
  const auto row = [&](const char* kind, const std::string& sample, double value,
                       const std::optional<double>& error) {
    csv.row({stage.key, csv_cell(column.channel->name), bin, kind, csv_cell(sample),
             csv_cell(value), csv_cell(error)});
  };
  const auto error = [&](const Yield& yield) {
    return stage.has_errors ? std::optional(yield.error) : std::nullopt;
  };
  for (const SampleYields& sample : column.channel->samples) {
    const Yield& yield = column.of(sample);
    row("sample", sample.name, yield.value, error(yield));
  }
  const Yield& total = column.of(column.channel->total);
  row("total", "", total.value, error(total));
  row("data", "", column.data(), std::nullopt);
}

}  // namespace

OrderedJson stage_json(const YieldsStage& stage, bool bins) {
  OrderedJson channels = OrderedJson::array();
  for (const ChannelYields& channel : stage.channels) {
    channels.push_back(channel_json(channel, bins, stage.has_errors));
  }
  OrderedJson object;
  append(object, "channels", std::move(channels));
  return object;
}

std::string yields_csv(const std::vector<YieldsStage>& stages, bool bins) {
  Csv csv({"stage", "channel", "bin", "kind", "sample", "yield", "error"});
  for (const YieldsStage& stage : stages) {
    for (const ChannelYields& channel : stage.channels) {
      csv_rows(csv, stage, {"", &channel, Column::k_sum});
      if (!bins) continue;
      for (const Column& column : bin_columns(channel, 0, channel.data.size())) {
        csv_rows(csv, stage, column);
      }
    }
  }
  return csv.str();
}

std::string yields_text(const std::vector<YieldsStage>& stages, bool bins) {
  std::string text;
  const std::size_t n_channels = stages.empty() ? 0 : stages.front().channels.size();
  for (std::size_t c = 0; c < n_channels; ++c) {
    const ChannelYields& first = stages.front().channels[c];
    text += fmt::format("  {} ({})\n", first.name, count(first.data.size(), "bin"));
    std::vector<Column> sums;
    for (const YieldsStage& stage : stages) {
      sums.push_back({stage.title, &stage.channels[c], Column::k_sum});
    }
    text += block(sums);
    if (!bins) continue;
    for (const YieldsStage& stage : stages) {
      const ChannelYields& channel = stage.channels[c];
      for (std::size_t b = 0; b < channel.data.size(); b += k_bins_per_block) {
        text += fmt::format("  {}, {}\n", channel.name, stage.title);
        text += block(bin_columns(channel, b, std::min(b + k_bins_per_block, channel.data.size())));
      }
    }
  }
  if (!text.empty()) text.pop_back();
  return text;
}

std::string yields_latex(const std::vector<YieldsStage>& stages, bool bins) {
  std::string text;
  for (const YieldsStage& stage : stages) {
    std::vector<Column> sums;
    for (const ChannelYields& channel : stage.channels) {
      sums.push_back({channel.name, &channel, Column::k_sum});
      if (!bins) continue;
      text +=
          tabular(bin_columns(channel, 0, channel.data.size()), stage.title + ", " + channel.name);
    }
    if (!bins) text += tabular(sums, stage.title);
  }
  return text;
}

}  // namespace slalom::cli
