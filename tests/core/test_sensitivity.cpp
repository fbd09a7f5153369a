// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "slalom/core/hypotest.hpp"
#include "slalom/core/sensitivity.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/models.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::Input;
using slalom::InputKind;
using slalom::Model;
using slalom::ModelSpec;
using slalom::ModifierType;
using slalom::Sensitivity;
using slalom::SensitivityCalculator;
using slalom::SensitivityOptions;
using slalom::TemplateDerivatives;

namespace {

using Figure = std::function<Sensitivity(SensitivityCalculator&)>;

const std::vector<std::pair<std::string, Figure>>& figures() {
  static const std::vector<std::pair<std::string, Figure>> list{
      {"best_fit", [](SensitivityCalculator& c) { return c.best_fit(); }},
      {"error", [](SensitivityCalculator& c) { return c.error(); }},
      {"significance", [](SensitivityCalculator& c) { return c.significance(); }},
      {"log_p0", [](SensitivityCalculator& c) { return c.log_p0(); }},
      {"log_cls", [](SensitivityCalculator& c) { return c.log_cls(1.3); }},
      {"upper_limit", [](SensitivityCalculator& c) { return c.upper_limit(); }},
      {"expected_error", [](SensitivityCalculator& c) { return c.expected_error(); }},
      {"expected_error(0)", [](SensitivityCalculator& c) { return c.expected_error(0.0); }},
      {"expected_significance", [](SensitivityCalculator& c) { return c.expected_significance(); }},
      {"expected_log_p0", [](SensitivityCalculator& c) { return c.expected_log_p0(); }},
      {"expected_log_cls", [](SensitivityCalculator& c) { return c.expected_log_cls(1.3); }},
      {"expected_upper_limit", [](SensitivityCalculator& c) { return c.expected_upper_limit(); }},
      {"+1 sigma limit",
       [](SensitivityCalculator& c) { return c.expected_upper_limit(0.05, 1.0); }}};
  return list;
}

/// A point of the inputs: a model and its data.
struct Point {
  ModelSpec spec;
  std::vector<double> data;
};

double& element(Point& point, const Input& input, std::size_t auxiliary) {
  slalom::SampleSpec& sample = point.spec.channels[input.channel].samples[input.sample];
  switch (input.kind) {
    case InputKind::nominal:
      return sample.nominal[input.bin];
    case InputKind::histosys_hi:
      return sample.histosys[input.term].hi[input.bin];
    case InputKind::histosys_lo:
      return sample.histosys[input.term].lo[input.bin];
    case InputKind::normsys_hi:
      return sample.normsys[input.term].hi;
    case InputKind::normsys_lo:
      return sample.normsys[input.term].lo;
    case InputKind::sigma:
      return point.spec.parameters[input.parameter].sigma;
    case InputKind::tau:
      return point.spec.parameters[input.parameter].tau;
    case InputKind::observed:
      return point.data[point.spec.channels[input.channel].first_bin + input.bin];
    default:
      return point.data[point.spec.n_bins() + auxiliary];
  }
}

/// The point with every input i moved by step * direction[i].
Point moved(const Model& model, const SensitivityOptions& options, double step,
            const std::vector<double>& direction) {
  Point point{model.spec(), options.data.empty() ? model.spec().data() : options.data};
  const TemplateDerivatives templates(model);
  std::size_t auxiliary = 0;
  for (std::size_t i = 0; i < templates.size(); ++i) {
    const Input& input = templates.inputs()[i];
    const bool is_auxiliary = input.kind == InputKind::auxiliary;
    if (direction[i] != 0.0) element(point, input, auxiliary) += step * direction[i];
    auxiliary += is_auxiliary ? 1 : 0;
  }
  return point;
}

SensitivityCalculator calculator_at(const Model& model, SensitivityOptions options, double step,
                                    const std::vector<double>& direction) {
  Point point = moved(model, options, step, direction);
  const Model there(std::move(point.spec));
  options.data = std::move(point.data);
  if (options.asimov_fit) {  // made again, as a user would
    slalom::Fitter fitter(there);
    fitter.set_data(options.data);
    slalom::FitOptions how = options.fit;
    const std::size_t poi = *there.spec().poi;
    if (options.asimov_fit->fixed[poi]) how.fixed = {{poi, options.asimov_fit->parameters[poi]}};
    options.asimov_fit = fitter.fit(how);
    options.asimov_point = options.asimov_fit->parameters;
  }
  return SensitivityCalculator(there, std::move(options));
}

/// Derivative of a figure along a direction from complete refits, to fourth order.
double difference(const Model& model, const SensitivityOptions& options,
                  const std::vector<double>& direction, const Figure& figure, double h) {
  const auto at = [&](double step) {
    SensitivityCalculator calculator = calculator_at(model, options, step, direction);
    const Sensitivity s = figure(calculator);
    INFO(s.message);
    REQUIRE(s.converged);
    return s.value;
  };
  const double wide = (at(h) - at(-h)) / (2.0 * h);
  const double narrow = (at(0.5 * h) - at(-0.5 * h)) / h;
  return (4.0 * narrow - wide) / 3.0;
}

/// Changes of all inputs of a size that suits their kind: relative ones of yields, factors, sigmas
/// and data, those of Poisson constraints in units of their width.
std::vector<double> random_direction(const Model& model, unsigned seed) {
  const TemplateDerivatives templates(model);
  Point point{model.spec(), model.spec().data()};
  std::vector<double> direction;
  std::size_t auxiliary = 0;
  unsigned state = seed;
  for (std::size_t i = 0; i < templates.size(); ++i) {
    state = state * 1664525u + 1013904223u;
    const double random = static_cast<double>(state >> 8) / 8388608.0 - 1.0;
    const Input& input = templates.inputs()[i];
    const double value = element(point, input, auxiliary);
    auxiliary += input.kind == InputKind::auxiliary ? 1 : 0;
    const bool constraint = input.kind == InputKind::auxiliary || input.kind == InputKind::tau;
    double size = value;
    if (constraint) size = value == 0.0 ? 1.0 : std::sqrt(value);
    direction.push_back(random * size);
  }
  return direction;
}

double along(const Sensitivity& s, const std::vector<double>& direction) {
  double sum = 0.0;
  for (std::size_t i = 0; i < direction.size(); ++i) sum += s.derivatives[i] * direction[i];
  return sum;
}

/// Checks all figures in random directions against complete refits.
void check_directions(const Model& model, SensitivityOptions options, double h, double tolerance,
                      const std::vector<std::string>& except = {}, unsigned n = 2) {
  options.fit.tolerance = 1e-11;
  SensitivityCalculator calculator(model, options);
  for (const auto& [name, figure] : figures()) {
    if (std::find(except.begin(), except.end(), name) != except.end()) continue;
    const Sensitivity s = figure(calculator);
    INFO(name << ": " << s.message);
    REQUIRE(s.converged);
    for (unsigned seed = 1; seed <= n; ++seed) {
      const std::vector<double> direction = random_direction(model, seed);
      const double expected = difference(model, options, direction, figure, h);
      CHECK_THAT(along(s, direction), WithinRel(expected, tolerance));
    }
  }
}

/// Two channels with every modifier, and a signal that the data show.
slalom::Workspace all_modifiers(double lower, const std::vector<double>& wide) {
  slalom::Workspace w;
  const auto common = [](double size) -> std::vector<slalom::Modifier> {
    return {
        {"jes", ModifierType::histosys, {42.0, 23.0, 12.0, 8.5}, {38.5, 18.0, 10.5, 9.2}, 1, 1, {}},
        {"jes", ModifierType::normsys, {}, {}, 1.05, 0.93, {}},
        {"theory", ModifierType::normsys, {}, {}, 1.2 * size, 0.85, {}},
        {"lumi", ModifierType::lumi, {}, {}, 1, 1, {}},
        {"stat", ModifierType::staterror, {}, {}, 1, 1, {1.0, 2.0, 1.5 * size, 0.7}}};
  };
  std::vector<slalom::Modifier> signal = common(0.95);
  signal[0].hi_data = {11.0, 16.0, 13.0, 7.0};
  signal[0].lo_data = {9.2, 13.5, 11.0, 7.8};
  signal.push_back({"mu", ModifierType::normfactor, {}, {}, 1, 1, {}});
  const std::vector<slalom::Modifier> free = {
      {"shape", ModifierType::shapefactor, {}, {}, 1, 1, {}},
      {"jes", ModifierType::normsys, {}, {}, 1.03, 0.96, {}},
      {"free", ModifierType::shapesys, {}, {}, 1, 1, {2.0, 3.0}}};
  w.channels = {
      {"wide",
       {{"s", {10.0, 15.0, 12.0, 7.5}, signal}, {"b", {40.0, 20.0, 11.0, 9.0}, common(1.0)}}},
      {"narrow", {{"b", {50.0, 30.0}, free}}}};
  w.observations = {{"wide", wide}, {"narrow", {49.0, 33.0}}};
  slalom::ParameterConfig lumi, mu;
  lumi.name = "lumi";
  lumi.inits = lumi.auxdata = std::vector<double>{1.0};
  lumi.sigmas = std::vector<double>{0.02};
  lumi.bounds = std::vector<std::pair<double, double>>{{0.5, 1.5}};
  mu.name = "mu";
  mu.bounds = std::vector<std::pair<double, double>>{{lower, 10.0}};
  w.measurements = {{"m", "mu", {lumi, mu}}};
  return w;
}

Model model_of(const slalom::Workspace& w) { return Model(make_model_spec(w)); }

}  // namespace

