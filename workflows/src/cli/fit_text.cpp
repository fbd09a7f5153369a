// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "cli/fit_report.hpp"
#include "cli/text.hpp"

namespace slalom::cli {

namespace {

/// Beyond this many pre-fit uncertainties a parameter is marked as pulled.
constexpr double k_strong_pull = 1.0;
/// Below this fraction of its pre-fit uncertainty a parameter is marked as constrained.
constexpr double k_strong_constraint = 0.5;
/// Half a picture of a pull, in characters, and what it stands for.
constexpr int k_half_width = 10;
constexpr double k_half_range = 2.5;
constexpr std::size_t k_name_width = 38;
/// Correlations that the table lists.
constexpr std::size_t k_correlations = 20;

bool is_binwise(ModifierType type) {
  return type == ModifierType::shapesys || type == ModifierType::staterror ||
         type == ModifierType::shapefactor;
}

/// Whether a per-bin parameter deserves a line of the table.
bool moved(const FitReport& report, std::size_t i) {
  if (report.result.fixed[i]) return false;
  const auto& pull = report.pulls[i];
  return report.result.at_bound[i] || !pull || std::abs(pull->pull) > k_strong_pull;
}

int column_of(double value) {
  const double scaled = std::round(value / k_half_range * k_half_width);
  return k_half_width +
         static_cast<int>(std::clamp(scaled, -1.0 * k_half_width, 1.0 * k_half_width));
}

/// "   :   |--o--|   :   ": pull and post-fit error against the pre-fit band of +-1.
std::string picture_of(const Pull& pull) {
  std::string line(2 * k_half_width + 1, ' ');
  const auto put = [&line](double value, char c) {
    line[static_cast<std::size_t>(column_of(value))] = c;
  };
  for (const double edge : {-1.0, 1.0}) put(edge, ':');
  put(0.0, '|');
  const int high = column_of(pull.pull + pull.constraint);
  for (int c = column_of(pull.pull - pull.constraint); c <= high; ++c) {
    line[static_cast<std::size_t>(c)] = '-';
  }
  put(pull.pull, std::abs(pull.pull) > k_half_range ? (pull.pull > 0 ? '>' : '<') : 'o');
  return line;
}

std::string scale_line() {
  std::string line(2 * k_half_width + 1, ' ');
  for (const int tick : {-2, -1, 0, 1, 2}) {
    const auto at = static_cast<std::size_t>(column_of(tick));
    const std::string label = std::to_string(tick);
    line.replace(tick < 0 ? at - 1 : at, label.size(), label);
  }
  return line;
}

void add_parameter(const FitReport& report, std::size_t i, Table& table) {
  const auto [value, error] = parameter_value(report, i);
  std::vector<std::string> row{shorten(report.spec().parameters[i].name, k_name_width), value,
                               error};
  const auto& pull = report.pulls[i];
  if (pull) {
    row.push_back(fmt::format("{:+.2f}", pull->pull));
    row.push_back(fmt::format("{:.2f}", pull->constraint));
    row.push_back(picture_of(*pull));
  } else {
    row.insert(row.end(), {"", "", ""});
  }
  row.push_back(parameter_mark(report, i));
  table.row(std::move(row));
}

std::string parameter_table(const FitReport& report, bool all) {
  const ParameterRows rows = parameter_rows(report, all);
  Table table("lrlrrll");
  table.row({"parameter", "value", "error", "pull", "constraint", scale_line(), ""});
  for (const std::size_t i : rows.shown) add_parameter(report, i, table);
  std::string text = table.str();
  if (rows.hidden > 0) {
    text += fmt::format("  {} not pulled: not shown (--all shows them)\n",
                        count(rows.hidden, "per-bin parameter"));
  }
  return text;
}

/// The strongest correlations between two parameters; empty without the matrix.
std::string correlation_table(const FitReport& report) {
  const Covariance& covariance = report.covariance;
  const std::size_t n = covariance.parameters.size();
  if (covariance.matrix.empty() || n < 2) return "";
  struct Pair {
    double value;
    std::size_t i, j;
  };
  std::vector<Pair> pairs;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = i + 1; j < n; ++j)
      pairs.push_back({correlation_of(covariance, i, j), i, j});
  }
  const std::size_t rows = std::min(k_correlations, pairs.size());
  std::partial_sort(pairs.begin(), pairs.begin() + static_cast<std::ptrdiff_t>(rows), pairs.end(),
                    [](const Pair& a, const Pair& b) {
                      const double x = std::abs(a.value), y = std::abs(b.value);
                      return x != y ? x > y : std::pair(a.i, a.j) < std::pair(b.i, b.j);
                    });
  const auto name = [&](std::size_t i) {
    return shorten(report.spec().parameters[covariance.parameters[i]].name, k_name_width);
  };
  Table table("llr");
  table.row({"strongest correlations"});
  for (std::size_t k = 0; k < rows; ++k) {
    table.row({name(pairs[k].i), name(pairs[k].j), fmt::format("{:+.3f}", pairs[k].value)});
  }
  return "\n" + table.str();
}

