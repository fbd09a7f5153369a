// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom cls`, `slalom discovery` and `slalom limit` with --toys.
#include <fmt/format.h>

#include "cli/other_formats.hpp"
#include "cli/text.hpp"
#include "cli/toy_arguments.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

constexpr const char* k_calculator = "toys";

std::size_t number_of_toys(const ToyArguments& toys) {
  return static_cast<std::size_t>(toys.toys.value());
}

template <typename Values>
OrderedJson band_or_null(bool known, const Values& values, const char* what) {
  if (!known) return {};
  return number_array(std::vector<double>(values.begin(), values.end()), what);
}

void append_end(OrderedJson& result, const ToyRun& run, const LoadedModel& loaded, double best_fit,
                bool converged) {
  const ModelSpec& spec = loaded.spec();
  run.append_to(result);
  append(result, "best_fit", finite(best_fit, "best_fit"));
  append(result, "converged", converged);
  append(result, "poi", spec.parameters[*spec.poi].name);
  append(result, "measurement", loaded.measurement);
}

std::string with_error(const ToyProbability& p) {
  return fmt::format("{} +- {}", brief(p.value, 4), brief(p.error, 2));
}

std::string counts_text(const ToyCounts& counts) {
  return fmt::format("{} of {}, {} failed", counts.done, counts.asked, counts.failed);
}

std::string row_name(const char* name, std::size_t i) {
  return i == 2 ? fmt::format("{} (median)", name)
                : fmt::format("{:+d} sigma", static_cast<int>(i) - 2);
}

OrderedJson cls_json(const ToyHypothesisTest& test, TestStatistic statistic) {
  const bool signal = !test.signal_samples.empty();
  const bool background = !test.background_samples.empty();
  const bool both = signal && background && test.clb.value > 0.0;
  OrderedJson result;
  append(result, "mu", test.mu);
  append(result, "cls_observed", if_known(both, test.cls.value, "cls_observed"));
  append(result, "cls_expected", band_or_null(both, test.cls_expected, "cls_expected"));
  append(result, "clsb", if_known(signal, test.clsb.value, "clsb"));
  append(result, "clb", if_known(background, test.clb.value, "clb"));
  append(result, "test_statistic", finite(test.test_statistic, "test_statistic"));
  append(result, "cls_observed_error", if_known(both, test.cls.error, "cls_observed_error"));
  append(result, "cls_expected_errors",
         band_or_null(both, test.cls_expected_error, "cls_expected_errors"));
  append(result, "clsb_error", if_known(signal, test.clsb.error, "clsb_error"));
  append(result, "clb_error", if_known(background, test.clb.error, "clb_error"));
  append(result, "test_stat", to_string(statistic));
  append(result, "calculator", k_calculator);
  append(result, "signal_toys", counts_json(test.signal));
  append(result, "background_toys", counts_json(test.background));
  return result;
}

std::string cls_text(const ToyHypothesisTest& test, const std::string& poi,
                     TestStatistic statistic) {
  Table table("lr");
  table.row({"CLs observed", with_error(test.cls)});
  for (std::size_t i = 0; i < 5; ++i) {
    table.row({row_name("CLs expected", i),
               with_error({test.cls_expected[i], test.cls_expected_error[i]})});
  }
  table.row({"CLs+b", with_error(test.clsb)});
  table.row({"CLb", with_error(test.clb)});
  table.row({fmt::format("test statistic {}", to_string(statistic)), brief(test.test_statistic)});
  table.row({"signal toys", counts_text(test.signal)});
  table.row({"background toys", counts_text(test.background)});
  return fmt::format("  {} = {}, by toys\n\n{}", poi, brief(test.mu), table.str());
}

OrderedJson discovery_json(const ToyDiscoveryTest& test) {
  const bool observed = !test.background_samples.empty();
  const bool expected = observed && !test.signal_samples.empty();
  OrderedJson result;
  append(result, "p0_observed", if_known(observed, test.p0.value, "p0_observed"));
  append(result, "z_observed",
         if_known(observed && test.z.has_value(), test.z.value_or(0.0), "z_observed"));
  append(result, "p0_expected", if_known(expected, test.p0_band[2], "p0_expected"));
  append(result, "z_expected",
         if_known(expected && test.z_expected.has_value(), test.z_expected.value_or(0.0),
                  "z_expected"));
  append(result, "p0_band", band_or_null(expected, test.p0_band, "p0_band"));
  append(result, "test_statistic", finite(test.test_statistic, "test_statistic"));
  append(result, "p0_observed_error", if_known(observed, test.p0.error, "p0"));
  append(result, "calculator", k_calculator);
  append(result, "background_toys", counts_json(test.background));
  append(result, "signal_toys", counts_json(test.signal));
  return result;
}