TEST_CASE("figures are those of the hypothesis tests", "[core][sensitivity]") {
  const Model model = model_of(all_modifiers(0.0, {53.0, 31.0, 22.0, 13.0}));
  slalom::Fitter fitter(model);
  slalom::AsymptoticCalculator reference(fitter);
  SensitivityCalculator calculator(model);
  const slalom::DiscoveryTest discovery = reference.discovery();
  CHECK_THAT(calculator.significance().value, WithinAbs(discovery.z, 1e-8));
  CHECK_THAT(calculator.log_p0().value, WithinAbs(discovery.log_p0, 1e-8));
  CHECK_THAT(calculator.expected_significance().value, WithinAbs(discovery.z_expected, 1e-8));
  CHECK_THAT(calculator.expected_log_p0().value, WithinAbs(discovery.log_p0_expected, 1e-8));
  const slalom::UpperLimit limit = reference.upper_limit(0.1);
  CHECK_THAT(calculator.upper_limit(0.1).value, WithinRel(limit.observed, 1e-8));
  for (int n = -2; n <= 2; ++n) {
    CHECK_THAT(calculator.expected_upper_limit(0.1, n).value,
               WithinRel(limit.expected[static_cast<std::size_t>(n + 2)], 1e-8));
    CHECK_THAT(
        calculator.expected_log_cls(1.2, n).value,
        WithinAbs(reference.test(1.2).log_cls_expected[static_cast<std::size_t>(n + 2)], 1e-8));
  }
  CHECK_THAT(calculator.log_cls(1.2).value, WithinAbs(reference.test(1.2).log_cls, 1e-8));
  const slalom::FitResult best = fitter.fit();
  CHECK_THAT(calculator.best_fit().value, WithinAbs(best.parameters[*model.spec().poi], 1e-9));
  CHECK_THAT(calculator.error().value, WithinRel(fitter.errors(best)[*model.spec().poi], 1e-9));
}