/// Weights of simulations, and what the data say of them.
std::string mixture_tables(const FitReport& report) {
  std::string text;
  for (const MixtureFitReport& m : report.mixtures) {
    Table table("lrlr");
    table.row({shorten(m.name, k_name_width), "weight", "error", ""});
    for (const FittedWeight& w : m.weights) {
      const int decimals = w.error > 0.0 ? decimals_for(w.error) : 3;
      table.row({shorten(w.simulation, k_name_width), fixed_point(w.value, decimals),
                 w.error > 0.0 ? "+- " + fixed_point(w.error, decimals) : "", ""});
    }
    text += "\n" + table.str();
    text += fmt::format("  pulls: chi2 {} for {} of freedom, p = {}; narrowest: {} of the prior",
                        brief(m.chi2, 3), count(m.degrees, "degree"), brief(m.p_value, 3),
                        brief(m.narrowest, 2));
    if (!m.channel.empty()) {
      text += fmt::format(", {:.0f} % of it from {}", 100.0 * m.channel_part,
                          shorten(m.channel, k_name_width));
    }
    text += m.complete ? "\n" : "\n  weights are the smallest of many: directions are left out\n";
  }
  return text;
}

std::string poi_line(const FitReport& report) {
  const ModelSpec& spec = report.spec();
  if (!spec.poi) return "";
  const std::size_t i = *spec.poi;
  std::string line = "  " + parameter_summary(report, i);
  const auto interval = report.minos.find(i);
  if (interval != report.minos.end()) {
    const auto& [lower, upper] = interval->second;
    const int decimals = decimals_for(upper.value - lower.value);
    line += fmt::format("   68.3 % interval [{}, {}]{}", fixed_point(lower.value, decimals),
                        fixed_point(upper.value, decimals),
                        lower.at_bound || upper.at_bound ? " (ends at a bound)" : "");
  } else if (!parameter_mark(report, i).empty()) {
    line += " (" + parameter_mark(report, i) + ")";
  }
  return line + "\n\n";
}

