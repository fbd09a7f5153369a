// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom logpdf` and `slalom expected`: the likelihood and the rates at one point.
#include <fmt/format.h>
#include <span>

#include "cli/command.hpp"
#include "cli/model_arguments.hpp"
#include "cli/result.hpp"
#include "cli/text.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

OrderedJson named_values(const ModelSpec& spec, const std::vector<double>& values) {
  OrderedJson object = OrderedJson::object();
  for (std::size_t i = 0; i < values.size(); ++i) {
    append(object, spec.parameters[i].name, finite(values[i], spec.parameters[i].name));
  }
  return object;
}

/// Bins of one channel.
std::span<const double> bins_of(const ChannelSpec& channel, const std::vector<double>& rates) {
  return std::span(rates).subspan(channel.first_bin, channel.n_bins);
}

/// Rates of all samples, channel by channel.
std::vector<double> sample_rates(const Model& model, const std::vector<double>& point) {
  std::size_t size = 0;
  for (const ChannelSpec& channel : model.spec().channels) {
    size += channel.n_bins * channel.samples.size();
  }
  std::vector<double> rates(size);
  Evaluator(model).expected_samples(point, rates);
  return rates;
}

OrderedJson samples_json(const Model& model, const std::vector<double>& point) {
  const std::vector<double> rates = sample_rates(model, point);
  OrderedJson result = OrderedJson::object();
  std::size_t first = 0;
  for (const ChannelSpec& channel : model.spec().channels) {
    OrderedJson& samples = result[channel.name];
    for (const SampleSpec& sample : channel.samples) {
      const auto bins = std::span(rates).subspan(first, channel.n_bins);
      append(samples, sample.name, number_array(bins, channel.name + "/" + sample.name));
      first += channel.n_bins;
    }
  }
  return result;
}

OrderedJson expected_json(const Model& model, const std::vector<double>& point, bool samples) {
  const std::vector<double> expected = model.expected_data(point);
  OrderedJson main = OrderedJson::object();
  for (const ChannelSpec& channel : model.spec().channels) {
    append(main, channel.name, number_array(bins_of(channel, expected), channel.name));
  }
  const auto auxiliary = std::span<const double>(expected).subspan(model.n_bins());
  OrderedJson result;
  result["main"] = std::move(main);
  if (samples) result["samples"] = samples_json(model, point);
  result["auxiliary"] = number_array(auxiliary, "auxiliary");
  result["data"] = number_array(expected, "data");
  result["parameters"] = named_values(model.spec(), point);
  return result;
}

void add_bins(Table& table, const std::string& name, std::span<const double> bins) {
  double sum = 0.0;
  std::string text;
  for (const double value : bins) {
    sum += value;
    if (text.size() < k_page_width) text += brief(value, 5) + " ";
  }
  table.row({shorten(name, 30), brief(sum), shorten(text, 54)});
}

std::string expected_text(const Model& model, const std::vector<double>& point, bool samples) {
  const std::vector<double> expected = model.expected_data(point);
  const std::vector<double> rates = samples ? sample_rates(model, point) : std::vector<double>{};
  Table table("lrl");
  table.row({"channel", "sum", "bins"});
  std::size_t first = 0;
  for (const ChannelSpec& channel : model.spec().channels) {
    add_bins(table, channel.name, bins_of(channel, expected));
    for (const SampleSpec& sample : channel.samples) {
      if (!samples) break;
      add_bins(table, "  " + sample.name, std::span(rates).subspan(first, channel.n_bins));
      first += channel.n_bins;
    }
  }
  return fmt::format("{}\n{} (all numbers with --json)\n", table.str(),
                     count(model.n_auxiliary(), "auxiliary value"));
}

}  // namespace

int run_logpdf(Command& command) {
  ModelArguments arguments;
  declare_model(command, arguments);
  declare_point(command, arguments);
  declare_data(command, arguments);
  command.arguments.example("slalom logpdf workspace.json --fix mu=0");
  if (!command.parse()) return exit_success;
  const LoadedModel loaded = load_model(command, arguments);
  const std::vector<double> point = loaded.spec().initial();
  const double logpdf = finite(loaded.model.logpdf(point, loaded.data), "logpdf");
  if (!command.wants_json()) {
    command.answer(fmt::format("log L = {}, -2 log L = {}\n", exact(logpdf), exact(-2.0 * logpdf)));
    return exit_success;
  }
  OrderedJson result;
  result["logpdf"] = logpdf;
  result["twice_nll"] = -2.0 * logpdf;
  result["parameters"] = named_values(loaded.spec(), point);
  result["parameter_order"] = parameter_names(loaded.spec());
  command.answer(std::move(result));
  return exit_success;
}

int run_expected(Command& command) {
  ModelArguments arguments;
  bool samples = false;
  declare_model(command, arguments);
  declare_point(command, arguments);
  declare_data(command, arguments);
  command.arguments.flag("--samples", samples, "Every sample as well");
  command.arguments.example("slalom expected workspace.json --fix mu=0");
  if (!command.parse()) return exit_success;
  const LoadedModel loaded = load_model(command, arguments);
  const std::vector<double> point =
      loaded.asimov_point.empty() ? loaded.spec().initial() : loaded.asimov_point;
  if (command.wants_json()) {
    command.answer(expected_json(loaded.model, point, samples));
  } else {
    command.answer(expected_text(loaded.model, point, samples));
  }
  return exit_success;
}

}  // namespace slalom::cli