TEST_CASE("every kind of input against complete refits", "[core][sensitivity]") {
  const Model model = model_of(all_modifiers(-5.0, {53.0, 31.0, 22.0, 13.0}));
  SensitivityOptions options;
  options.fit.tolerance = 1e-11;
  SensitivityCalculator calculator(model, options);
  const TemplateDerivatives& templates = calculator.templates();
  for (const auto& [name, figure] : figures()) {
    const Sensitivity s = figure(calculator);
    INFO(name << ": " << s.message);
    REQUIRE(s.converged);
    REQUIRE(s.derivatives.size() == templates.size());
    Point point{model.spec(), model.spec().data()};
    std::size_t auxiliary = 0;
    for (std::size_t i = 0; i < templates.size(); ++i) {
      const Input& input = templates.inputs()[i];
      const double size = std::max(0.1, std::abs(element(point, input, auxiliary)));
      auxiliary += input.kind == InputKind::auxiliary ? 1 : 0;
      // Every third one: all kinds are met, in a second.
      if ((i + name.size()) % 3 != 0) continue;
      std::vector<double> direction(templates.size(), 0.0);
      direction[i] = size;
      INFO("input " << i << " of kind " << static_cast<int>(input.kind));
      const double expected = difference(model, options, direction, figure, 2e-3);
      CHECK_THAT(along(s, direction), WithinAbs(expected, 1e-5 * std::abs(expected) + 2e-8));
    }
  }
}

