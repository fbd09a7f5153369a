// SPDX-License-Identifier: Apache-2.0
/// \file
/// What is drawn for each channel.
#include <algorithm>
#include <fmt/format.h>

#include "cli/arguments.hpp"
#include "cli/suggest.hpp"
#include "slalom/core/yields.hpp"
#include "slalom/workflows/plot.hpp"

namespace slalom {

namespace {

/// Colours of the palette; smaller samples beyond it are drawn together.
constexpr std::size_t k_colours = 9;
constexpr const char* k_other = "other";

/// What is known about one name of a sample, over all channels.
struct SampleStyle {
  std::string name;
  bool signal = false;
  double sum = 0.0;
  int colour = 0;
  bool merged = false;
};

std::vector<double> sample_rates(Evaluator& evaluator, std::span<const double> parameters) {
  std::size_t size = 0;
  for (const ChannelSpec& channel : evaluator.model().spec().channels) {
    size += channel.n_bins * channel.samples.size();
  }
  std::vector<double> rates(size);
  evaluator.expected_samples(parameters, rates);
  return rates;
}

bool is_signal(const SampleSpec& sample, const ModelSpec& spec) {
  return spec.poi && std::any_of(sample.factors.begin(), sample.factors.end(),
                                 [&spec](const FactorTerm& f) { return f.parameter == *spec.poi; });
}

SampleStyle& style_of(std::vector<SampleStyle>& styles, const std::string& name) {
  const auto found = std::find_if(styles.begin(), styles.end(),
                                  [&name](const SampleStyle& s) { return s.name == name; });
  if (found != styles.end()) return *found;
  styles.push_back({name});
  return styles.back();
}

/// Colours by size, the same in all channels; sorted from bottom to top of a stack.
std::vector<SampleStyle> sample_styles(const ModelSpec& spec, const std::vector<double>& rates) {
  std::vector<SampleStyle> styles;
  std::size_t first = 0;
  for (const ChannelSpec& channel : spec.channels) {
    for (const SampleSpec& sample : channel.samples) {
      SampleStyle& style = style_of(styles, sample.name);
      style.signal = style.signal || is_signal(sample, spec);
      for (std::size_t k = 0; k < channel.n_bins; ++k) style.sum += rates[first + k];
      first += channel.n_bins;
    }
  }
  // A model that is nothing but signal is drawn like any other.
  if (std::all_of(styles.begin(), styles.end(), [](const SampleStyle& s) { return s.signal; })) {
    for (SampleStyle& style : styles) style.signal = false;
  }
  std::stable_sort(styles.begin(), styles.end(), [](const SampleStyle& a, const SampleStyle& b) {
    return a.signal != b.signal ? !a.signal : a.sum < b.sum;
  });
  const auto backgrounds = static_cast<std::size_t>(
      std::count_if(styles.begin(), styles.end(), [](const SampleStyle& s) { return !s.signal; }));
  for (std::size_t i = 0; i < styles.size(); ++i) {
    const std::size_t rank = backgrounds - 1 - std::min(i, backgrounds - 1);  // 0 for the largest
    styles[i].merged = !styles[i].signal && backgrounds > k_colours && rank >= k_colours - 1;
    styles[i].colour = styles[i].signal ? -1 : static_cast<int>(std::min(rank, k_colours - 1));
  }
  return styles;
}

PlotSample& sample_named(std::vector<PlotSample>& samples, const PlotSample& wanted) {
  const auto found = std::find_if(samples.begin(), samples.end(), [&wanted](const PlotSample& s) {
    return s.label == wanted.label;
  });
  if (found != samples.end()) return *found;
  samples.push_back(wanted);
  return samples.back();
}

void set_axis(ChannelPlot& plot, const PlotOptions& options) {
  const std::size_t n = plot.total.size();
  double low = 0.5;
  double high = static_cast<double>(n) + 0.5;
  for (const PlotAxis& axis : options.axes) {
    if (axis.channel != plot.channel) continue;
    plot.axis = axis.label;
    low = axis.low;
    high = axis.high;
  }
  plot.edges.resize(n + 1);
  for (std::size_t i = 0; i <= n; ++i) {
    plot.edges[i] = low + (high - low) * static_cast<double>(i) / static_cast<double>(n);
  }
}

/// The samples of one channel from bottom to top.
std::vector<PlotSample> stack_of(const ChannelSpec& channel, std::span<const double> rates,
                                 const std::vector<SampleStyle>& styles,
                                 const PlotOptions& options) {
  std::vector<PlotSample> stack;
  for (const SampleStyle& style : styles) {
    for (std::size_t s = 0; s < channel.samples.size(); ++s) {
      if (channel.samples[s].name != style.name) continue;
      const auto label = options.labels.find(style.name);
      const bool labelled = label != options.labels.end() && !style.merged;
      const std::string text = style.merged ? k_other : labelled ? label->second : style.name;
      PlotSample& sample = sample_named(
          stack, {text, labelled, style.colour, std::vector<double>(channel.n_bins, 0.0)});
      for (std::size_t k = 0; k < channel.n_bins; ++k) {
        sample.yields[k] += rates[s * channel.n_bins + k];
      }
    }
  }
  return stack;
}

}  // namespace

PlotAxis parse_plot_axis(const std::string& text, const ModelSpec& spec) {
  const std::string option = "--axis";
  const std::size_t last = text.rfind(':');
  const std::size_t middle =
      last == std::string::npos || last == 0 ? std::string::npos : text.rfind(':', last - 1);
  const Error form(ErrorKind::usage, "expected CHANNEL:LABEL:LOW:HIGH, got '" + text + "'", option);
  if (middle == std::string::npos) throw form;
  const std::string head = text.substr(0, middle);
  PlotAxis axis;
  std::vector<std::string> names;
  for (const ChannelSpec& channel : spec.channels) {
    names.push_back(channel.name);
    const bool fits = head.compare(0, channel.name.size() + 1, channel.name + ":") == 0;
    if (fits && channel.name.size() >= axis.channel.size()) axis.channel = channel.name;
  }
  if (head.find(':') == std::string::npos) throw form;
  if (axis.channel.empty()) {
    const std::string name = head.substr(0, head.find(':'));
    throw Error(ErrorKind::usage,
                fmt::format("there is no channel '{}'{}", name, cli::did_you_mean(name, names)),
                option);
  }
  axis.label = head.substr(axis.channel.size() + 1);
  axis.low = cli::parse_number(text.substr(middle + 1, last - middle - 1), option);
  axis.high = cli::parse_number(text.substr(last + 1), option);
  if (!(axis.low < axis.high)) throw Error(ErrorKind::usage, "LOW must be below HIGH", option);
  return axis;
}

std::vector<ChannelPlot> channel_plots(const Model& model, std::span<const double> parameters,
                                       const Covariance& covariance, std::span<const double> data,
                                       const PlotOptions& options) {
  const ModelSpec& spec = model.spec();
  Evaluator evaluator(model);
  const RateErrors errors = rate_errors(model, parameters, covariance);
  std::vector<double> total(model.n_bins());
  evaluator.expected_main(parameters, total);
  const std::vector<double> rates = sample_rates(evaluator, parameters);
  const std::vector<SampleStyle> styles = sample_styles(spec, rates);
  std::vector<ChannelPlot> plots;
  std::size_t first = 0;
  for (const ChannelSpec& channel : spec.channels) {
    const auto bins_of = [&channel](std::span<const double> values) {
      const auto part = values.subspan(channel.first_bin, channel.n_bins);
      return std::vector<double>(part.begin(), part.end());
    };
    const std::size_t size = channel.samples.size() * channel.n_bins;
    ChannelPlot plot{channel.name, {}, "", {}, bins_of(total), bins_of(errors.bins), bins_of(data)};
    plot.samples = stack_of(channel, std::span(rates).subspan(first, size), styles, options);
    set_axis(plot, options);
    plots.push_back(std::move(plot));
    first += size;
  }
  return plots;
}

}  // namespace slalom
