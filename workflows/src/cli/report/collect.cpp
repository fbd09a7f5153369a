// SPDX-License-Identifier: Apache-2.0
/// \file
/// What a report is made of.
#include <algorithm>
#include <fmt/format.h>

#include "cli/levels.hpp"
#include "cli/parameter_groups.hpp"
#include "cli/report/report.hpp"
#include "cli/scan_points.hpp"

namespace slalom::cli {

namespace {

/// Beyond this many parameters that float, impacts are taken from the exact derivatives alone:
/// four fits for each would take minutes.
constexpr std::size_t k_most_refits = 400;
/// Points of the profile, also for models of so many parameters, and how far it reaches.
constexpr long k_scan_points = 41;
constexpr long k_few_scan_points = 21;
constexpr double k_scan_reach = 2.5;

void warn(Report& report, const std::string& message, const std::string& where) {
  report.warnings.push_back({message, where});
}

void failed(Report& report, const std::string& message, const std::string& where) {
  report.converged = false;
  warn(report, message, where);
}

/// What core calls while it works on one piece.
std::function<bool(std::size_t, std::size_t)> progress_of(const ReportOptions& options,
                                                          const char* what) {
  if (!options.progress) return {};
  return [&options, what](std::size_t done, std::size_t total) {
    return options.progress(what, done, total);
  };
}

void collect_fit(Report& report, Fitter& fitter) {
  FitReport& fit = report.fit;
  fit.result = fitter.fit();
  const std::size_t n = report.spec().parameters.size();
  if (!fit.result.converged()) {
    failed(report, "the fit did not converge: " + fit.result.message, "fit");
  } else {
    fit.covariance = fitter.covariance(fit.result);
    if (!fit.covariance.valid) {
      failed(report, "the Hessian is not positive definite: there are no uncertainties", "fit");
    }
  }
  fit.covariance.errors.resize(n, 0.0);
  fit.pulls.resize(n);
  report.pulls =
      pulls(report.loaded().model, fit.result, fit.covariance.errors, {}, report.loaded().data);
  for (const Pull& pull : report.pulls) {
    const bool free = report.spec().parameters[pull.parameter].constraint == ConstraintType::none;
    if (!free) fit.pulls[pull.parameter] = pull;
  }
  fit.mixtures = mixture_report(fit.loaded.mixtures, fit.loaded.model, fit.loaded.data, fit.result,
                                fit.covariance, &report.warnings);
}

/// The profile-likelihood interval of the POI.
void collect_interval(Report& report, Fitter& fitter, std::size_t poi) {
  const Interval interval = minos(fitter, report.fit.result, poi);
  const std::string& name = report.spec().parameters[poi].name;
  for (const IntervalSide* side : {&interval.lower, &interval.upper}) {
    if (!side->message.empty()) warn(report, "interval: " + side->message, name);
  }
  if (interval.lower.converged && interval.upper.converged) {
    report.fit.minos.emplace(poi, interval);
  } else {
    report.converged = false;
  }
}

void collect_impacts(Report& report, Fitter& fitter, std::size_t poi,
                     const ReportOptions& options) {
  const std::vector<bool>& fixed = report.fit.result.fixed;
  const auto floating = static_cast<std::size_t>(std::count(fixed.begin(), fixed.end(), false));
  report.refitted = floating <= k_most_refits;
  report.impacts =
      impacts(fitter, poi, {}, {report.refitted, options.threads, progress_of(options, "impacts")});
  for (const Impact& impact : report.impacts->impacts) {
    if (impact.converged) continue;
    failed(report, "impact: " + impact.message, report.spec().parameters[impact.parameter].name);
  }
}

void collect_breakdown(Report& report, Fitter& fitter, std::size_t poi) {
  std::vector<bool> floating = report.fit.result.fixed;
  floating.flip();
  report.breakdown = uncertainty_breakdown(fitter, report.fit.result, poi,
                                           groups_by_type(report.spec(), floating, poi));
}

void collect_scan(Report& report, Fitter& fitter, std::size_t poi) {
  const auto range = scan_range(fitter, report.fit.result, poi, k_scan_reach);
  const std::size_t n = report.spec().parameters.size();
  const long points = n <= k_most_refits ? k_scan_points : k_few_scan_points;
  report.scan = profile_scan(fitter, poi, evenly(range, points));
  const auto& fits = report.scan->fits;
  const auto bad = std::count_if(fits.begin(), fits.end(),
                                 [](const FitResult& fit) { return !fit.converged(); });
  if (bad > 0)
    failed(report, fmt::format("{} of {} fits did not converge", bad, fits.size()), "scan");
}

/// Index of the second parameter; nothing if no other parameter floats.
std::optional<std::size_t> second_parameter(const Report& report, Fitter& fitter, std::size_t poi,
                                            const std::string& name) {
  if (!name.empty()) return find_parameter(report.spec(), name, "--contour");
  const std::vector<bool>& fixed = report.fit.result.fixed;
  if (std::count(fixed.begin(), fixed.end(), false) < 2) return std::nullopt;
  return most_correlated(fitter, report.fit.result, poi);
}

void collect_contours(Report& report, Fitter& fitter, std::size_t poi,
                      const ReportOptions& options) {
  for (const std::string& name : options.contours) {
    const auto other = second_parameter(report, fitter, poi, name);
    if (!other) {
      warn(report, "there is no contour: no other parameter floats", "contour");
      continue;
    }
    std::vector<Contour>& contours = report.contours.emplace_back();
    FitResult best = report.fit.result;
    for (const double level : parse_levels({})) {
      contours.push_back(contour(fitter, best, poi, *other, level));
      best = contours.back().best;
      if (contours.back().converged) continue;
      failed(report, contours.back().message,
             fmt::format("contour of {} and {}", report.spec().parameters[poi].name,
                         report.spec().parameters[*other].name));
    }
  }
}

void collect_tests(Report& report, Fitter& fitter, std::size_t poi) {
  AsymptoticCalculator calculator(fitter);
  report.limit = calculator.upper_limit();
  if (!report.limit->converged) failed(report, report.limit->message, "limit");
  report.discovery = calculator.discovery();
  if (!report.discovery->converged) failed(report, report.discovery->message, "discovery");
  if (report.limit->converged) {
    report.tests = cls_curve(calculator, report.spec().parameters[poi], *report.limit);
  }
}

void collect_goodness(Report& report, Fitter& fitter, const ReportOptions& options) {
  const LoadedModel& loaded = report.loaded();
  report.gof = goodness_of_fit(loaded.model, loaded.data, report.fit.result);
  if (options.toys == 0) return;
  ToyOptions toys;
  toys.n_toys = options.toys;
  toys.seed = options.seed;
  toys.threads = options.threads;
  toys.progress = progress_of(options, "toys");
  report.gof_toys = goodness_of_fit_by_toys(fitter, toys);
  if (!report.gof_toys->message.empty()) warn(report, report.gof_toys->message, "toys");
}

}  // namespace

std::optional<std::size_t> Report::poi() const {
  const auto poi = spec().poi;
  return poi && !spec().parameters[*poi].fixed ? poi : std::nullopt;
}

Report collect_report(const LoadedModel& loaded, const ReportOptions& options) {
  Report report(loaded);
  Fitter fitter = make_fitter(loaded);
  collect_fit(report, fitter);
  const FitReport& fit = report.fit;
  if (options.has("yields")) {
    report.prefit =
        yields(loaded.model, loaded.spec().initial(), prefit_covariance(loaded.model), loaded.data);
    report.postfit = yields(loaded.model, fit.result.parameters, fit.covariance, loaded.data);
  }
  if (!fit.result.converged()) return report;
  if (options.has("gof")) collect_goodness(report, fitter, options);
  const auto poi = report.poi();
  if (!poi) return report;
  if (fit.covariance.valid) {
    collect_interval(report, fitter, *poi);
    if (options.has("ranking")) collect_impacts(report, fitter, *poi, options);
    if (options.has("breakdown")) collect_breakdown(report, fitter, *poi);
    if (options.has("scan")) collect_scan(report, fitter, *poi);
    collect_contours(report, fitter, *poi, options);
  }
  if (options.has("limit")) collect_tests(report, fitter, *poi);
  return report;
}

}  // namespace slalom::cli