TEST_CASE("random directions with every modifier", "[core][sensitivity]") {
  SECTION("an excess") {
    check_directions(model_of(all_modifiers(0.0, {53.0, 31.0, 22.0, 13.0})), {}, 1e-3, 1e-5);
  }
  SECTION("a deficit: the POI at its bound, where the best fit does not move") {
    const Model model = model_of(all_modifiers(0.0, {35.0, 17.0, 8.0, 7.0}));
    check_directions(model, {}, 1e-3, 1e-5, {"best_fit", "error", "significance", "log_p0"});
    SensitivityCalculator calculator(model);
    const Sensitivity best = calculator.best_fit();
    CHECK(best.converged);
    CHECK(best.value == 0.0);
    for (double d : best.derivatives) CHECK(d == 0.0);
    CHECK_FALSE(calculator.error().converged);
    CHECK(calculator.significance().value == 0.0);
  }
  SECTION("a nuisance parameter at its bound") {
    slalom::Workspace w = all_modifiers(0.0, {53.0, 31.0, 22.0, 13.0});
    slalom::ParameterConfig jes;
    jes.name = "jes";
    jes.bounds = std::vector<std::pair<double, double>>{{-0.2, 0.1}};
    w.measurements[0].parameters.push_back(jes);
    const Model model = model_of(w);
    const slalom::FitResult best = slalom::fit(model);
    REQUIRE(best.at_bound[*model.spec().find("jes")]);
    check_directions(model, {}, 1e-3, 1e-5);
  }
  SECTION("the statistic q") {
    SensitivityOptions options;
    options.statistic = slalom::TestStatistic::q;
    check_directions(model_of(all_modifiers(-5.0, {53.0, 31.0, 22.0, 13.0})), options, 1e-3, 1e-5);
  }
  SECTION("one start per fit") {
    SensitivityOptions options;
    options.fit.search_minima = false;
    check_directions(model_of(all_modifiers(0.0, {53.0, 31.0, 22.0, 13.0})), options, 1e-3, 1e-5);
  }
}

TEST_CASE("data that move with the templates", "[core][sensitivity]") {
  const Model model = model_of(all_modifiers(-5.0, {53.0, 31.0, 22.0, 13.0}));
  const std::size_t poi = *model.spec().poi;
  SensitivityOptions options;
  SECTION("expected at the suggested parameters") {
    options.asimov_point = model.spec().initial();
    options.asimov_point[poi] = 1.0;
    check_directions(model, options, 1e-3, 1e-5, {"best_fit"});
    SensitivityCalculator calculator(model, options);
    // The best fit of Asimov data is where they were made, whatever the templates.
    for (double d : calculator.best_fit().derivatives) CHECK_THAT(d, WithinAbs(0.0, 1e-9));
  }
  SECTION("expected at a fit to the observed data") {
    slalom::FitOptions how;
    how.fixed = {{poi, 0.7}};
    options.asimov_fit = slalom::fit(model, how);
    options.asimov_point = options.asimov_fit->parameters;
    check_directions(model, options, 1e-3, 1e-5, {"best_fit"});
  }
}