std::string significance(const std::optional<double>& z) {
  return z ? fmt::format("{:.3f} sigma", *z) : "more than the toys can tell";
}

std::string discovery_text(const ToyDiscoveryTest& test, const std::string& poi) {
  Table table("lrr");
  table.row({"", "p0", "significance"});
  table.row({"observed", with_error(test.p0), significance(test.z)});
  table.row({fmt::format("expected for {} = 1", poi), brief(test.p0_band[2]),
             significance(test.z_expected)});
  table.row({"toys without signal", counts_text(test.background), ""});
  table.row({"toys with signal", counts_text(test.signal), ""});
  return "  background only against " + poi + " > 0, by toys\n\n" + table.str();
}

OrderedJson point_json(const ToyHypothesisTest& test) {
  OrderedJson result;
  append(result, "mu", test.mu);
  append(result, "cls_observed", finite(test.cls.value, "points"));
  append(result, "cls_observed_error", finite(test.cls.error, "points"));
  append(result, "cls_expected", band_or_null(true, test.cls_expected, "points"));
  append(result, "cls_expected_errors", band_or_null(true, test.cls_expected_error, "points"));
  return result;
}

/// Limits that were found, null for the others.
OrderedJson limits_json(const std::array<ToyLimit, 5>& limits, double ToyLimit::*member,
                        const char* what) {
  OrderedJson array = OrderedJson::array();
  for (const ToyLimit& limit : limits) {
    array.push_back(if_known(limit.value > 0.0, limit.*member, what));
  }
  return array;
}

OrderedJson limit_json(const ToyUpperLimit& limit, TestStatistic statistic) {
  const bool found = limit.observed.value > 0.0;
  OrderedJson result;
  append(result, "level", limit.level);
  append(result, "observed", if_known(found, limit.observed.value, "observed"));
  append(result, "expected", limits_json(limit.expected, &ToyLimit::value, "expected"));
  append(result, "observed_error", if_known(found, limit.observed.error, "observed_error"));
  append(result, "expected_errors",
         limits_json(limit.expected, &ToyLimit::error, "expected_errors"));
  append(result, "test_stat", to_string(statistic));
  append(result, "calculator", k_calculator);
  append(result, "toys", counts_json(limit.toys));
  OrderedJson points = OrderedJson::array();
  for (const ToyHypothesisTest& test : limit.points) points.push_back(point_json(test));
  append(result, "points", std::move(points));
  return result;
}

OrderedJson combine_json(const ToyUpperLimit& limit, double mass) {
  CombineLimit entry;
  const auto known = [](const ToyLimit& found, double ToyLimit::*member) {
    return found.value > 0.0 ? std::optional(found.*member) : std::nullopt;
  };
  entry.observed = known(limit.observed, &ToyLimit::value);
  entry.observed_error = known(limit.observed, &ToyLimit::error);
  for (std::size_t i = 0; i < limit.expected.size(); ++i) {
    entry.expected[i] = known(limit.expected[i], &ToyLimit::value);
    entry.expected_errors[i] = known(limit.expected[i], &ToyLimit::error);
  }
  return at_mass(mass, combine_limit(entry));
}

OrderedJson combine_json(const ToyDiscoveryTest& test, double mass) {
  CombineLimit entry;
  if (!test.background_samples.empty()) entry.observed = test.z;
  if (!test.signal_samples.empty()) entry.expected[2] = test.z_expected;
  return at_mass(mass, combine_limit(entry));
}

/// \throws Error (numerical) for a test whose toys do not tell CLs
OrderedJson pyhf_json(const ToyHypothesisTest& test) {
  if (test.signal_samples.empty() || test.background_samples.empty() || !(test.clb.value > 0.0)) {
    throw Error(ErrorKind::numerical, "the toys do not tell it", "CLs");
  }
  return pyhf_cls(test.cls.value, test.cls_expected);
}

