// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom toys`.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/csv.hpp"
#include "cli/text.hpp"
#include "cli/toy_arguments.hpp"
#include "slalom/core/toy_summary.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

constexpr long k_default_toys = 1000;
/// Pulls that the table shows: the parameter of interest, and those that are farthest off.
constexpr std::size_t k_pulls_shown = 12;

struct ToysArguments : ModelArguments {
  ToyArguments toys;
  std::string at = "best";
  std::optional<double> mu;
  bool all = false;
  bool data = false;
};

void declare_toys_verb(Command& command, ToysArguments& options) {
  declare_model(command, options);
  declare_point(command, options);
  declare_data(command, options);
  declare_toys(command, options.toys, fmt::format("Number of toys; default {}", k_default_toys));
  Arguments& arguments = command.arguments;
  arguments.text("--at", options.at, "best|initial|MU",
                 "Where toys are thrown: at the best fit (the default), at the initial values "
                 "(--parameters sets them), or at the fit with the parameter of interest at MU");
  arguments.number("--mu", options.mu, "MU",
                   "Value of the parameter of interest in the conditional fits; default is the "
                   "true one");
  arguments.flag("--all", options.all, "Best fit and errors of all parameters of every toy (JSON)");
  arguments.flag("--data", options.data, "The thrown data of every toy (JSON)");
  command.declare_csv();
}

/// Where the toys are thrown.
std::vector<double> generating_point(const LoadedModel& loaded, std::size_t poi,
                                     const std::string& at) {
  if (at == "initial") return loaded.spec().initial();
  FitOptions options;
  if (at != "best") options.fixed = {{poi, parse_number(at, "--at")}};
  Fitter fitter = make_fitter(loaded);
  const FitResult result = fitter.fit(options);
  if (result.converged()) return result.parameters;
  throw Error(ErrorKind::numerical,
              "the fit that is to say where toys are thrown did not converge: " + result.message,
              "--at");
}

/// All that a run found.
struct ToysReport {
  const ToysArguments& arguments;
  const LoadedModel& loaded;
  const ToyRun& run;
  std::size_t poi;
  std::vector<double> truth;
  double mu;
  std::vector<Toy> toys;
  ToySummary summary;
};

OrderedJson distribution_json(const Distribution& d, const char* what) {
  OrderedJson result;
  append(result, "n", d.n);
  append(result, "mean", finite(d.mean, what));
  append(result, "mean_error", finite(d.mean_error, what));
  append(result, "width", finite(d.width, what));
  append(result, "width_error", finite(d.width_error, what));
  append(result, "band", number_array(d.band, what));
  return result;
}

OrderedJson fraction_json(const ToyProbability& p) {
  OrderedJson result;
  append(result, "value", p.value);
  append(result, "error", p.error);
  return result;
}

OrderedJson summary_json(const ToysReport& report) {
  const ToySummary& summary = report.summary;
  OrderedJson result = counts_json(summary.counts);
  append(result, "free_failed", summary.free_failed);
  append(result, "conditional_failed", summary.conditional_failed);
  append(result, "best_fit", distribution_json(summary.best_fit, "best_fit"));
  append(result, "t", distribution_json(summary.t, "t"));
  append(result, "q", distribution_json(summary.q, "q"));
  append(result, "within_one_sigma", fraction_json(summary.within_one_sigma));
  append(result, "within_95", fraction_json(summary.within_95));
  OrderedJson pulls = OrderedJson::object();
  for (std::size_t i = 0; i < summary.pulls.size(); ++i) {
    const Parameter& parameter = report.loaded.spec().parameters[i];
    if (parameter.fixed) continue;
    OrderedJson pull = distribution_json(summary.pulls[i], "pulls");
    append(pull, "without", summary.without_pull[i]);
    append(pulls, parameter.name, std::move(pull));
  }
  append(result, "pulls", std::move(pulls));
  return result;
}