TEST_CASE("an updated calculator is a new one to the last bit", "[core][sensitivity]") {
  const Model model = model_of(all_modifiers(0.0, {53.0, 31.0, 22.0, 13.0}));
  const std::size_t poi = *model.spec().poi;
  // What steps change: yields, variations that come and go, widths, data.
  const auto change = [](ModelSpec& spec, double x) {
    slalom::SampleSpec& wide = spec.channels[1].samples[0];
    for (double& y : wide.nominal) y *= 1.0 + 0.1 * x;
    wide.histosys[0].hi[1] += 2.0 * x;
    wide.normsys[0].hi = 1.05 + 0.1 * x;
    wide.binwise[0].uncertainty[2] *= 1.2;
    spec.channels[0].samples[0].normsys[0] = {spec.channels[0].samples[0].normsys[0].parameter,
                                              x > 0.5 ? 1.0 : 1.04, x > 0.5 ? 1.0 : 0.97};
    for (std::size_t p : spec.auxiliary) {
      slalom::Parameter& parameter = spec.parameters[p];
      if (parameter.sigma > 0.0) parameter.sigma *= 1.0 + 0.2 * x;
      if (parameter.tau > 0.0) parameter.auxdata = parameter.tau *= 1.0 + 0.2 * x;
    }
    spec.observed[0] += 3.0 * x;
  };
  for (const bool asimov : {false, true}) {
    SensitivityOptions options;
    if (asimov) {
      options.asimov_point = model.spec().initial();
      options.asimov_point[poi] = 1.0;
    }
    SensitivityCalculator used(model, options);
    ModelSpec spec = model.spec();
    // 0.6 takes a variation away, which is not stored then; 0.2 brings it back.
    for (const double x : {0.1, 0.6, 0.7, 0.2, 0.0}) {
      used.update([&](ModelSpec& s) { change(s, x); });
      change(spec, x);
      SensitivityCalculator fresh(Model(spec), options);
      for (const auto& [name, figure] : figures()) {
        const Sensitivity a = figure(used), b = figure(fresh);
        INFO(name << " at " << x << ": " << b.message);
        CHECK(a.converged == b.converged);
        CHECK(a.value == b.value);
        CHECK(a.derivatives == b.derivatives);
      }
    }
  }
  CHECK(model.spec().channels[1].samples[0].nominal[0] == 40.0);  // not touched
  SensitivityCalculator broken(model);
  CHECK_THROWS_AS(broken.update([](ModelSpec& s) { s.channels[0].samples[0].nominal.clear(); }),
                  slalom::Error);
}

TEST_CASE("one bin with an uncertain background has a closed form", "[core][sensitivity]") {
  // Without nuisance parameters: sigma^2 = n / s^2 at mu-hat = (n - b) / s.
  slalom::Workspace w;
  w.channels = {
      {"c",
       {{"s", {10.0}, {{"mu", ModifierType::normfactor, {}, {}, 1, 1, {}}}}, {"b", {50.0}, {}}}}};
  w.observations = {{"c", {63.0}}};
  w.measurements = {{"m", "mu", {}}};
  const Model model = model_of(w);
  SensitivityCalculator calculator(model);
  const auto derivative = [&](const Sensitivity& s, const std::string& sample, InputKind kind) {
    for (std::size_t i = 0; i < s.derivatives.size(); ++i) {
      const Input& input = calculator.templates().inputs()[i];
      if (input.kind != kind) continue;
      if (kind == InputKind::observed ||
          model.spec().channels[0].samples[input.sample].name == sample) {
        return s.derivatives[i];
      }
    }
    return std::nan("");
  };
  const Sensitivity best = calculator.best_fit(), error = calculator.error();
  CHECK_THAT(best.value, WithinRel(1.3, 1e-9));
  CHECK_THAT(derivative(best, "b", InputKind::nominal), WithinRel(-0.1, 1e-9));
  CHECK_THAT(derivative(best, "s", InputKind::nominal), WithinRel(-0.13, 1e-9));
  CHECK_THAT(derivative(best, "", InputKind::observed), WithinRel(0.1, 1e-9));
  CHECK_THAT(error.value, WithinRel(std::sqrt(63.0) / 10.0, 1e-9));
  CHECK_THAT(derivative(error, "s", InputKind::nominal), WithinRel(-std::sqrt(63.0) / 100.0, 1e-9));
  CHECK_THAT(derivative(error, "b", InputKind::nominal), WithinAbs(0.0, 1e-9));
  CHECK_THAT(derivative(error, "", InputKind::observed), WithinRel(0.05 / std::sqrt(63.0), 1e-9));
  // Z^2 = 2 ((s + b) log(1 + s / b) - s): dZ/ds = log(1 + s / b) / Z.
  const Sensitivity z = calculator.expected_significance();
  const double expected = std::sqrt(2.0 * (60.0 * std::log(1.2) - 10.0));
  CHECK_THAT(z.value, WithinRel(expected, 1e-9));
  CHECK_THAT(derivative(z, "s", InputKind::nominal), WithinRel(std::log(1.2) / expected, 1e-8));
  CHECK_THAT(derivative(z, "b", InputKind::nominal),
             WithinRel((std::log(1.2) - 0.2) / expected, 1e-8));
  // Nothing of the expected figures depends on the observed count here.
  CHECK_THAT(derivative(z, "", InputKind::observed), WithinAbs(0.0, 1e-12));
}

