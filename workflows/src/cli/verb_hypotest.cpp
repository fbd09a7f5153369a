// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom cls`, `slalom discovery` and `slalom limit`.
#include <array>
#include <cmath>
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/model_arguments.hpp"
#include "cli/other_formats.hpp"
#include "cli/plot_arguments.hpp"
#include "cli/result.hpp"
#include "cli/scan_points.hpp"
#include "cli/text.hpp"
#include "cli/toy_arguments.hpp"
#include "slalom/core/hypotest.hpp"
#include "slalom/workflows/cli.hpp"
#include "slalom/workflows/limit_plot.hpp"

namespace slalom::cli {

namespace {

constexpr const char* k_calculator = "asymptotics";

struct TestArguments : ModelArguments {
  std::optional<double> mu;
  std::optional<double> level;
  std::string statistic = "qtilde";
  std::string base_distribution = "normal";
  PlotArguments plot;
  bool logarithmic = false;
  ToyArguments toys;
  MassArgument mass;
};

constexpr const char* k_toys_help =
    "Use N toys of each hypothesis in place of the asymptotic formulae";

void declare_test(Command& command, TestArguments& options, const char* title) {
  declare_model(command, options);
  declare_point(command, options);
  declare_data(command, options);
  command.arguments.group(title);
}

constexpr std::array k_statistics = {TestStatistic::t, TestStatistic::ttilde, TestStatistic::q,
                                     TestStatistic::qtilde};

TestStatistic statistic_of(const std::string& name) {
  for (TestStatistic statistic : k_statistics) {
    if (name == to_string(statistic)) return statistic;
  }
  return TestStatistic::qtilde;
}

/// \param two_sided offer the two-sided statistics as well
void declare_statistic(Command& command, TestArguments& options, bool two_sided) {
  std::vector<std::string> names;
  for (TestStatistic statistic : k_statistics) {
    if (two_sided || !is_two_sided(statistic)) names.emplace_back(to_string(statistic));
  }
  command.arguments.choice("--test-stat", options.statistic, names,
                           two_sided ? "Test statistic; t and ttilde are two-sided"
                                     : "Test statistic; they differ for best fits below zero");
}

void declare_base(Command& command, TestArguments& options) {
  command.arguments.choice("--base-dist", options.base_distribution, {"normal", "clipped_normal"},
                           "Distribution that the expected band assumes for the best fit; clipped "
                           "where the test statistic is zero");
}

void check_consistent(const TestArguments& options) {
  if (!is_two_sided(statistic_of(options.statistic)) || options.base_distribution == "normal") {
    return;
  }
  throw Error(ErrorKind::usage,
              fmt::format("clipped_normal has no meaning for {}", options.statistic),
              "--base-dist");
}

/// A model with its data, ready for tests. The calculator refers to the fitter.
struct PreparedTest {
  LoadedModel loaded;
  Fitter fitter;
  AsymptoticCalculator calculator;

  PreparedTest(LoadedModel model, const TestArguments& options)
      : loaded(std::move(model)),
        fitter(with_data(loaded)),
        calculator(fitter, {}, statistic_of(options.statistic),
                   options.base_distribution == "normal" ? BaseDistribution::normal
                                                         : BaseDistribution::clipped_normal) {}

  const Parameter& poi() const { return loaded.spec().parameters[*loaded.spec().poi]; }