std::string limit_cell(const ToyLimit& limit) {
  if (!(limit.value > 0.0)) return "not found";
  return with_error({limit.value, limit.error}) + (limit.converged ? "" : " NOT CONVERGED");
}

std::string limit_text(const ToyUpperLimit& limit, const std::string& poi) {
  Table table("lr");
  table.row({"observed", limit_cell(limit.observed)});
  for (std::size_t i = 0; i < 5; ++i) {
    table.row({row_name("expected", i), limit_cell(limit.expected[i])});
  }
  table.row({"toys", counts_text(limit.toys)});
  return fmt::format("  upper limit on {} where CLs = {}, by toys at {}\n\n{}", poi,
                     brief(limit.level), count(limit.points.size(), "value"), table.str());
}

bool all_done(const ToyCounts& counts) { return counts.done == counts.asked; }

/// The document or the table, whichever is wanted.
template <typename MakeForeign, typename MakeJson, typename MakeText>
void answer(Command& command, const ToyRun& run, const LoadedModel& loaded, double best_fit,
            bool converged, const MakeForeign& make_foreign, const MakeJson& make_json,
            const MakeText& make_text) {
  if (!command.wants_format("slalom")) {
    command.answer_foreign(make_foreign());
  } else if (command.wants_json()) {
    OrderedJson result = make_json();
    append_end(result, run, loaded, best_fit, converged);
    command.answer(std::move(result));
  } else {
    const ModelSpec& spec = loaded.spec();
    command.answer(make_text(spec.parameters[*spec.poi].name));
  }
}

}  // namespace

int run_cls_by_toys(Command& command, const LoadedModel& loaded, const ModelArguments& model,
                    const ToyArguments& toys, double mu, TestStatistic statistic) {
  const std::size_t n = number_of_toys(toys);
  ToyRun run(command, toys, model, loaded, n, 2 * n);
  Fitter fitter = make_fitter(loaded);
  ToyCalculator calculator(fitter, run.options(), {}, statistic);
  const ToyHypothesisTest test = calculator.test(mu);
  const bool complete = all_done(test.signal) && all_done(test.background);
  const int code = run.finish(command, complete, test.converged, test.message);
  answer(
      command, run, loaded, calculator.best().parameters[calculator.poi()], test.converged,
      [&] { return pyhf_json(test); }, [&] { return cls_json(test, statistic); },
      [&](const std::string& poi) { return cls_text(test, poi, statistic); });
  return code;
}

int run_discovery_by_toys(Command& command, const LoadedModel& loaded, const ModelArguments& model,
                          const ToyArguments& toys, double mass) {
  const std::size_t n = number_of_toys(toys);
  ToyRun run(command, toys, model, loaded, n, 2 * n);
  Fitter fitter = make_fitter(loaded);
  ToyCalculator calculator(fitter, run.options());
  const ToyDiscoveryTest test = calculator.discovery();
  const bool complete = all_done(test.signal) && all_done(test.background);
  const int code = run.finish(command, complete, test.converged, test.message);
  answer(
      command, run, loaded, calculator.best().parameters[calculator.poi()], test.converged,
      [&] { return combine_json(test, mass); }, [&] { return discovery_json(test); },
      [&](const std::string& poi) { return discovery_text(test, poi); });
  return code;
}

int run_limit_by_toys(Command& command, const LoadedModel& loaded, const ModelArguments& model,
                      const ToyArguments& toys, double level, TestStatistic statistic,
                      double mass) {
  ToyRun run(command, toys, model, loaded, number_of_toys(toys), 0);
  Fitter fitter = make_fitter(loaded);
  ToyLimitOptions options;
  options.level = level;
  const ToyUpperLimit limit = upper_limit_by_toys(fitter, options, run.options());
  const int code = run.finish(command, !limit.interrupted, limit.converged, limit.message);
  answer(
      command, run, loaded, limit.best_fit, limit.converged,
      [&] { return combine_json(limit, mass); }, [&] { return limit_json(limit, statistic); },
      [&](const std::string& poi) { return limit_text(limit, poi); });
  return code;
}

}  // namespace slalom::cli