TEST_CASE("derivatives by what a workspace holds", "[core][sensitivity]") {
  slalom::Workspace w = all_modifiers(0.0, {53.0, 31.0, 22.0, 13.0});
  auto& narrow = w.channels[1].samples[0].modifiers;
  narrow.erase(narrow.begin());  // a free factor per bin would absorb all that happens there
  const Model model = model_of(w);
  SensitivityOptions options;
  options.fit.tolerance = 1e-11;
  SensitivityCalculator calculator(model, options);
  const Sensitivity limit = calculator.expected_upper_limit();
  const slalom::WorkspaceSensitivity all =
      slalom::workspace_sensitivity(model, calculator.templates(), limit);
  const auto value_with = [&](const std::function<void(slalom::Workspace&)>& change) {
    slalom::Workspace changed = w;
    change(changed);
    SensitivityCalculator there(model_of(changed), options);
    return there.expected_upper_limit().value;
  };
  const auto numerical = [&](const std::function<double&(slalom::Workspace&)>& number) {
    const auto at = [&](double step) {
      return value_with([&](slalom::Workspace& changed) { number(changed) += step; });
    };
    const double h = 1e-2;
    return (4.0 * (at(0.5 * h) - at(-0.5 * h)) / h - (at(h) - at(-h)) / (2.0 * h)) / 3.0;
  };
  const auto analytic = [&](InputKind kind, const std::string& channel, const std::string& sample,
                            std::size_t bin) {
    for (std::size_t i = 0; i < all.inputs.size(); ++i) {
      const Input& input = all.inputs[i];
      if (input.kind != kind || input.bin != bin) continue;
      const slalom::ChannelSpec& c = model.spec().channels[input.channel];
      if (c.name == channel && c.samples[input.sample].name == sample) return all.derivatives[i];
    }
    return std::nan("");
  };
  const auto check = [&](InputKind kind, const std::string& channel, const std::string& sample,
                         std::size_t bin,
                         const std::function<double&(slalom::Workspace&)>& number) {
    INFO(channel << " " << sample << " kind " << static_cast<int>(kind));
    CHECK_THAT(analytic(kind, channel, sample, bin), WithinRel(numerical(number), 1e-5));
  };
  using W = slalom::Workspace;
  // Nominal yields with a staterror (two samples share its width) and with a shapesys.
  check(InputKind::nominal, "wide", "s", 1,
        [](W& x) -> double& { return x.channels[0].samples[0].data[1]; });
  check(InputKind::nominal, "wide", "b", 2,
        [](W& x) -> double& { return x.channels[0].samples[1].data[2]; });
  check(InputKind::nominal, "narrow", "b", 1,
        [](W& x) -> double& { return x.channels[1].samples[0].data[1]; });
  check(InputKind::uncertainty, "wide", "b", 1,
        [](W& x) -> double& { return x.channels[0].samples[1].modifiers[4].uncertainty[1]; });
  check(InputKind::uncertainty, "narrow", "b", 0,
        [](W& x) -> double& { return x.channels[1].samples[0].modifiers[1].uncertainty[0]; });
  check(InputKind::histosys_hi, "wide", "s", 1,
        [](W& x) -> double& { return x.channels[0].samples[0].modifiers[0].hi_data[1]; });
  check(InputKind::observed, "narrow", "b", 1,
        [](W& x) -> double& { return x.observations[1].data[1]; });

  SECTION("and their sums: samples, bins, parameters") {
    const slalom::SensitivityRanking ranking = slalom::rank(model, all);
    const auto scaled = [&](double factor, std::size_t sample, int bin) {
      return value_with([&](W& x) {
        slalom::Sample& s = x.channels[0].samples[sample];
        for (std::size_t b = 0; b < 4; ++b) {
          if (bin >= 0 && b != static_cast<std::size_t>(bin)) continue;
          s.data[b] *= factor;
          s.modifiers[0].hi_data[b] *= factor;
          s.modifiers[0].lo_data[b] *= factor;
          s.modifiers[4].uncertainty[b] *= factor;
        }
      });
    };
    for (const auto& effect : ranking.samples) {
      if (model.spec().channels[effect.channel].name != "wide") continue;
      const bool signal = model.spec().channels[effect.channel].samples[effect.sample].name == "s";
      const std::size_t place = signal ? 0 : 1;
      CHECK_THAT(effect.effect,
                 WithinRel((scaled(1.001, place, -1) - scaled(0.999, place, -1)) / 2e-3, 1e-5));
    }
    REQUIRE(ranking.bins.size() == 6);
    for (const auto& effect : ranking.parameters) {
      if (model.spec().sets[effect.set].name == "theory") {
        const auto with = [&](double f) {
          return value_with([&](W& x) {
            for (slalom::Sample& s : x.channels[0].samples) {
              s.modifiers[2].hi = 1.0 + f * (s.modifiers[2].hi - 1.0);
              s.modifiers[2].lo = 1.0 + f * (s.modifiers[2].lo - 1.0);
            }
          });
        };
        CHECK_THAT(effect.variations, WithinRel((with(1.001) - with(0.999)) / 2e-3, 1e-5));
        CHECK(effect.width * effect.variations > 0.0);
      }
      if (model.spec().sets[effect.set].name == "stat") {
        const auto with = [&](double f) {
          return value_with([&](W& x) {
            for (slalom::Sample& s : x.channels[0].samples) {
              for (double& u : s.modifiers[4].uncertainty) u *= f;
            }
          });
        };
        CHECK_THAT(effect.width, WithinRel((with(1.001) - with(0.999)) / 2e-3, 1e-5));
      }
    }
  }
}

