// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom prune`.
#include <array>
#include <cmath>
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/model_arguments.hpp"
#include "cli/result.hpp"
#include "cli/text.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/pruning.hpp"
#include "slalom/core/workspace_operations.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

struct PruneArguments : WorkspaceArguments {
  Selection selection;
  PruningThresholds thresholds;
  std::string report;
  bool refit = false;

  bool has_small() const { return thresholds.normalisation || thresholds.shape; }
};

void declare_prune(Command& command, PruneArguments& options) {
  declare_document(command, options);
  Arguments& arguments = command.arguments;
  arguments.group("Remove");
  arguments.texts("-c,--channel", options.selection.channels, "NAME", "A channel; repeatable");
  arguments.texts("-s,--sample", options.selection.samples, "NAME",
                  "A sample, in every channel; repeatable");
  arguments.texts("-m,--modifier", options.selection.modifiers, "NAME", "A modifier; repeatable");
  arguments.choices(
      "-t,--modifier-type", options.selection.modifier_types,
      {"histosys", "lumi", "normfactor", "normsys", "shapefactor", "shapesys", "staterror"},
      "All modifiers of a type; repeatable");
  arguments.texts("--measurement", options.selection.measurements, "NAME",
                  "A measurement; repeatable");
  arguments.group("Remove small variations");
  arguments.number("--below-norm", options.thresholds.normalisation, "X",
                   "Normalisation effects below X (0.005 is half a percent), sample by sample");
  arguments.number("--below-shape", options.thresholds.shape, "Y",
                   "Shape effects below Y in every bin, normalisation taken out");
  arguments.flag("--refit", options.refit,
                 "Fit before and after, and report what changed (first measurement)");
  arguments.text("--report", options.report, "FILE",
                 "Write the report of --below-norm, --below-shape and --refit to FILE (JSON if it "
                 "ends in .json); default is standard output if -o is given");
}

struct Refit {
  ResultSummary before;
  ResultSummary after;
};

/// The model of the first measurement; without its POI where only a patch would bring it.
ResultSummary summary_of(const Json& document) {
  const Workspace workspace = parse_workspace(document);
  ModelOptions options;
  try {
    return summarise_result(Model(make_model_spec(workspace, options)));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::model || !error.where().ends_with("/config/poi")) throw;
    options.poi = "";
    return summarise_result(Model(make_model_spec(workspace, options)));
  }
}

/// One number before and after.
struct Compared {
  const char* key;
  const char* title;
  double ResultSummary::*member;
  bool needs_poi;
};

const std::array<Compared, 7>& compared() {
  static const std::array<Compared, 7> list{
      {{"twice_nll", "-2 log L without constants", &ResultSummary::twice_nll, false},
       {"best_fit", "best fit", &ResultSummary::best_fit, true},
       {"error", "uncertainty", &ResultSummary::error, true},
       {"limit", "upper limit, observed", &ResultSummary::limit, true},
       {"expected_limit", "upper limit, expected", &ResultSummary::expected_limit, true},
       {"significance", "significance, observed", &ResultSummary::significance, true},
       {"expected_significance", "significance, expected", &ResultSummary::expected_significance,
        true}}};
  return list;
}

OrderedJson summary_json(const ResultSummary& summary) {
  OrderedJson result;
  append(result, "n_parameters", summary.n_parameters);
  for (const Compared& c : compared()) {
    if (c.needs_poi && !summary.has_poi) continue;
    append(result, c.key, finite(summary.*c.member, c.key));
  }
  append(result, "converged", summary.converged);
  return result;
}