std::string summary(const FitReport& report, bool colour) {
  const FitResult& result = report.result;
  const ModelSpec& spec = report.spec();
  const auto held =
      static_cast<std::size_t>(std::count(result.fixed.begin(), result.fixed.end(), true));
  const std::string status =
      result.converged() ? result.message : "NOT CONVERGED: " + result.message;
  const bool alarm = colour && !result.converged();
  Table table("ll");
  table.row(
      {"model", fmt::format("measurement {}: {}, {}, {} ({} held)", report.loaded.measurement,
                            count(spec.channels.size(), "channel"), count(spec.n_bins(), "bin"),
                            count(spec.parameters.size(), "parameter"), held)});
  if (!report.loaded.asimov_point.empty()) table.row({"data", "Asimov, not the observed ones"});
  table.row({"fit", (alarm ? "\033[31m" : "") + status + (alarm ? "\033[0m" : "")});
  table.row({"-2 log L", fmt::format("{:.9g}", result.twice_nll)});
  if (report.goodness) {
    table.row(
        {"goodness", fmt::format("{} for {} of freedom, p = {}", brief(report.goodness->statistic),
                                 count(report.goodness->degrees_of_freedom, "degree"),
                                 brief(report.goodness->p_value, 4))});
  }
  table.row({"because", fmt::format("scaled gradient {}, distance to minimum {}, smallest "
                                    "eigenvalue {}",
                                    brief(result.kkt_residual, 2), brief(result.edm, 2),
                                    brief(result.smallest_eigenvalue, 3))});
  table.row({"work", fmt::format("{}, {}, {}",
                                 count(static_cast<std::size_t>(result.iterations), "iteration"),
                                 count(static_cast<std::size_t>(result.evaluations), "evaluation"),
                                 count(static_cast<std::size_t>(result.starts), "start"))});
  return table.str(2, 3);
}

}  // namespace

std::string parameter_mark(const FitReport& report, std::size_t i) {
  if (report.result.fixed[i]) return "fixed";
  if (report.result.at_bound[i]) return "at bound";
  const auto& pull = report.pulls[i];
  if (!pull) return "";
  std::string mark;
  if (std::abs(pull->pull) > k_strong_pull) mark = "pulled";
  if (pull->constraint > 0.0 && pull->constraint < k_strong_constraint) {
    mark += mark.empty() ? "over-constrained" : ", over-constrained";
  }
  return mark;
}

std::pair<std::string, std::string> parameter_value(const FitReport& report, std::size_t i) {
  const double value = report.result.parameters[i];
  const double error = report.covariance.errors[i];
  const auto interval = report.minos.find(i);
  if (interval != report.minos.end()) {
    const double down = interval->second.lower.value - value;
    const double up = interval->second.upper.value - value;
    const int decimals =
        decimals_for(std::min(up, -down) > 0.0 ? std::min(up, -down) : std::max(up, -down));
    return {fixed_point(value, decimals),
            fmt::format("+{} {}", fixed_point(up, decimals),
                        down == 0.0 ? "-0" : fixed_point(down, decimals))};
  }
  if (error == 0.0) return {brief(value), ""};
  const int decimals = decimals_for(error);
  return {fixed_point(value, decimals), "+- " + fixed_point(error, decimals)};
}

ParameterRows parameter_rows(const FitReport& report, bool all) {
  const ModelSpec& spec = report.spec();
  ParameterRows rows;
  if (spec.poi) rows.shown.push_back(*spec.poi);
  std::vector<std::size_t> constrained;
  std::vector<std::size_t> binwise;
  for (const ParameterSet& set : spec.sets) {
    for (std::size_t i = set.first; i < set.first + set.size; ++i) {
      if (spec.poi == i) continue;
      if (!is_binwise(set.type)) {
        const bool free = spec.parameters[i].constraint == ConstraintType::none;
        (free ? rows.shown : constrained).push_back(i);
      } else if (all || moved(report, i) || report.minos.contains(i)) {
        binwise.push_back(i);
      } else {
        ++rows.hidden;
      }
    }
  }
  rows.shown.insert(rows.shown.end(), constrained.begin(), constrained.end());
  rows.shown.insert(rows.shown.end(), binwise.begin(), binwise.end());
  return rows;
}

std::string parameter_summary(const FitReport& report, std::size_t parameter) {
  const auto [value, error] = parameter_value(report, parameter);
  const std::string& name = report.spec().parameters[parameter].name;
  return fmt::format("{} = {}{}{}", name, value, error.empty() ? "" : " ", error);
}

std::string fit_text(const FitReport& report, const FitTableOptions& options) {
  return summary(report, options.colour) + "\n" + poi_line(report) +
         parameter_table(report, options.all) + mixture_tables(report) + correlation_table(report);
}

}  // namespace slalom::cli