TEST_CASE("published likelihoods in random directions", "[core][sensitivity]") {
  SLALOM_REQUIRE_DATA("workspaces/sbottom");
  SECTION("agc_34par") {
    check_directions(slalom::test::published_model("agc/agc_34par.json"), {}, 1e-4, 1e-5, {}, 1);
  }
  SECTION("sbottom region A with a signal") {
    check_directions(
        slalom::test::published_model("sbottom/RegionA/BkgOnly.json",
                                      "sbottom/RegionA/patch.sbottom_1300_205_60.json"),
        {}, 1e-4, 1e-5, {"error", "significance", "log_p0"}, 1);
  }
}

TEST_CASE("more published likelihoods in random directions", "[core][sensitivity][slow]") {
  SLALOM_REQUIRE_DATA("workspaces/3LRJR");
  using slalom::test::published_model;
  SECTION("ttbar with 132 parameters") {
    check_directions(published_model("ttbar/ttbar_ljets_132par.json"), {}, 1e-6, 1e-5, {}, 1);
  }
  SECTION("AGC with a classifier") {
    // 458 sigma from the data, at mu = 0, a rate of 2e-10 of its yields is left: no curvature.
    const Model model = published_model("agc/agc_ml_187par.json");
    check_directions(model, {}, 1e-6, 1e-5, {"expected_error(0)"}, 1);
    SensitivityCalculator calculator(model);
    const Sensitivity s = calculator.expected_error(0.0);
    CHECK_FALSE(s.converged);
    CHECK(s.message.find("almost vanishes") != std::string::npos);
  }
  SECTION("three leptons") {
    check_directions(published_model("3LRJR/BkgOnly.json", "3LRJR/patchset.json#ERJR_100p0_20p0"),
                     {}, 1e-6, 1e-5, {}, 1);
  }
  SECTION("two leptons") {
    check_directions(
        published_model("2L0J/BkgOnly.json", "2L0J/patchset.json#C1C1_WW_300p0_50p0_dummy"), {},
        1e-6, 1e-5, {}, 1);
  }
}