/// One array per quantity, an entry per toy that was made.
template <typename Value>
OrderedJson column(const ToysReport& report, const Value& value) {
  OrderedJson array = OrderedJson::array();
  for (std::size_t i = 0; i < report.toys.size(); ++i) {
    if (report.toys[i].done) array.push_back(value(i, report.toys[i]));
  }
  return array;
}

OrderedJson columns_json(const ToysReport& report) {
  OrderedJson result;
  append(result, "index", column(report, [](std::size_t i, const Toy&) { return i; }));
  append(result, "best_fit",
         column(report, [](std::size_t, const Toy& toy) { return number_or_null(toy.poi); }));
  append(result, "error", column(report, [&](std::size_t, const Toy& toy) {
           return number_or_null(toy.errors[report.poi]);
         }));
  const auto statistic = [&](auto&& value) {
    return column(report, [&](std::size_t, const Toy& toy) {
      return toy.converged() ? number_or_null(value(toy)) : OrderedJson();
    });
  };
  append(result, "t", statistic([](const Toy& toy) { return toy.t(); }));
  append(result, "q", statistic([&](const Toy& toy) { return toy.q(report.mu); }));
  if (report.mu == 0.0) append(result, "q0", statistic([](const Toy& toy) { return toy.q0(); }));
  append(result, "converged",
         column(report, [](std::size_t, const Toy& toy) { return toy.converged(); }));
  return result;
}

OrderedJson parameters_json(const ToysReport& report, std::vector<double> Toy::*values) {
  OrderedJson result = OrderedJson::object();
  const auto& parameters = report.loaded.spec().parameters;
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    append(result, parameters[p].name, column(report, [&](std::size_t, const Toy& toy) {
             return number_or_null((toy.*values)[p]);
           }));
  }
  return result;
}

/// The data that the toys were fitted to: thrown once more, with the same random numbers.
OrderedJson data_json(const ToysReport& report) {
  const ToyOptions& options = report.run.options();
  const std::vector<double> auxiliary =
      options.throw_auxiliary ? std::vector<double>() : options.auxiliary;
  return column(report, [&](std::size_t i, const Toy&) {
    RandomStream random(options.seed, options.first + i);
    return number_array(throw_toy(report.loaded.model, report.truth, random, auxiliary), "data");
  });
}

OrderedJson toys_json(const ToysReport& report, bool converged) {
  const auto& parameters = report.loaded.spec().parameters;
  OrderedJson result, truth;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    append(truth, parameters[i].name, finite(report.truth[i], "truth"));
  }
  append(result, "at", report.arguments.at);
  append(result, "truth", std::move(truth));
  append(result, "mu", report.mu);
  append(result, "summary", summary_json(report));
  append(result, "toys", columns_json(report));
  if (report.arguments.all) {
    append(result, "parameters", parameters_json(report, &Toy::parameters));
    append(result, "errors", parameters_json(report, &Toy::errors));
  }
  if (report.arguments.data) append(result, "data", data_json(report));
  report.run.append_to(result);
  append(result, "converged", converged);
  append(result, "poi", parameters[report.poi].name);
  append(result, "measurement", report.loaded.measurement);
  return result;
}

std::string toys_csv(const ToysReport& report) {
  Csv csv({"index", "best_fit", "error", "t", "q", "converged"});
  for (std::size_t i = 0; i < report.toys.size(); ++i) {
    const Toy& toy = report.toys[i];
    if (!toy.done) continue;
    const bool good = toy.converged();
    csv.row({std::to_string(i), csv_cell(toy.poi), csv_cell(toy.errors[report.poi]),
             good ? csv_cell(toy.t()) : "", good ? csv_cell(toy.q(report.mu)) : "",
             csv_flag(good)});
  }
  return csv.str();
}

std::string with_error(double value, double error) {
  const int decimals = decimals_for(error);
  return fmt::format("{} +- {}", fixed_point(value, decimals), fixed_point(error, decimals));
}

void distribution_row(Table& table, const std::string& name, const Distribution& d) {
  table.row({name, with_error(d.mean, d.mean_error), with_error(d.width, d.width_error),
             brief(d.band[0], 4), brief(d.band[2], 4), brief(d.band[4], 4)});
}