 private:
  static Fitter with_data(const LoadedModel& model) {
    Fitter fitter(model.model);
    fitter.set_data(model.data);
    return fitter;
  }
};

LoadedModel load_with_poi(Command& command, const TestArguments& options) {
  LoadedModel loaded = load_model(command, options);
  require_poi(loaded.spec());
  return loaded;
}

void warn_if_unsuitable(Command& command, const Parameter& poi, const TestArguments& options) {
  const std::string advice = statistic_mismatch(statistic_of(options.statistic), poi);
  if (!advice.empty()) command.note({advice, "--test-stat"});
}

/// A value below the lower bound cannot be tested; one above the upper bound is a warning.
void check_mu(Command& command, const Parameter& poi, double mu) {
  if (mu < poi.lower) {
    throw Error(ErrorKind::usage,
                fmt::format("{} is below the lower bound {} of '{}'", exact(mu), exact(poi.lower),
                            poi.name),
                "--mu");
  }
  if (mu > poi.upper) {
    command.note({fmt::format("{} is above the upper bound {} of '{}', which now restricts the "
                              "best fit only",
                              exact(mu), exact(poi.upper), poi.name),
                  "--mu"});
  }
}

/// Whether toys are asked for. \throws Error (usage) for options that need them or exclude them
bool by_toys(const TestArguments& options) {
  const bool toys = wants_toys(options.toys);
  if (toys) {
    for (const auto& [given, name] :
         {std::pair{options.base_distribution != "normal", "--base-dist"},
          {!options.plot.file.empty(), "--plot"}}) {
      if (given) throw Error(ErrorKind::usage, "cannot be used together with --toys", name);
    }
  }
  return toys;
}

void warn_if_failed(Command& command, bool converged, const std::string& message) {
  if (!converged) command.note({message, "fit"});
}

template <typename Values>
OrderedJson band(const Values& values, const char* where) {
  return number_array(std::vector<double>(values.begin(), values.end()), where);
}

void append_end(OrderedJson& result, PreparedTest& test, bool converged) {
  const ModelSpec& spec = test.loaded.spec();
  append(result, "best_fit", finite(test.calculator.best().parameters[*spec.poi], "best_fit"));
  append(result, "converged", converged);
  append(result, "poi", spec.parameters[*spec.poi].name);
  append(result, "measurement", test.loaded.measurement);
}

/// Five rows of a band, from -2 to 2 sigma.
void band_rows(Table& table, const char* name, const std::array<double, 5>& values,
               const std::array<bool, 5>& found = {true, true, true, true, true}) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const int sigma = static_cast<int>(i) - 2;
    table.row({i == 2 ? fmt::format("{} (median)", name) : fmt::format("{:+d} sigma", sigma),
               found[i] ? brief(values[i]) : "not found"});
  }
}

OrderedJson cls_json(const HypothesisTest& test, const TestArguments& options) {
  OrderedJson result;
  append(result, "mu", test.mu);
  append(result, "cls_observed", finite(test.cls, "cls_observed"));
  append(result, "cls_expected", band(test.cls_expected, "cls_expected"));
  append(result, "clsb", finite(test.clsb, "clsb"));
  append(result, "clb", finite(test.clb, "clb"));
  append(result, "test_statistic", finite(test.test_statistic, "test_statistic"));
  append(result, "test_statistic_asimov", finite(test.asimov_statistic, "test_statistic_asimov"));
  append(result, "log_cls_observed", finite(test.log_cls, "log_cls_observed"));
  append(result, "log_cls_expected", band(test.log_cls_expected, "log_cls_expected"));
  append(result, "log_clsb", finite(test.log_clsb, "log_clsb"));
  append(result, "log_clb", finite(test.log_clb, "log_clb"));
  append(result, "one_minus_clb", finite(std::exp(test.log_one_minus_clb), "one_minus_clb"));
  append(result, "clsb_expected", band(test.clsb_expected, "clsb_expected"));
  append(result, "clb_expected", band(test.clb_expected, "clb_expected"));
  append(result, "test_stat", options.statistic);
  append(result, "base_dist", options.base_distribution);
  append(result, "calculator", k_calculator);
  return result;
}

std::string cls_text(const HypothesisTest& test, const std::string& poi,
                     const std::string& statistic) {
  Table table("lr");
  table.row({"CLs observed", brief(test.cls)});
  band_rows(table, "CLs expected", test.cls_expected);
  table.row({"CLs+b, CLb", fmt::format("{}, {}", brief(test.clsb), brief(test.clb))});
  table.row({fmt::format("test statistic {}", statistic), brief(test.test_statistic)});
  return fmt::format("  {} = {}, asymptotic\n\n{}", poi, brief(test.mu), table.str());
}

OrderedJson discovery_json(const DiscoveryTest& test, const TestArguments& options) {
  OrderedJson result;
  append(result, "p0_observed", finite(test.p0, "p0_observed"));
  append(result, "z_observed", finite(test.z, "z_observed"));
  append(result, "p0_expected", finite(test.p0_expected, "p0_expected"));
  append(result, "z_expected", finite(test.z_expected, "z_expected"));
  append(result, "p0_band", band(test.p0_band, "p0_band"));
  append(result, "log_p0_observed", finite(test.log_p0, "log_p0_observed"));
  append(result, "log_p0_expected", finite(test.log_p0_expected, "log_p0_expected"));
  append(result, "log_p0_band", band(test.log_p0_band, "log_p0_band"));
  append(result, "test_statistic", finite(test.test_statistic, "test_statistic"));
  append(result, "test_statistic_asimov", finite(test.asimov_statistic, "test_statistic_asimov"));
  append(result, "clb", finite(std::exp(test.log_clb), "clb"));
  append(result, "test_stat", "q0");
  append(result, "base_dist", options.base_distribution);
  append(result, "calculator", k_calculator);
  return result;
}

