// SPDX-License-Identifier: Apache-2.0
#include "experiment/templates_plot.hpp"

#include <algorithm>

namespace slalom::experiment {

namespace {

/// Samples beyond this number are drawn together.
constexpr std::size_t k_most_samples = 6;
/// Nuisance parameters that get a panel at most.
constexpr std::size_t k_most_panels = 8;
/// Bins wider than so many times the median one cannot be drawn to scale.
constexpr double k_too_wide = 8.0;

using Bins = std::vector<double>;

const Json& channel_of(const ExperimentOptions& options, const Json& workspace) {
  for (const Json& channel : workspace.at("channels")) {
    if (channel.at("name") == options.model.channel) return channel;
  }
  return workspace.at("channels").at(0);
}

void add(Bins& sum, const Bins& other) {
  sum.resize(std::max(sum.size(), other.size()), 0.0);
  for (std::size_t b = 0; b < other.size(); ++b) sum[b] += other[b];
}

/// Events of a sample when a parameter is at one end.
/// \returns nothing if the parameter does not act on it
Bins varied(const Json& sample, const std::string& parameter, bool up) {
  const auto nominal = sample.at("data").get<Bins>();
  Bins factor(nominal.size(), 1.0), sum = nominal;
  bool acts = false;
  for (const Json& modifier : sample.at("modifiers")) {
    if (modifier.at("name") != parameter) continue;
    if (modifier.at("type") == "histosys") {
      sum = modifier.at("data").at(up ? "hi_data" : "lo_data").get<Bins>();
      acts = true;
    } else if (modifier.at("type") == "normsys") {
      for (double& value : factor) value *= modifier.at("data").at(up ? "hi" : "lo").get<double>();
      acts = true;
    }
  }
  if (!acts) return {};
  for (std::size_t b = 0; b < sum.size(); ++b) sum[b] *= factor[b];
  return sum;
}

/// Relative change of a sum of samples. \returns nothing if none of them changes
Bins change(const Json& channel, const ExperimentOptions& options, const std::string& parameter,
            bool up, bool signal) {
  Bins nominal, moved;
  bool acts = false;
  for (const Json& sample : channel.at("samples")) {
    if ((sample.at("name") == options.data.signal) != signal) continue;
    const auto events = sample.at("data").get<Bins>();
    const Bins other = varied(sample, parameter, up);
    acts = acts || !other.empty();
    add(nominal, events);
    add(moved, other.empty() ? events : other);
  }
  if (!acts) return {};
  for (std::size_t b = 0; b < nominal.size(); ++b) {
    moved[b] = nominal[b] > 0.0 ? moved[b] / nominal[b] - 1.0 : 0.0;
  }
  return moved;
}

std::string axis_label(const ExperimentOptions& options) {
  const SummaryOptions& summary = options.summary;
  if (summary.type == SummaryKind::linear) return "Efficient score";
  if (summary.columns.size() == 1 && summary.columns.front() != "score") {
    return without_markup(summary.columns.front());
  }
  return "Score";
}

bool drawable(const Bins& edges, std::size_t bins) {
  if (edges.size() != bins + 1) return false;
  Bins widths;
  for (std::size_t b = 0; b < bins; ++b) widths.push_back(edges[b + 1] - edges[b]);
  std::sort(widths.begin(), widths.end());
  return widths.front() > 0.0 && widths.back() <= k_too_wide * widths[(bins - 1) / 2];
}

void set_edges(VariationPlot& plot, const ExperimentOptions& options, const Json& result) {
  const std::size_t bins = plot.samples.front().hard.size();
  plot.edges = result.at("edges").get<Bins>();
  if (drawable(plot.edges, bins)) {
    plot.axis = axis_label(options);
    return;
  }
  plot.axis = "Bin";
  plot.edges.clear();
  for (std::size_t b = 0; b <= bins; ++b) plot.edges.push_back(static_cast<double>(b) + 0.5);
}

}  // namespace

VariationPlot templates_plot(const ExperimentOptions& options, const Json& workspace,
                             const Json& result) {
  const Json& channel = channel_of(options, workspace);
  const Json& soft = result.at("soft_yields");
  VariationPlot plot;
  VariationSample rest{.name = "Others", .hard = {}};
  int colour = 0;
  for (const Json& sample : channel.at("samples")) {
    const auto name = sample.at("name").get<std::string>();
    VariationSample entry{.name = name, .hard = sample.at("data").get<Bins>()};
    if (soft.contains(name)) entry.soft = soft.at(name).get<Bins>();
    const bool signal = name == options.data.signal;
    if (!signal && entry.soft.empty() && plot.samples.size() >= k_most_samples) {
      add(rest.hard, entry.hard);
      continue;
    }
    entry.colour = signal ? -1 : colour++;
    plot.samples.push_back(std::move(entry));
  }
  if (!rest.hard.empty()) {
    rest.colour = colour;
    plot.samples.push_back(std::move(rest));
  }
  set_edges(plot, options, result);
  for (const NuisanceOptions& nuisance : options.nuisances) {
    if (plot.panels.size() == k_most_panels) break;
    VariationPanel panel{.name = nuisance.name,
                         .up = change(channel, options, nuisance.name, true, false),
                         .down = change(channel, options, nuisance.name, false, false),
                         .signal_up = change(channel, options, nuisance.name, true, true),
                         .signal_down = change(channel, options, nuisance.name, false, true)};
    if (panel.up.empty() && panel.signal_up.empty()) continue;
    plot.panels.push_back(std::move(panel));
  }
  return plot;
}

}  // namespace slalom::experiment