/// The parameter of interest, then the pulls that are farthest from a standard normal one.
std::vector<std::size_t> pulls_to_show(const ToysReport& report) {
  const auto& pulls = report.summary.pulls;
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < pulls.size(); ++i) {
    if (i != report.poi && pulls[i].n > 1) order.push_back(i);
  }
  const auto deviation = [&](std::size_t i) {
    const Distribution& p = pulls[i];
    return std::max(std::abs(p.mean) / std::max(p.mean_error, 1e-300),
                    std::abs(p.width - 1.0) / std::max(p.width_error, 1e-300));
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return deviation(a) > deviation(b); });
  if (pulls.size() > report.poi && pulls[report.poi].n > 1) order.insert(order.begin(), report.poi);
  order.resize(std::min(order.size(), k_pulls_shown));
  return order;
}

std::string toys_text(const ToysReport& report) {
  const auto& parameters = report.loaded.spec().parameters;
  const std::string& poi = parameters[report.poi].name;
  const ToySummary& summary = report.summary;
  std::string text = fmt::format("  {} of {} toys at {} = {}, {} with a fit that failed\n\n",
                                 summary.counts.done, summary.counts.asked, poi,
                                 brief(report.truth[report.poi]), summary.counts.failed);
  Table table("lrrrrr");
  table.row({"", "mean", "width", "-2 sigma", "median", "+2 sigma"});
  distribution_row(table, poi, summary.best_fit);
  distribution_row(table, fmt::format("t at {} = {}", poi, brief(report.mu)), summary.t);
  distribution_row(table, fmt::format("q at {} = {}", poi, brief(report.mu)), summary.q);
  table.gap();
  for (const std::size_t i : pulls_to_show(report)) {
    distribution_row(table, "pull " + shorten(parameters[i].name, 24), summary.pulls[i]);
  }
  text += table.str();
  text += fmt::format(
      "\n  t <= 1: {} %, t <= 3.84: {} %\n",
      with_error(100.0 * summary.within_one_sigma.value, 100.0 * summary.within_one_sigma.error),
      with_error(100.0 * summary.within_95.value, 100.0 * summary.within_95.error));
  return text;
}

std::string message_of(const ToyCounts& counts) {
  std::string text;
  if (counts.done < counts.asked) {
    text = fmt::format("stopped after {} of {} toys", counts.done, counts.asked);
  }
  if (counts.failed > 0) {
    text += fmt::format("{}the fits of {} of {} toys did not converge; they are left out",
                        text.empty() ? "" : "; ", counts.failed, counts.done);
  }
  return text;
}

}  // namespace

int run_toys(Command& command) {
  ToysArguments arguments;
  declare_toys_verb(command, arguments);
  command.arguments.example("slalom toys workspace.json --toys 1000 --seed 1 --at 1");
  if (!command.parse()) return exit_success;
  const LoadedModel loaded = load_model(command, arguments);
  const std::size_t poi = require_poi(loaded.spec());
  const auto n = static_cast<std::size_t>(arguments.toys.toys.value_or(k_default_toys));
  std::vector<double> truth = generating_point(loaded, poi, arguments.at);
  const double mu = arguments.mu.value_or(truth[poi]);
  ToyRun run(command, arguments.toys, arguments, loaded, n, n);
  ToyOptions options = run.options();
  options.keep_parameters = true;
  std::vector<Toy> toys = slalom::run_toys(loaded.model, truth, mu, options);
  ToySummary summary = summarise(toys, truth, mu);
  const bool complete = summary.counts.done == summary.counts.asked;
  const bool converged = complete && summary.counts.failed < summary.counts.done;
  const int code = run.finish(command, complete, converged, message_of(summary.counts));
  const ToysReport report{
      arguments, loaded, run, poi, std::move(truth), mu, std::move(toys), std::move(summary)};
  if (command.wants_json()) {
    command.answer(toys_json(report, converged));
  } else if (command.wants_csv()) {
    command.answer(toys_csv(report));
  } else {
    command.answer(toys_text(report));
  }
  return code;
}

}  // namespace slalom::cli
