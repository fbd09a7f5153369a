// SPDX-License-Identifier: Apache-2.0
#include "cli/other_formats.hpp"

#include <cmath>
#include <vector>

namespace slalom::cli {

namespace {

constexpr std::array<const char*, 5> k_expected{"exp-2", "exp-1", "exp0", "exp+1", "exp+2"};

void append_known(OrderedJson& object, const std::string& key, std::optional<double> value) {
  if (value && std::isfinite(*value)) append(object, key, *value);
}

void append_errors(OrderedJson& object, const std::string& prefix, double value,
                   const Interval& interval) {
  append(object, prefix + "ErrorHi", number_or_null(interval.upper.value - value));
  append(object, prefix + "ErrorLo", number_or_null(interval.lower.value - value));
  // A bound that is hit is no crossing: Combine calls such an error invalid as well.
  append(object, prefix + "ValidErrorHi", interval.upper.converged && !interval.upper.at_bound);
  append(object, prefix + "ValidErrorLo", interval.lower.converged && !interval.lower.at_bound);
}

}  // namespace

void declare_combine_format(Command& command, MassArgument& mass) {
  command.declare_format({"combine"});
  declare_mass(command, mass);
}

void declare_mass(Command& command, MassArgument& mass) {
  command.arguments.group("Output");
  command.arguments.number("--mass", mass.mass, "MASS",
                           "The mass that --format combine names; default 120, as Combine's");
}

void check_mass(const Command& command, const MassArgument& mass) {
  if (mass.mass && !command.wants_format("combine")) {
    throw Error(ErrorKind::usage, "needs --format combine", "--mass");
  }
}

std::string mass_key(double mass) { return OrderedJson(mass).dump(); }

OrderedJson combine_limit(const CombineLimit& limit) {
  OrderedJson object = OrderedJson::object();
  for (std::size_t i = 0; i < k_expected.size(); ++i) {
    append_known(object, k_expected[i], limit.expected[i]);
  }
  append_known(object, "obs", limit.observed);
  for (std::size_t i = 0; i < k_expected.size(); ++i) {
    append_known(object, std::string(k_expected[i]) + "_err", limit.expected_errors[i]);
  }
  append_known(object, "obs_err", limit.observed_error);
  return object;
}

OrderedJson at_mass(double mass, OrderedJson entry) {
  OrderedJson document;
  append(document, mass_key(mass), std::move(entry));
  return document;
}

OrderedJson combine_goodness(double observed, std::span<const double> toys, double p_value) {
  OrderedJson object;
  append(object, "obs", number_array(std::array{observed}, "statistic"));
  if (toys.empty()) return object;
  append(object, "toy", number_array(toys, "toys"));
  append(object, "p", finite(p_value, "toys"));
  return object;
}

OrderedJson combine_interval(double value, const Interval& one_sigma, const Interval* two_sigma) {
  OrderedJson object;
  append(object, "Val", finite(value, "Val"));
  append_errors(object, "", value, one_sigma);
  if (two_sigma != nullptr) append_errors(object, "2sig_", value, *two_sigma);
  return object;
}

OrderedJson pyhf_cls(double observed, const std::array<double, 5>& expected) {
  OrderedJson document;
  append(document, "CLs_exp", number_array(expected, "CLs_exp"));
  append(document, "CLs_obs", finite(observed, "CLs_obs"));
  return document;
}

OrderedJson pyhf_fit(const ModelSpec& spec, const FitResult& fit) {
  OrderedJson parameters = OrderedJson::object();
  for (const ParameterSet& set : spec.sets) {
    append(parameters, set.name,
           number_array(std::span(fit.parameters).subspan(set.first, set.size), set.name));
  }
  OrderedJson document;
  append(document, "mle_parameters", std::move(parameters));
  append(document, "twice_nll", finite(fit.twice_nll, "twice_nll"));
  return document;
}

}  // namespace slalom::cli
