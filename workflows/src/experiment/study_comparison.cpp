// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <fmt/format.h>
#include <map>

#include "cli/csv.hpp"
#include "cli/result.hpp"
#include "cli/text.hpp"
#include "experiment/bootstrap.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/version.hpp"
#include "slalom/workflows/study.hpp"

namespace slalom {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

std::optional<double> number_at(const Json& result, const std::string& figure) {
  const Json::json_pointer pointer(figure);
  if (!result.contains(pointer)) return std::nullopt;
  const Json& value = result.at(pointer);
  return value.is_number() ? std::optional(value.get<double>()) : std::nullopt;
}

/// Fills in everything but the values.
void summarise(FigureSummary& summary) {
  std::vector<double> values;
  for (const std::optional<double>& value : summary.values) {
    if (value) values.push_back(*value);
  }
  summary.n = values.size();
  if (values.empty()) return;
  const auto [smallest, largest] = std::minmax_element(values.begin(), values.end());
  summary.min = *smallest;
  summary.max = *largest;
  const experiment::Spread spread = experiment::spread_of(values);
  summary.median = spread.median;
  if (spread.n > 1) summary.spread = spread.error;
}

ordered_json or_null(const std::optional<double>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

ordered_json summary_document(const FigureSummary& summary) {
  ordered_json result;
  result["n"] = summary.n;
  result["median"] = or_null(summary.median);
  result["min"] = or_null(summary.min);
  result["max"] = or_null(summary.max);
  result["spread"] = or_null(summary.spread);
  return result;
}

ordered_json bootstrap_document(const BootstrapSummary& bootstrap) {
  ordered_json result;
  result["n"] = bootstrap.n;
  result["sigma"] = bootstrap.sigma;
  result["error"] = bootstrap.error;
  result["low"] = bootstrap.low;
  result["high"] = bootstrap.high;
  result["ratio"] = or_null(bootstrap.ratio);
  result["ratio_low"] = or_null(bootstrap.ratio_low);
  result["ratio_high"] = or_null(bootstrap.ratio_high);
  return result;
}

std::size_t seed_index(const StudyOptions& options, std::int64_t seed) {
  return static_cast<std::size_t>(std::find(options.seeds.begin(), options.seeds.end(), seed) -
                                  options.seeds.begin());
}

/// A finished run with bootstraps.
struct BootstrapRun {
  std::vector<double> values;
  double sigma = 0.0;
  Json data;  // where the events are from
};

std::optional<BootstrapRun> bootstraps_of(const StudyRun& run, const fs::path& directory) {
  const Json result = read_json(directory / run.directory / "result.json");
  const auto sigma = number_at(result, "/test/sigma/0");
  if (!sigma || !result.contains("bootstrap_sigma")) return std::nullopt;
  BootstrapRun found{result.at("bootstrap_sigma").get<std::vector<double>>(), *sigma, {}};
  const fs::path document = directory / run.directory / "experiment.json";
  if (fs::exists(document)) found.data = read_json(document).value("data", Json());
  return found.values.empty() ? std::nullopt : std::optional(std::move(found));
}

/// \param first of the first variant with the same seed; null without
BootstrapSummary summary_of(const StudyRun& run, const BootstrapRun& own,
                            const BootstrapRun* first) {
  const experiment::Spread spread = experiment::spread_of(own.values);
  BootstrapSummary result;
  result.variant = run.variant;
  result.seed = run.seed;
  result.n = spread.n;
  result.sigma = own.sigma;
  result.error = spread.error;
  result.low = spread.low;
  result.high = spread.high;
  // Bootstraps of the same events are the same in all variants: the events' noise drops out.
  if (first == nullptr || own.data.is_null() || own.data != first->data ||
      own.values.size() != first->values.size()) {
    return result;
  }
  std::vector<double> ratios;
  for (std::size_t b = 0; b < own.values.size(); ++b) {
    ratios.push_back(own.values[b] / first->values[b]);
  }
  const experiment::Spread paired = experiment::spread_of(ratios);
  result.ratio = own.sigma / first->sigma;
  result.ratio_low = paired.low;
  result.ratio_high = paired.high;
  return result;
}

std::vector<BootstrapSummary> all_bootstraps(const StudyOptions& options,
                                             const std::vector<StudyRun>& runs,
                                             const fs::path& directory) {
  std::vector<BootstrapSummary> result;
  std::map<std::int64_t, BootstrapRun> first;  // by seed
  for (std::size_t v = 0; v < options.variants.size(); ++v) {
    for (const StudyRun& run : runs) {
      if (run.variant != v || run.state != RunState::finished) continue;
      const auto own = bootstraps_of(run, directory);
      if (!own) continue;
      const auto partner = first.find(run.seed);
      result.push_back(summary_of(run, *own, partner == first.end() ? nullptr : &partner->second));
      if (v == 0) first.emplace(run.seed, *own);
    }
  }
  return result;
}

std::string text_or_blank(const std::optional<double>& value, int digits) {
  return value ? cli::brief(*value, digits) : "";
}

}  // namespace

StudyComparison compare_runs(const StudyOptions& options, const std::vector<StudyRun>& runs,
                             const fs::path& directory) {
  StudyComparison result;
  FigureSummary empty;
  empty.values.resize(options.seeds.size());
  result.table.assign(options.variants.size(),
                      std::vector<FigureSummary>(options.figures.size(), empty));
  bool any = false;
  for (const StudyRun& run : runs) {
    if (run.state != RunState::finished) continue;
    any = true;
    const Json document = read_json(directory / run.directory / "result.json");
    for (std::size_t f = 0; f < options.figures.size(); ++f) {
      result.table[run.variant][f].values[seed_index(options, run.seed)] =
          number_at(document, options.figures[f]);
    }
  }
  for (std::size_t f = 0; f < options.figures.size(); ++f) {
    bool found = false;
    for (auto& row : result.table) {
      summarise(row[f]);
      found = found || row[f].n > 0;
    }
    if (any && !found) {
      result.warnings.push_back({"no result.json has a number there", options.figures[f]});
    }
  }
  result.bootstraps = all_bootstraps(options, runs, directory);
  return result;
}

ordered_json comparison_document(const StudyOptions& options, const std::vector<StudyRun>& runs,
                                 const StudyComparison& comparison) {
  ordered_json document;
  document["name"] = options.name;
  document["version"] = version();
  document["figures"] = options.figures;
  document["seeds"] = options.seeds;
  document["variants"] = ordered_json::array();
  for (std::size_t v = 0; v < options.variants.size(); ++v) {
    ordered_json variant;
    variant["name"] = options.variants[v].name;
    variant["set"] = options.variants[v].set;
    variant["summary"] = ordered_json::object();
    for (std::size_t f = 0; f < options.figures.size(); ++f) {
      variant["summary"][options.figures[f]] = summary_document(comparison.table[v][f]);
    }
    variant["runs"] = ordered_json::array();
    for (const StudyRun& run : runs) {
      if (run.variant != v) continue;
      ordered_json entry;
      entry["seed"] = run.seed;
      entry["directory"] = run.directory.generic_string();
      entry["state"] = to_string(run.state);
      if (!run.message.empty()) entry["message"] = run.message;
      entry["values"] = ordered_json::object();
      for (std::size_t f = 0; f < options.figures.size(); ++f) {
        entry["values"][options.figures[f]] =
            or_null(comparison.table[v][f].values[seed_index(options, run.seed)]);
      }
      for (const BootstrapSummary& bootstrap : comparison.bootstraps) {
        if (bootstrap.variant != v || bootstrap.seed != run.seed) continue;
        entry["bootstrap"] = bootstrap_document(bootstrap);
      }
      variant["runs"].push_back(std::move(entry));
    }
    document["variants"].push_back(std::move(variant));
  }
  return document;
}

std::string comparison_csv(const StudyOptions& options, const StudyComparison& comparison) {
  using cli::csv_cell;
  cli::Csv table({"variant", "figure", "n", "median", "min", "max", "spread"});
  for (std::size_t v = 0; v < options.variants.size(); ++v) {
    for (std::size_t f = 0; f < options.figures.size(); ++f) {
      const FigureSummary& summary = comparison.table[v][f];
      table.row({csv_cell(options.variants[v].name), csv_cell(options.figures[f]),
                 std::to_string(summary.n), csv_cell(summary.median), csv_cell(summary.min),
                 csv_cell(summary.max), csv_cell(summary.spread)});
    }
  }
  return table.str();
}

std::string comparison_text(const StudyOptions& options, const StudyComparison& comparison) {
  constexpr int k_digits = 5;
  cli::Table table("lrrrrr");
  for (std::size_t f = 0; f < options.figures.size(); ++f) {
    if (f > 0) table.gap();
    table.row({options.figures[f], "runs", "median", "min", "max", "spread"});
    for (std::size_t v = 0; v < options.variants.size(); ++v) {
      const FigureSummary& summary = comparison.table[v][f];
      table.row({options.variants[v].name, fmt::format("{}/{}", summary.n, options.seeds.size()),
                 text_or_blank(summary.median, k_digits), text_or_blank(summary.min, k_digits),
                 text_or_blank(summary.max, k_digits), text_or_blank(summary.spread, 2)});
    }
  }
  if (comparison.bootstraps.empty()) return table.str();
  cli::Table bootstraps("lrrrrrr");
  bootstraps.row({"bootstraps of test events", "seed", "sigma", "error", "95 %",
                  "ratio to " + options.variants.front().name, "95 %"});
  const auto range = [](double low, double high) {
    return cli::brief(low, 4) + " to " + cli::brief(high, 4);
  };
  for (const BootstrapSummary& b : comparison.bootstraps) {
    bootstraps.row({options.variants[b.variant].name, std::to_string(b.seed),
                    cli::brief(b.sigma, k_digits), cli::brief(b.error, 2), range(b.low, b.high),
                    text_or_blank(b.ratio, 4), b.ratio ? range(*b.ratio_low, *b.ratio_high) : ""});
  }
  return table.str() + "\n" + bootstraps.str();
}

}  // namespace slalom