std::string discovery_text(const DiscoveryTest& test, const std::string& poi) {
  Table table("lrr");
  table.row({"", "p0", "significance"});
  table.row({"observed", brief(test.p0), fmt::format("{:.3f} sigma", test.z)});
  table.row({fmt::format("expected for {} = 1", poi), brief(test.p0_expected),
             fmt::format("{:.3f} sigma", test.z_expected)});
  return "  background only against " + poi + " > 0, asymptotic\n\n" + table.str();
}

/// A limit, or null if it was not found.
OrderedJson limit_or_null(double value, bool found, const char* where) {
  return found ? OrderedJson(finite(value, where)) : OrderedJson(nullptr);
}

OrderedJson limit_json(const UpperLimit& limit, const TestArguments& options) {
  OrderedJson result, expected = OrderedJson::array();
  for (std::size_t i = 0; i < limit.expected.size(); ++i) {
    expected.push_back(limit_or_null(limit.expected[i], limit.expected_found[i], "expected"));
  }
  append(result, "level", limit.level);
  append(result, "observed", limit_or_null(limit.observed, limit.observed_found, "observed"));
  append(result, "expected", std::move(expected));
  append(result, "beyond_bound", limit.beyond_bound);
  append(result, "test_stat", options.statistic);
  append(result, "base_dist", options.base_distribution);
  append(result, "calculator", k_calculator);
  return result;
}

OrderedJson combine_json(const UpperLimit& limit, double mass) {
  CombineLimit entry;
  if (limit.observed_found) entry.observed = limit.observed;
  for (std::size_t i = 0; i < limit.expected.size(); ++i) {
    if (limit.expected_found[i]) entry.expected[i] = limit.expected[i];
  }
  return at_mass(mass, combine_limit(entry));
}

/// The significance in the place of a limit, as Combine's tools have it.
OrderedJson combine_json(const DiscoveryTest& test, double mass) {
  CombineLimit entry;
  entry.observed = test.z;
  entry.expected[2] = test.z_expected;
  return at_mass(mass, combine_limit(entry));
}

std::string limit_text(const UpperLimit& limit, const std::string& poi) {
  Table table("lr");
  table.row({"observed", limit.observed_found ? brief(limit.observed) : "not found"});
  band_rows(table, "expected", limit.expected, limit.expected_found);
  return fmt::format("  upper limit on {} where CLs = {}, asymptotic\n\n{}", poi,
                     brief(limit.level), table.str());
}

/// CLs as a curve, with the limits.
Picture limit_picture(PreparedTest& test, const UpperLimit& limit, const PlotStyle& style,
                      bool logarithmic) {
  const ModelSpec& spec = test.loaded.spec();
  const Parameter& poi = spec.parameters[*spec.poi];
  ClsPlot plot = cls_plot(poi.name, cls_curve(test.calculator, poi, limit), limit);
  plot.logarithmic = logarithmic;
  return picture(plot, style);
}

template <typename MakeForeign, typename MakeJson, typename MakeText>
int answer_test(Command& command, PreparedTest& test, bool converged, const std::string& message,
                const MakeForeign& make_foreign, const MakeJson& make_json,
                const MakeText& make_text) {
  warn_if_failed(command, converged, message);
  if (!command.wants_format("slalom")) {
    command.answer_foreign(make_foreign());
  } else if (command.wants_json()) {
    OrderedJson result = make_json();
    append_end(result, test, converged);
    command.answer(std::move(result));
  } else {
    const ModelSpec& spec = test.loaded.spec();
    command.answer(make_text(spec.parameters[*spec.poi].name));
  }
  return converged ? exit_success : exit_not_converged;
}

int cls_by_toys(Command& command, const TestArguments& arguments, double mu) {
  const LoadedModel loaded = load_with_poi(command, arguments);
  const Parameter& poi = loaded.spec().parameters[*loaded.spec().poi];
  warn_if_unsuitable(command, poi, arguments);
  check_mu(command, poi, mu);
  return run_cls_by_toys(command, loaded, arguments, arguments.toys, mu,
                         statistic_of(arguments.statistic));
}

}  // namespace