TEST_CASE("derivatives where the likelihood ends are those along its end", "[core][sensitivity]") {
  slalom::Workspace w;
  w.channels = {{"c",
                 {{"s", {1.5, 2.0, 0.5}, {{"mu", ModifierType::normfactor, {}, {}, 1, 1, {}}}},
                  {"b",
                   {0.9, 0.7, 0.5},
                   {{"n", ModifierType::normsys, {}, {}, 1.3, 0.75, {}},
                    {"h", ModifierType::histosys, {1.2, 0.9, 0.5}, {0.7, 0.5, 0.45}, 1, 1, {}},
                    {"stat", ModifierType::staterror, {}, {}, 1, 1, {0.2, 0.15, 0.1}}}}}}};
  w.observations = {{"c", {0.0, 0.0, 1.0}}};
  slalom::ParameterConfig mu;
  mu.name = "mu";
  mu.bounds = {{-10.0, 10.0}};
  w.measurements = {{"m", "mu", {mu}}};
  const Model model(make_model_spec(w));
  REQUIRE_FALSE(slalom::fit(model).empty_bins.empty());
  SensitivityOptions options;
  options.fit.tolerance = 1e-11;
  options.statistic = slalom::TestStatistic::q;  // sees the best fit, however negative
  SensitivityCalculator calculator(model, options);
  // An empty bin stays empty: data have no derivatives there.
  std::vector<double> direction = random_direction(model, 3);
  for (std::size_t i = 0; i < direction.size(); ++i) {
    if (calculator.templates().inputs()[i].kind == InputKind::observed) direction[i] = 0.0;
  }
  for (const auto& [name, figure] : figures()) {
    if (name != "best_fit" && name != "log_cls" && name != "upper_limit") continue;
    INFO(name);
    const Sensitivity s = figure(calculator);
    REQUIRE(s.converged);
    const double expected = difference(model, options, direction, figure, 1e-3);
    CHECK_THAT(along(s, direction), WithinRel(expected, 1e-5));
  }
}

TEST_CASE("what cannot be had says why", "[core][sensitivity]") {
  const Model model = slalom::test::uncorrelated_background({12.0}, {50.0}, {3.0}, {51.0});
  SensitivityOptions options;
  options.data = {51.0};
  CHECK_THROWS_AS(SensitivityCalculator(model, options), slalom::Error);
  options.data.clear();
  options.asimov_point = {1.0};
  CHECK_THROWS_AS(SensitivityCalculator(model, options), slalom::Error);
  options.asimov_point.clear();
  SensitivityCalculator calculator(model, options);
  CHECK_THROWS_AS(calculator.upper_limit(0.0), slalom::Error);
  CHECK_THROWS_AS(calculator.expected_upper_limit(1.0), slalom::Error);
  options.fit.max_iterations = 1;
  options.fit.search_minima = false;
  SensitivityCalculator hasty(model_of(all_modifiers(0.0, {153.0, 31.0, 22.0, 3.0})), options);
  const Sensitivity s = hasty.expected_upper_limit();
  CHECK_FALSE(s.converged);
  CHECK_FALSE(s.message.empty());
  CHECK(s.derivatives.size() == hasty.templates().size());
}
