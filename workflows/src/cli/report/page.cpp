// SPDX-License-Identifier: Apache-2.0
/// \file
/// The page of a report.
#include "cli/report/page.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <functional>
#include <map>
#include <numeric>

#include "cli/levels.hpp"
#include "cli/plot_arguments.hpp"
#include "cli/report/html.hpp"
#include "cli/text.hpp"
#include "slalom/core/version.hpp"
#include "slalom/workflows/contour_plot.hpp"
#include "slalom/workflows/correlation_plot.hpp"
#include "slalom/workflows/goodness_of_fit_plot.hpp"
#include "slalom/workflows/limit_plot.hpp"
#include "slalom/workflows/pull_plot.hpp"
#include "slalom/workflows/ranking_plot.hpp"
#include "slalom/workflows/scan_plot.hpp"

namespace slalom::cli {

namespace {

/// What is worth a row of a picture or table; what is left out is counted.
constexpr std::size_t k_ranked = 25;
constexpr std::size_t k_correlated = 30;
constexpr double k_correlation = 0.2;
constexpr std::size_t k_pulls = 80;
constexpr std::size_t k_parts = 12;
/// Channels beyond this number, or of few bins, are drawn in one frame.
constexpr std::size_t k_many_channels = 12;
constexpr std::size_t k_few_bins = 2;
constexpr std::size_t k_several_channels = 3;
/// Channels that get a picture of their own at most.
constexpr std::size_t k_most_channels = 30;
/// Bins beyond which an overview cannot be read, and channels get no further pictures.
constexpr std::size_t k_overview_bins = 150;
constexpr std::size_t k_most_bins = 1200;

constexpr const char* k_css = R"css(
:root { color-scheme: light; }
body { font: 15px/1.45 Helvetica, Arial, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 1080px; margin: 1.5em auto; padding: 0 1.2em; }
h1 { font-size: 1.7em; margin: 0 0 .2em; overflow-wrap: anywhere; }
h2 { font-size: 1.25em; margin: 1.6em 0 .5em; padding-bottom: .15em; border-bottom: 2px solid #3f90da;
  break-after: avoid; }
h3 { font-size: 1.05em; margin: 1.1em 0 .4em; break-after: avoid; }
p { margin: .4em 0; }
p.source, p.note, figcaption { color: #555; font-size: .92em; }
nav { margin: .8em 0; font-size: .95em; }
nav a { margin-right: .9em; color: #1f5f9a; text-decoration: none; white-space: nowrap; }
p.good, p.bad { padding: .6em .9em; border-left: 6px solid; font-size: 1.05em; margin: .8em 0; }
p.good { border-color: #85ab4b; background: #f2f7ea; }
p.bad { border-color: #bd1f01; background: #fdeeea; font-weight: bold; }
ul.warnings { padding-left: 1.2em; margin: .4em 0; }
ul.warnings li { margin: .15em 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: .5em 0; font-size: .92em; }
th, td { text-align: left; padding: .16em .8em .16em 0; vertical-align: top; overflow-wrap: anywhere; }
th { border-bottom: 1.5px solid #1a1a1a; font-weight: bold; }
td { border-bottom: 1px solid #e4e4e4; }
th.n, td.n { text-align: right; padding-left: .4em; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
tr.title td { font-weight: bold; padding-top: .7em; }
tr.sum td { border-top: 1.5px solid #1a1a1a; font-weight: bold; }
tr.mark td { background: #fff3d6; }
table.key td:first-child { color: #555; white-space: nowrap; padding-right: 1.6em; }
figure { margin: .6em 0; break-inside: avoid; }
figure svg { width: 100%; height: auto; display: block; }
div.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .4em 1.2em; }
code { font-family: "DejaVu Sans Mono", Consolas, monospace; font-size: .9em; overflow-wrap: anywhere; }
pre { font: .82em/1.35 "DejaVu Sans Mono", Consolas, monospace; background: #f6f6f6; padding: .7em 1em;
  white-space: pre-wrap; overflow-wrap: anywhere; }
@media print {
  @page { size: A4; margin: 14mm; }
  body { max-width: none; margin: 0; padding: 0; font-size: 10pt; }
  nav { display: none; }
  thead { display: table-header-group; }
  tr { break-inside: avoid; }
  figure svg { max-height: 235mm; }
  p.good, p.bad, tr.mark td { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
)css";

/// Everything that the sections need.
struct Page {
  const Report& report;
  const ReportOptions& options;
  const ReportStyle& style;
  Pictures& pictures;

  const ModelSpec& spec() const { return report.spec(); }
  const std::string& name(std::size_t i) const { return spec().parameters[i].name; }
};

std::string value_with_error(const Yield& yield) {
  const int decimals = yield.error > 0.0 ? std::min(decimals_for(yield.error), 4) : 2;
  const std::string value = fixed_point(yield.value, decimals);
  return yield.error > 0.0 ? value + " ± " + fixed_point(yield.error, decimals) : value;
}

/// Value and error of a parameter with the signs of typeset text.
std::pair<std::string, std::string> typeset_value(const FitReport& fit, std::size_t i) {
  const auto [value, error] = parameter_value(fit, i);
  return {typeset(value), typeset(error)};
}

std::string percent(double part, double whole) {
  return whole > 0.0 ? fmt::format("{:.1f} %", 100.0 * part / whole) : "";
}

std::string signed_number(double value, int decimals) {
  const std::string text = fixed_point(value, decimals);
  const bool zero = text.find_first_of("123456789") == std::string::npos;
  return (value > 0.0 && !zero ? "+" : "") + typeset(text);
}

// ---- the top of the page

std::string status(const Report& report) {
  const FitResult& result = report.fit.result;
  if (!result.converged()) {
    return html_element("p",
                        "THE FIT DID NOT CONVERGE: " + result.message +
                            ". The numbers below are those of the best point that was found; they "
                            "are no result.",
                        "bad");
  }
  if (!report.converged) {
    return html_element("p",
                        "The fit converged, but not everything that is built on it did: see the "
                        "warnings.",
                        "bad");
  }
  return html_element("p", "The fit converged, and so did all fits of this report.", "good");
}

std::string band_text(const std::array<double, 5>& band) {
  return fmt::format("{}  (68 %: {} to {}, 95 %: {} to {})", brief(band[2], 4), brief(band[1], 4),
                     brief(band[3], 4), brief(band[0], 4), brief(band[4], 4));
}

/// A probability, also one below the range of doubles.
std::string probability(double p, double log_p) {
  if (p > 0.0 || !std::isfinite(log_p)) return brief(p, 4);
  return fmt::format("1e{:.0f}", std::floor(log_p / std::log(10.0)));
}

std::string significance(double z, double p, double log_p) {
  return fmt::format("{:.2f} σ  (p = {})", z, probability(p, log_p));
}

/// The numbers that people look for first.
std::string result_section(const Page& page, const std::string& title) {
  const Report& report = page.report;
  std::vector<std::vector<std::string>> rows;
  const auto poi = report.poi();
  if (poi && report.fit.result.converged()) {
    const auto [value, error] = typeset_value(report.fit, *poi);
    rows.push_back({"Best fit",
                    page.name(*poi) + " = " + value + (error.empty() ? "" : "  ") + error +
                        (report.fit.minos.contains(*poi) ? "  (68.3 %, profile likelihood)" : "")});
    const auto interval = report.fit.minos.find(*poi);
    if (interval != report.fit.minos.end()) {
      const auto& [lower, upper] = interval->second;
      const int decimals = decimals_for(upper.value - lower.value);
      rows.push_back({"68.3 % interval",
                      fmt::format("[{}, {}]{}", fixed_point(lower.value, decimals),
                                  fixed_point(upper.value, decimals),
                                  lower.at_bound || upper.at_bound ? ", ends at a bound" : "")});
    }
  }
  if (report.limit && report.limit->converged) {
    rows.push_back({"95 % CL upper limit, observed", brief(report.limit->observed, 4)});
    rows.push_back({"95 % CL upper limit, expected", band_text(report.limit->expected)});
  }
  if (report.discovery && report.discovery->converged) {
    rows.push_back(
        {"Significance, observed",
         significance(report.discovery->z, report.discovery->p0, report.discovery->log_p0)});
    rows.push_back({fmt::format("Significance, expected for {} = 1", page.name(*poi)),
                    significance(report.discovery->z_expected, report.discovery->p0_expected,
                                 report.discovery->log_p0_expected)});
  }
  if (report.gof) {
    rows.push_back({"Goodness of fit", fmt::format("p = {}", brief(report.gof->p_value, 3))});
  }
  std::string text = key_table(rows);
  if (!report.spec().poi) {
    text += html_element("p",
                         "The model has no parameter of interest: there are no ranking, scan, "
                         "limit and significance.",
                         "note");
  } else if (!poi) {
    text += html_element(
        "p",
        fmt::format("The parameter of interest {} is held at {}: there are no ranking, scan, limit "
                    "and significance.",
                    page.name(*report.spec().poi),
                    brief(report.spec().parameters[*report.spec().poi].init)),
        "note");
  }
  return html_section("result", title, text);
}

std::string warnings_section(const Warnings& warnings) {
  return html_section("warnings", "Warnings", warnings_list(warnings));
}

// ---- model and fit

std::string parameter_counts(const ModelSpec& spec) {
  std::map<std::string, std::size_t> counts;
  for (const ParameterSet& set : spec.sets) counts[to_string(set.type)] += set.size;
  std::string text;
  for (const auto& [type, n] : counts) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", n, type);
  }
  return text;
}

std::string model_section(const Page& page) {
  const ModelSpec& spec = page.spec();
  const std::vector<bool>& fixed = page.report.fit.result.fixed;
  std::set<std::string> samples;
  for (const ChannelSpec& channel : spec.channels) {
    for (const SampleSpec& sample : channel.samples) samples.insert(sample.name);
  }
  const bool asimov = !page.report.loaded().asimov_point.empty();
  std::string text = key_table(
      {{"Measurement", page.report.loaded().measurement},
       {"Parameter of interest", spec.poi ? page.name(*spec.poi) : "none"},
       {"Data", asimov ? "ASIMOV DATA, not the observed ones" : "observed"},
       {"Size", fmt::format("{}, {}, {}", count(spec.channels.size(), "channel"),
                            count(samples.size(), "sample"), count(spec.n_bins(), "bin"))},
       {"Parameters",
        fmt::format("{}, {} of them held: {}", spec.parameters.size(),
                    std::count(fixed.begin(), fixed.end(), true), parameter_counts(spec))},
       {"Constraint terms", std::to_string(spec.auxiliary.size())},
       {"Samples", listing({samples.begin(), samples.end()}, 40)}});
  HtmlTable table("lrrrl", {"Channel", "Bins", "Events", "Samples", "Modifiers"});
  for (const ChannelSpec& channel : spec.channels) {
    std::map<std::string, std::size_t> modifiers;
    for (const SampleSpec& sample : channel.samples) {
      if (!sample.histosys.empty()) modifiers["histosys"] += sample.histosys.size();
      if (!sample.normsys.empty()) modifiers["normsys"] += sample.normsys.size();
      if (!sample.factors.empty()) modifiers["normfactor, lumi"] += sample.factors.size();
      for (const BinwiseTerm& term : sample.binwise) modifiers[to_string(term.type)] += 1;
    }
    std::string listed;
    for (const auto& [type, n] : modifiers) {
      listed += fmt::format("{}{} {}", listed.empty() ? "" : "; ", n, type);
    }
    double events = 0.0;
    for (std::size_t k = 0; k < channel.n_bins; ++k) {
      events += page.report.loaded().data[channel.first_bin + k];
    }
    table.row({channel.name, std::to_string(channel.n_bins), brief(events),
               std::to_string(channel.samples.size()), listed});
  }
  return html_section("model", "Model", text + table.str());
}

std::string fit_section(const Page& page) {
  const FitResult& fit = page.report.fit.result;
  std::vector<std::vector<std::string>> rows{
      {"Status", fit.converged() ? fit.message : to_string(fit.status) + (": " + fit.message)}};
  if (fit.status != FitStatus::infeasible) {  // else there is no point to speak of
    rows.push_back({"−2 log L", fmt::format("{:.9g}", fit.twice_nll)});
    rows.push_back({"KKT residual", brief(fit.kkt_residual, 2) +
                                        "  (largest scaled component of the projected gradient)"});
    rows.push_back({"Estimated distance to minimum", brief(fit.edm, 2) + "  (in −log L)"});
    rows.push_back({"Smallest eigenvalue", brief(fit.smallest_eigenvalue, 3) +
                                               "  (of the Hessian scaled to unit diagonal)"});
  }
  rows.push_back(
      {"Work",
       fmt::format("{}, {}, {}", count(static_cast<std::size_t>(fit.iterations), "iteration"),
                   count(static_cast<std::size_t>(fit.evaluations), "evaluation"),
                   count(static_cast<std::size_t>(fit.starts), "start"))});
  std::vector<std::string> bounds;
  for (std::size_t i = 0; i < fit.at_bound.size(); ++i) {
    if (fit.at_bound[i]) bounds.push_back(page.name(i));
  }
  rows.push_back({"Parameters at bounds", bounds.empty() ? "none" : listing(bounds, 20)});
  return html_section("fit", "Quality of the fit", key_table(rows));
}

std::string goodness_section(const Page& page) {
  if (!page.report.gof) return "";
  const GoodnessOfFit& gof = *page.report.gof;
  std::vector<std::vector<std::string>> rows{
      {"Statistic", brief(gof.statistic) + "  (−2 log L above the saturated model)"},
      {"Degrees of freedom",
       fmt::format("{}  ({} minus {})", gof.degrees_of_freedom, count(gof.bins, "bin"),
                   count(gof.free_parameters, "free parameter"))},
      {"p-value, asymptotic", brief(gof.p_value, 4)}};
  std::string picture_text;
  if (const auto& toys = page.report.gof_toys) {
    rows.push_back(
        {"p-value, toys",
         fmt::format("{} ± {}  ({} toys, {} failed)", brief(toys->p_value.value, 4),
                     brief(toys->p_value.error, 2), toys->toys.done, toys->toys.failed)});
    picture_text = page.pictures.figure(
        "goodness_of_fit", [&] { return picture(goodness_of_fit_plot(*toys), page.style.plot); });
  }
  std::string text = key_table(rows) + picture_text;
  if (!gof.channels.empty()) {
    HtmlTable table("lrr", {"Part of the statistic", "Bins", "Value"});
    std::vector<std::size_t> order(gof.channels.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (order.size() > k_parts) {
      std::stable_sort(order.begin(), order.end(), [&gof](std::size_t a, std::size_t b) {
        return gof.channels[a] > gof.channels[b];
      });
      order.resize(k_parts);
    }
    for (const std::size_t i : order) {
      table.row({page.spec().channels[i].name, std::to_string(page.spec().channels[i].n_bins),
                 fmt::format("{:.3f}", gof.channels[i])});
    }
    if (order.size() < gof.channels.size()) {
      table.row({fmt::format("{} smaller ones", gof.channels.size() - order.size())});
    }
    table.row({"constraint terms", "", fmt::format("{:.3f}", gof.constraints)});
    text += table.str();
  }
  return html_section("goodness", "Goodness of fit", text);
}

// ---- distributions and yields

bool wants_overview(const ModelSpec& spec) {
  const std::size_t n = spec.channels.size();
  if (spec.n_bins() > k_overview_bins) return false;
  return n > k_many_channels || (n > k_several_channels && spec.n_bins() <= k_few_bins * n);
}

/// How many channels have room on a page that browsers can handle.
std::size_t drawn_channels(const ModelSpec& spec) {
  std::size_t n = 0;
  for (std::size_t bins = 0; n < std::min(spec.channels.size(), k_most_channels); ++n) {
    bins += spec.channels[n].n_bins;
    if (n > 0 && bins > k_most_bins) break;
  }
  return n;
}

/// The part of a plot with one channel.
DistributionPlot only(const DistributionPlot& plot, std::size_t channel) {
  return {{plot.channels[channel]}, plot.logarithmic};
}

std::string distributions_section(const Page& page) {
  if (!page.options.has("distributions")) return "";
  DistributionPlot prefit = prefit_distributions(page.report.loaded(), page.style.axes);
  DistributionPlot postfit = postfit_distributions(page.report.fit, page.style.axes);
  prefit.logarithmic = postfit.logarithmic = page.style.logarithmic;
  PlotStyle before = page.style.plot;
  before.lines.insert(before.lines.begin(), "Pre-fit");
  PlotStyle after = page.style.plot;
  after.lines = fit_lines(page.report.fit);
  after.lines.insert(after.lines.begin(), "Post-fit");
  std::string text;
  if (wants_overview(page.spec())) {
    text +=
        page.pictures.figure("overview_prefit", [&] { return picture(overview(prefit), before); }) +
        page.pictures.figure("overview_postfit", [&] { return picture(overview(postfit), after); });
  }
  const std::size_t n = page.spec().channels.size();
  if (!wants_overview(page.spec()) || page.spec().n_bins() > k_few_bins * n) {
    const std::size_t drawn = drawn_channels(page.spec());
    for (std::size_t i = 0; i < drawn; ++i) {
      before.lines[0] = n > 1 ? page.spec().channels[i].name + ", pre-fit" : "Pre-fit";
      after.lines[0] = n > 1 ? page.spec().channels[i].name + ", post-fit" : "Post-fit";
      const std::string number = n > 1 ? fmt::format("_{}", i) : "";
      text += "<div class=\"pair\">\n" + page.pictures.figure("prefit" + number, [&] {
        return picture(only(prefit, i), before);
      }) + page.pictures.figure("postfit" + number, [&] {
        return picture(only(postfit, i), after);
      }) + "</div>\n";
    }
    if (n > drawn) {
      text += html_element(
          "p", fmt::format("{} more channels have no picture of their own.", n - drawn), "note");
    }
  }
  text += html_element(
      "p",
      "Points are data with central Poisson intervals of 68.3 %; the hatched band is the "
      "uncertainty of the sum of all samples: pre-fit from the constraints without correlations, "
      "post-fit from the full covariance. An arrow stands for a ratio outside the frame.",
      "note");
  return html_section("distributions", "Distributions", text);
}

std::string yields_section(const Page& page) {
  const Report& report = page.report;
  if (report.postfit.empty()) return "";
  HtmlTable table("lrr", {"Sample", "Pre-fit", "Post-fit"});
  for (std::size_t c = 0; c < report.postfit.size(); ++c) {
    const ChannelYields& before = report.prefit[c];
    const ChannelYields& after = report.postfit[c];
    table.title(after.name);
    for (std::size_t s = 0; s < after.samples.size(); ++s) {
      table.row({after.samples[s].name, value_with_error(before.samples[s].sum),
                 value_with_error(after.samples[s].sum)});
    }
    table.row({"total", value_with_error(before.total.sum), value_with_error(after.total.sum)},
              "sum");
    table.row({"data", brief(after.data_sum), brief(after.data_sum)});
  }
  const std::string note = html_element(
      "p",
      "Sums over the bins of a channel. Uncertainties contain all parameters that float; those of "
      "samples are correlated and do not add up in quadrature.",
      "note");
  return html_section("yields", "Yields", table.str() + note);
}

// ---- parameters

std::string parameters_section(const Page& page) {
  if (!page.options.has("parameters")) return "";
  const FitReport& fit = page.report.fit;
  const ParameterRows rows = parameter_rows(fit, false);
  HtmlTable table("lrlrrl", {"Parameter", "Value", "Error", "Pull", "Constraint", ""});
  for (const std::size_t i : rows.shown) {
    const auto [value, error] = typeset_value(fit, i);
    const auto& pull = fit.pulls[i];
    const std::string mark = parameter_mark(fit, i);
    table.row({page.name(i), value, error, pull ? signed_number(pull->pull, 2) : "",
               pull ? fmt::format("{:.2f}", pull->constraint) : "", mark},
              mark.empty() || mark == "fixed" ? "" : "mark");
  }
  std::string text = table.str();
  if (rows.hidden > 0) {
    text += html_element("p",
                         fmt::format("{} pulled by less than one pre-fit uncertainty: not shown.",
                                     count(rows.hidden, "per-bin parameter")),
                         "note");
  }
  text += html_element("p",
                       "Pull: (best fit − pre-fit value) / pre-fit uncertainty. Constraint: "
                       "post-fit / pre-fit uncertainty.",
                       "note");
  return html_section("parameters", "Parameters", text);
}

std::string pulls_section(const Page& page) {
  if (!page.options.has("pulls") || !page.report.fit.covariance.valid) return "";
  const PullPlot plot = pull_plot(page.spec(), page.report.pulls, k_pulls);
  if (plot.points.empty()) return "";
  return html_section("pulls", "Pulls", page.pictures.figure("pulls", [&] {
    return picture(plot, page.style.plot);
  }));
}

std::string ranking_table(const Page& page) {
  const Impacts& impacts = *page.report.impacts;
  const int decimals = decimals_for(impacts.error) + 1;
  HtmlTable table("rlrrrrr", {"", "Parameter", "Pre-fit up", "Pre-fit down", "Post-fit up",
                              "Post-fit down", "Linear"});
  for (std::size_t i = 0; i < std::min(impacts.impacts.size(), k_ranked); ++i) {
    const Impact& impact = impacts.impacts[i];
    const bool free = page.spec().parameters[impact.parameter].constraint == ConstraintType::none;
    const auto refit = [&](double value, bool known) {
      return page.report.refitted && known ? signed_number(value, decimals) : std::string();
    };
    table.row({std::to_string(i + 1), page.name(impact.parameter), refit(impact.prefit_up, !free),
               refit(impact.prefit_down, !free), refit(impact.postfit_up, true),
               refit(impact.postfit_down, true), signed_number(impact.linear_postfit, decimals)},
              impact.converged ? "" : "mark");
  }
  return table.str();
}

std::string ranking_section(const Page& page) {
  if (!page.report.impacts || page.report.impacts->impacts.empty()) return "";
  const Impacts& impacts = *page.report.impacts;
  if (impacts.best.at_bound[impacts.target]) {
    return html_section("ranking", "Ranking of impacts on " + page.name(impacts.target),
                        html_element("p",
                                     "The best fit is at a bound: it has no uncertainty, and its "
                                     "impacts mean little.",
                                     "note"));
  }
  std::string text = page.pictures.figure("ranking", [&] {
    return picture(ranking_plot(page.spec(), impacts, page.report.pulls, k_ranked),
                   page.style.plot);
  });
  text += ranking_table(page);
  if (impacts.impacts.size() > k_ranked) {
    text += html_element("p",
                         fmt::format("{} parameters with smaller impacts: not shown.",
                                     impacts.impacts.size() - k_ranked),
                         "note");
  }
  text += html_element(
      "p",
      page.report.refitted
          ? "Changes of the best fit when a parameter is held at its best fit ± its pre-fit or "
            "post-fit uncertainty and all others are fitted again; the linear form is the exact "
            "derivative."
          : "Impacts in linear form, from exact derivatives at the best fit: the model has too "
            "many "
            "parameters for four fits of each.",
      "note");
  return html_section("ranking", "Ranking of impacts on " + page.name(page.report.impacts->target),
                      text);
}

std::string correlation_section(const Page& page) {
  if (!page.options.has("correlation") || !page.report.fit.covariance.valid) return "";
  // Where all have room, all are shown.
  const Covariance& covariance = page.report.fit.covariance;
  const bool few = covariance.parameters.size() <= k_correlated;
  const CorrelationPlot plot =
      correlation_plot(page.spec(), covariance, {few ? 0.0 : k_correlation, k_correlated});
  if (plot.names.size() < 2) return "";
  const std::string note =
      few ? ""
          : html_element("p",
                         fmt::format("Parameters with a correlation of at least {} with any other "
                                     "one, at most {}.",
                                     k_correlation, k_correlated),
                         "note");
  return html_section("correlation", "Correlations", page.pictures.figure("correlation", [&] {
    return picture(plot, page.style.plot);
  }) + note);
}

// ---- the parameter of interest

std::string scan_section(const Page& page) {
  if (!page.report.scan) return "";
  const Scan& scan = *page.report.scan;
  ScanPlot plot = scan_plot(page.spec(), scan);
  const double error = page.report.fit.covariance.errors[scan.parameter];
  if (error > 0.0) plot.error = error;
  const auto interval = page.report.fit.minos.find(scan.parameter);
  if (interval != page.report.fit.minos.end()) {
    plot.interval = {interval->second.lower.value, interval->second.upper.value};
  }
  return html_section("scan", "Profile likelihood of " + page.name(scan.parameter),
                      page.pictures.figure("scan", [&] { return picture(plot, page.style.plot); }));
}

std::string contour_section(const Page& page) {
  std::string text, names;
  int drawn = 0;
  for (const std::vector<Contour>& contours : page.report.contours) {
    names += (names.empty() ? "" : ", ") + page.name(contours.back().y);
    const std::string number = page.report.contours.size() == 1 ? "" : std::to_string(++drawn);
    text += page.pictures.figure("contour" + number, [&] {
      return picture(contour_plot(page.spec(), contours), page.style.plot);
    });
    HtmlTable table("lrrrr", {"Region", page.name(contours.back().x) + " from", "to",
                              page.name(contours.back().y) + " from", "to"});
    for (const Contour& contour : contours) {
      if (contour.points.empty()) continue;
      const auto range = [&contour](double ContourPoint::*axis) {
        const auto [low, high] = std::minmax_element(
            contour.points.begin(), contour.points.end(),
            [axis](const ContourPoint& a, const ContourPoint& b) { return a.*axis < b.*axis; });
        return std::array{brief((*low).*axis, 4), brief((*high).*axis, 4)};
      };
      const auto x = range(&ContourPoint::x), y = range(&ContourPoint::y);
      table.row({cli::percent(contour.level) + (contour.converged ? "" : ", not converged"), x[0],
                 x[1], y[0], y[1]},
                contour.converged ? "" : "mark");
    }
    text += table.str();
  }
  if (text.empty()) return "";
  text += html_element("p",
                       "Regions of both parameters together, from the likelihood minimised over "
                       "all others; the table has their extent.",
                       "note");
  return html_section(
      "contour", fmt::format("Regions of {} and {}", page.name(*page.spec().poi), names), text);
}

std::string limit_section(const Page& page) {
  if (!page.report.limit) return "";
  const UpperLimit& limit = *page.report.limit;
  const std::string& poi = page.name(*page.spec().poi);
  std::string text;
  if (!limit.converged) {
    text += html_element("p", "No limit: " + limit.message, "bad");
  } else {
    text += page.pictures.figure(
        "limit", [&] { return picture(cls_plot(poi, page.report.tests, limit), page.style.plot); });
    HtmlTable table("lr", {"95 % CL upper limit on " + poi, ""});
    table.row({"observed", brief(limit.observed)});
    for (std::size_t i = 0; i < limit.expected.size(); ++i) {
      const int sigma = static_cast<int>(i) - 2;
      table.row({sigma == 0 ? "expected (median)" : fmt::format("expected, {:+d} σ", sigma),
                 brief(limit.expected[i])});
    }
    text += table.str();
  }
  if (page.report.discovery && page.report.discovery->converged) {
    const DiscoveryTest& test = *page.report.discovery;
    HtmlTable table("lrr", {"Background only against " + poi + " > 0", "p0", "Significance"});
    table.row({"observed", probability(test.p0, test.log_p0), fmt::format("{:.3f} σ", test.z)});
    table.row({"expected for " + poi + " = 1", probability(test.p0_expected, test.log_p0_expected),
               fmt::format("{:.3f} σ", test.z_expected)});
    text += table.str();
  }
  text += html_element("p", "Asymptotic formulae, CLs.", "note");
  return html_section("limit", "Upper limit and significance", text);
}

std::string breakdown_section(const Page& page) {
  if (!page.report.breakdown) return "";
  const UncertaintyBreakdown& parts = *page.report.breakdown;
  if (page.report.fit.result.at_bound[*page.spec().poi]) return "";
  if (!parts.valid) {
    return html_section("breakdown", "Breakdown of the uncertainty",
                        html_element("p", parts.message, "bad"));
  }
  const int decimals = decimals_for(parts.total) + 1;
  HtmlTable table("lrr", {"Group", "Contribution", "Of the total"});
  for (const GroupContribution& group : parts.groups) {
    table.row({group.name, fixed_point(group.contribution, decimals),
               percent(group.contribution, parts.total)});
  }
  table.row({"systematic", fixed_point(parts.systematic, decimals),
             percent(parts.systematic, parts.total)},
            "sum");
  table.row({"statistical", fixed_point(parts.statistical, decimals),
             percent(parts.statistical, parts.total)});
  table.row({"total", fixed_point(parts.total, decimals), "100.0 %"}, "sum");
  const std::string note = html_element(
      "p",
      "Contribution: the square root of total² − (uncertainty with the group held at its best "
      "fit)². Contributions of correlated groups do not add up in quadrature. Statistical: with "
      "all "
      "constrained parameters held; systematic: the rest.",
      "note");
  return html_section("breakdown", "Breakdown of the uncertainty of " + page.name(*page.spec().poi),
                      table.str() + note);
}

std::string provenance_section(const Provenance& provenance, const std::string& no_pictures) {
  std::vector<std::vector<std::string>> rows{{"Made by", fmt::format("slalom {}", version())},
                                             {"Workspace", provenance.file},
                                             {"SHA-256, as pyhf computes it", provenance.digest},
                                             {"Command", provenance.command}};
  if (!provenance.date.empty()) rows.push_back({"Date", provenance.date});
  if (!no_pictures.empty()) rows.push_back({"Pictures", "none: " + no_pictures});
  return html_section("provenance", "Provenance", key_table(rows));
}

/// Links to the sections, from their headings.
std::string navigation(const std::string& sections) {
  std::string links;
  const std::string open = "<section id=\"";
  for (std::size_t at = sections.find(open); at != std::string::npos;
       at = sections.find(open, at + 1)) {
    const std::size_t begin = at + open.size();
    const std::string id = sections.substr(begin, sections.find('"', begin) - begin);
    const std::size_t title = sections.find("<h2>", at) + 4;
    links += fmt::format("<a href=\"#{}\">{}</a>\n", id,
                         sections.substr(title, sections.find("</h2>", title) - title));
  }
  return "<nav>\n" + links + "</nav>\n";
}

}  // namespace

std::string Pictures::figure(const std::string& name, const std::function<Picture()>& make,
                             const std::string& caption) {
  if (!failure_.empty()) return "";
  try {
    const Picture picture = make();
    const std::string svg = inline_svg(picture, fmt::format("p{}_", ++count_));
    if (!folder_.empty()) draw(picture, folder_ / (name + ".svg"));
    const std::string text = caption.empty() ? "" : html_element("figcaption", caption);
    return "<figure>\n" + svg + text + "</figure>\n";
  } catch (const Error& error) {
    failure_ = error.message();
    return "";
  }
}

std::string key_table(const std::vector<std::vector<std::string>>& rows) {
  if (rows.empty()) return "";
  HtmlTable table("ll");
  for (const auto& row : rows) table.row(row);
  std::string text = table.str();
  return text.replace(0, 7, "<table class=\"key\">");
}

std::string warnings_list(const Warnings& warnings) {
  if (warnings.empty()) return "";
  constexpr std::size_t k_most = 50;
  std::string items;
  for (std::size_t i = 0; i < std::min(warnings.size(), k_most); ++i) {
    const std::string place = warnings[i].where.empty() ? "" : warnings[i].where + ": ";
    items += html_element("li", place + warnings[i].message);
  }
  if (warnings.size() > k_most) {
    items += html_element("li", fmt::format("and {} more", warnings.size() - k_most));
  }
  return "<ul class=\"warnings\">\n" + items + "</ul>\n";
}

std::string html_page(const std::string& title, const std::string& head,
                      const std::string& sections) {
  return "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n"
         "<meta charset=\"utf-8\"/>\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n" +
         html_element("title", title) + "<style>" + k_css +
         "</style>\n</head>\n<body>\n<header>\n" + head + navigation(sections) +
         "</header>\n<main>\n" + sections + "</main>\n</body>\n</html>\n";
}

std::string fit_sections(const Report& report, const ReportOptions& options,
                         const ReportStyle& style, Pictures& pictures, const std::string& title) {
  const Page page{report, options, style, pictures};
  return result_section(page, title) + fit_section(page) + distributions_section(page) +
         parameters_section(page) + pulls_section(page) + ranking_section(page) +
         breakdown_section(page) + scan_section(page) + limit_section(page);
}

namespace {

// ---- mixtures of simulations

std::string mixture_text(const MixtureFitReport& mixture) {
  HtmlTable table("lrl", {mixture.name, "Weight", "Error"});
  for (const FittedWeight& w : mixture.weights) {
    const int decimals = w.error > 0.0 ? decimals_for(w.error) : 3;
    table.row({w.simulation, typeset(fixed_point(w.value, decimals)),
               w.error > 0.0 ? "± " + fixed_point(w.error, decimals) : ""});
  }
  std::vector<std::vector<std::string>> rows{
      {"Pulls", fmt::format("χ² = {} for {} of freedom, p = {}", brief(mixture.chi2, 3),
                            count(mixture.degrees, "degree"), brief(mixture.p_value, 3))},
      {"Narrowest combination",
       brief(mixture.narrowest, 2) + " of the prior" +
           (mixture.channel.empty() ? ""
                                    : fmt::format(", {:.0f} % of it from {}",
                                                  100.0 * mixture.channel_part, mixture.channel))}};
  if (!mixture.complete) {
    rows.push_back({"Weights", "the smallest of many: directions are left out"});
  }
  return table.str() + key_table(rows);
}

std::string mixtures_section(const Page& page) {
  std::string text;
  for (const MixtureFitReport& mixture : page.report.fit.mixtures) text += mixture_text(mixture);
  return html_section("simulations", "Mixtures of simulations", text);
}

}  // namespace

ReportPage write_report(const Report& report, const ReportOptions& options,
                        const ReportStyle& style, const Provenance& provenance) {
  Pictures pictures;
  const Page page{report, options, style, pictures};
  std::string sections =
      result_section(page, "Result") + warnings_section(report.warnings) + fit_section(page) +
      goodness_section(page) + model_section(page) + distributions_section(page) +
      yields_section(page) + parameters_section(page) + mixtures_section(page) +
      pulls_section(page) + ranking_section(page) + breakdown_section(page) +
      correlation_section(page) + scan_section(page) + contour_section(page) + limit_section(page);
  sections += provenance_section(provenance, pictures.failure());
  const std::string title = provenance.file + ", " + report.loaded().measurement;
  std::string head = html_element("h1", report.loaded().measurement) +
                     html_element("p", provenance.file, "source");
  if (!pictures.failure().empty()) {
    head += html_element("p", "This report has no pictures: " + pictures.failure(), "bad");
  }
  head += status(report);
  return {html_page("slalom: " + title, head, sections), pictures.failure()};
}

}  // namespace slalom::cli