int run_cls(Command& command) {
  TestArguments arguments;
  declare_test(command, arguments, "Test");
  command.arguments.number("--mu", arguments.mu, "MU", "Value to test; default 1");
  declare_statistic(command, arguments, true);
  declare_base(command, arguments);
  declare_toys(command, arguments.toys, k_toys_help);
  command.declare_format({"pyhf"});
  command.arguments.example("slalom cls workspace.json --mu 1");
  if (!command.parse()) return exit_success;
  check_consistent(arguments);
  const double mu = arguments.mu.value_or(1.0);
  if (by_toys(arguments)) return cls_by_toys(command, arguments, mu);
  PreparedTest test(load_with_poi(command, arguments), arguments);
  warn_if_unsuitable(command, test.poi(), arguments);
  check_mu(command, test.poi(), mu);
  const HypothesisTest result = test.calculator.test(mu);
  return answer_test(
      command, test, result.converged, result.message,
      [&] { return pyhf_cls(result.cls, result.cls_expected); },
      [&] { return cls_json(result, arguments); },
      [&](const std::string& name) { return cls_text(result, name, arguments.statistic); });
}

int run_discovery(Command& command) {
  TestArguments arguments;
  declare_test(command, arguments, "Test");
  declare_base(command, arguments);
  declare_toys(command, arguments.toys, k_toys_help);
  declare_combine_format(command, arguments.mass);
  command.arguments.example("slalom discovery workspace.json");
  if (!command.parse()) return exit_success;
  check_mass(command, arguments.mass);
  if (by_toys(arguments)) {
    return run_discovery_by_toys(command, load_with_poi(command, arguments), arguments,
                                 arguments.toys, arguments.mass.value());
  }
  PreparedTest test(load_with_poi(command, arguments), arguments);
  const DiscoveryTest result = test.calculator.discovery();
  return answer_test(
      command, test, result.converged, result.message,
      [&] { return combine_json(result, arguments.mass.value()); },
      [&] { return discovery_json(result, arguments); },
      [&](const std::string& poi) { return discovery_text(result, poi); });
}

int run_limit(Command& command) {
  TestArguments arguments;
  declare_test(command, arguments, "Limit");
  command.arguments.number("--level", arguments.level, "LEVEL",
                           "CLs at the limit; default 0.05 (95 % confidence level)");
  declare_statistic(command, arguments, false);
  declare_base(command, arguments);
  declare_plot(command, arguments.plot, "CLs against the signal strength with its bands");
  command.arguments.flag("--log", arguments.logarithmic, "Logarithmic scale of CLs");
  declare_toys(command, arguments.toys, k_toys_help);
  declare_combine_format(command, arguments.mass);
  command.arguments.example("slalom limit workspace.json --plot limit.svg");
  if (!command.parse()) return exit_success;
  check_mass(command, arguments.mass);
  if (arguments.logarithmic && arguments.plot.file.empty()) {
    throw Error(ErrorKind::usage, "needs --plot", "--log");
  }
  if (by_toys(arguments)) {
    return run_limit_by_toys(command, load_with_poi(command, arguments), arguments, arguments.toys,
                             arguments.level.value_or(0.05), statistic_of(arguments.statistic),
                             arguments.mass.value());
  }
  PreparedTest test(load_with_poi(command, arguments), arguments);
  warn_if_unsuitable(command, test.poi(), arguments);
  const PlotStyle style = plot_style(arguments.plot, test.loaded);
  const UpperLimit result = test.calculator.upper_limit(arguments.level.value_or(0.05));
  if (result.beyond_bound) {
    command.note({fmt::format("a limit is above the upper bound {} of '{}', which restricts the "
                              "best fit only",
                              exact(test.poi().upper), test.poi().name),
                  "limit"});
  }
  const bool drawn = try_to_draw(command, arguments.plot.file, [&] {
    return limit_picture(test, result, style, arguments.logarithmic);
  });
  const int code = answer_test(
      command, test, result.converged, result.message,
      [&] { return combine_json(result, arguments.mass.value()); },
      [&] { return limit_json(result, arguments); },
      [&](const std::string& poi) { return limit_text(result, poi); });
  return code == exit_success && !drawn ? exit_failure : code;
}

}  // namespace slalom::cli