OrderedJson report_json(const PruningReport& report, const std::optional<Refit>& refit) {
  OrderedJson result, pruned = OrderedJson::array();
  for (const PrunedVariation& p : report.pruned) {
    pruned.push_back({{"channel", p.channel},
                      {"sample", p.sample},
                      {"modifier", p.modifier},
                      {"type", p.type},
                      {"part", to_string(p.part)},
                      {"normalisation", finite(p.normalisation, "normalisation")},
                      {"shape", finite(p.shape, "shape")}});
  }
  append(result, "pruned", std::move(pruned));
  append(result, "parameters", report.parameters);
  append(result, "n_variations", report.n_variations);
  if (!refit) return result;
  OrderedJson both;
  append(both, "before", summary_json(refit->before));
  append(both, "after", summary_json(refit->after));
  append(result, "refit", std::move(both));
  return result;
}

std::string report_text(const PruningReport& report, const std::optional<Refit>& refit) {
  std::string text;
  if (!report.pruned.empty()) {
    Table table("lllllrr");
    table.row({"channel", "sample", "modifier", "type", "removed", "norm", "shape"});
    const auto percent = [](double effect) { return fmt::format("{:.3f} %", 100.0 * effect); };
    for (const PrunedVariation& p : report.pruned) {
      table.row({shorten(p.channel, 20), shorten(p.sample, 20), shorten(p.modifier, 30), p.type,
                 to_string(p.part), percent(p.normalisation),
                 p.type == "normsys" ? "" : percent(p.shape)});
    }
    text += table.str() + "\n";
  }
  if (report.n_variations > 0) {
    text +=
        fmt::format("  {} of {}", report.pruned.size(), count(report.n_variations, "variation"));
    text += " removed or reduced";
    if (!report.parameters.empty()) {
      text += fmt::format("; gone: {}", listing(report.parameters, 20));
    }
    text += "\n";
  }
  if (!refit) return text;
  Table table("lrrr");
  table.row({"", "before", "after", "change"});
  table.row({"parameters", fmt::format("{}", refit->before.n_parameters),
             fmt::format("{}", refit->after.n_parameters), ""});
  for (const Compared& c : compared()) {
    if (c.needs_poi && !(refit->before.has_poi && refit->after.has_poi)) continue;
    const double before = refit->before.*c.member, after = refit->after.*c.member;
    table.row({c.title, brief(before), brief(after), fmt::format("{:+.3g}", after - before)});
  }
  return text + (text.empty() ? "" : "\n") + table.str();
}

/// Prints the report where it belongs, if anywhere.
void answer_report(Command& command, const PruneArguments& arguments, const PruningReport& report,
                   const std::optional<Refit>& refit) {
  const bool to_file = !arguments.report.empty();
  if (!to_file && (command.output.empty() || command.output == "-")) return;
  command.output = arguments.report;
  if (to_file ? arguments.report.ends_with(".json") : command.json) {
    command.answer(report_json(report, refit));
  } else {
    command.answer(report_text(report, refit));
  }
}

}  // namespace

int run_prune(Command& command) {
  PruneArguments arguments;
  declare_prune(command, arguments);
  command.arguments.example(
      "slalom prune workspace.json --channel control --modifier-type staterror");
  command.arguments.example(
      "slalom prune workspace.json --below-norm 0.005 --below-shape 0.01 --refit -o pruned.json");
  if (!command.parse()) return exit_success;
  if (!arguments.report.empty() && !arguments.has_small() && !arguments.refit) {
    throw Error(ErrorKind::usage, "needs --below-norm, --below-shape or --refit", "--report");
  }
  const Json document = load_document(command, arguments);
  Json result = prune(document, arguments.selection);
  PruningReport report;
  if (arguments.has_small()) result = prune_small(result, arguments.thresholds, &report);
  std::optional<Refit> refit;
  if (arguments.refit) {
    refit = Refit{summary_of(document), summary_of(result)};
    for (const ResultSummary* s : {&refit->before, &refit->after}) {
      if (!s->converged) command.note({s->message, s == &refit->before ? "before" : "after"});
    }
  }
  command.answer_document(result);
  if (arguments.has_small() || refit) answer_report(command, arguments, report, refit);
  const bool converged = !refit || (refit->before.converged && refit->after.converged);
  return converged ? exit_success : exit_not_converged;
}

}  // namespace slalom::cli
