// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom patchset run` and `slalom patchset merge`.
#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <set>

#include "cli/command.hpp"
#include "cli/grid_plot.hpp"
#include "cli/grid_results.hpp"
#include "cli/grid_signals.hpp"
#include "cli/model_arguments.hpp"
#include "cli/text.hpp"
#include "slalom/core/patch.hpp"
#include "slalom/workflows/cli.hpp"
#include "slalom/workflows/progress.hpp"

namespace slalom::cli {

namespace {

struct RunArguments : ModelArguments {
  std::vector<std::string> signals;
  std::optional<double> mu;
  std::optional<double> level;
  std::string statistic = "qtilde";
  bool limit = false;
  bool discovery = false;
  bool cold = false;
  std::string shard;
  std::string resume;
  bool accept_failures = false;
  GridPlotArguments plot;
};

void declare_run(Command& command, RunArguments& options) {
  Arguments& arguments = command.arguments;
  arguments.positional("WORKSPACE", options.workspace,
                       "Background (pyhf JSON); - is standard input");
  arguments.positionals("SIGNALS", options.signals,
                        "Patch sets, files with one JSON Patch each, or folders of such files");
  arguments.group("Workspace");
  arguments.texts("--patch", options.patches, "FILE",
                  "JSON Patch for the background, applied before every signal; repeatable");
  arguments.flag("--no-verify", options.no_verify,
                 "Do not compare the digest of the workspace with that of the patch sets");
  arguments.flag("--strict", command.strict,
                 "Warnings are errors; those of a signal make that signal fail");
  declare_interpretation(command, options);
  declare_point(command, options);
  arguments.group("Test");
  arguments.number("--mu", options.mu, "MU", "Signal strength to test; default 1");
  arguments.choice("--test-stat", options.statistic, {"q", "qtilde"},
                   "Test statistic; they differ for best fits below zero");
  arguments.flag("--limit", options.limit, "Also upper limits on the signal strength");
  arguments.number("--level", options.level, "LEVEL", "CLs at the limit; default 0.05");
  arguments.flag("--discovery", options.discovery, "Also p0 and the significance");
  arguments.flag("--cold", options.cold,
                 "Start every fit from the suggested values, not from the background's fit");
  arguments.group("Work");
  arguments.integer("--threads", options.threads, 1, "N", "Threads; default all cores");
  arguments.text("--shard", options.shard, "I/N",
                 "Only every N-th signal, beginning with the I-th (1 to N)");
  arguments.text("--resume", options.resume, "FILE",
                 "Append every result to FILE as it comes; signals that are in it already are not "
                 "tested again, except those that failed");
  arguments.flag("--accept-failures", options.accept_failures,
                 "Exit code 0 also if signals fail or do not converge");
  declare_grid_plot(command, options.plot);
  command.declare_csv();
  arguments.example("slalom patchset run background.json patchset.json --limit -o grid.csv");
}

/// "2/4" as {1, 4}: every 4th signal, beginning with number 1.
std::pair<std::size_t, std::size_t> parse_shard(const std::string& text) {
  if (text.empty()) return {0, 1};
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos) {
    throw Error(ErrorKind::usage, fmt::format("I/N expected, e.g. 1/4, got '{}'", text), "--shard");
  }
  const long part = parse_integer(text.substr(0, slash), "--shard", 1);
  const long parts = parse_integer(text.substr(slash + 1), "--shard", 1);
  if (part > parts) {
    throw Error(ErrorKind::usage, fmt::format("there is no part {} of {}", part, parts), "--shard");
  }
  return {static_cast<std::size_t>(part) - 1, static_cast<std::size_t>(parts)};
}

Json load_background(Command& command, const RunArguments& options, const GridSignals& signals) {
  Json document = command.read_document(options.workspace);
  for (const auto& set : signals.sets()) {
    if (!options.no_verify) warn_if_other_workspace(command, set->set(), document);
  }
  for (const std::string& path : options.patches) {
    document = apply_patch(std::move(document), command.read_document(path), path + "#");
  }
  return document;
}

GridHeader make_header(const RunArguments& options, const Json& document,
                       const GridSignals& signals, const Json& parameters) {
  GridHeader header;
  header.workspace = "sha256:" + digest(document);
  header.signals = signals.digest();
  header.n_signals = signals.signals().size();
  header.labels = signals.labels();
  OrderedJson& o = header.options;
  append(o, "measurement", options.measurement);
  append(o, "poi", options.poi ? OrderedJson(*options.poi) : OrderedJson(nullptr));
  append(o, "normsys_code", options.normsys_code);
  append(o, "histosys_code", options.histosys_code);
  append(o, "parameters", OrderedJson(parameters));
  append(o, "fix", options.fixed);
  append(o, "float", options.floating);
  append(o, "mu", options.mu.value_or(1.0));
  append(o, "test_stat", options.statistic);
  append(o, "level", options.limit ? OrderedJson(options.level.value_or(0.05)) : OrderedJson());
  append(o, "discovery", options.discovery);
  return header;
}

SignalOptions signal_options(const RunArguments& options) {
  SignalOptions result;
  result.mu = options.mu.value_or(1.0);
  result.limit = options.limit;
  result.level = options.level.value_or(0.05);
  result.discovery = options.discovery;
  result.statistic = options.statistic == "q" ? TestStatistic::q : TestStatistic::qtilde;
  return result;
}

void check_options(const RunArguments& options) {
  if (options.level && !options.limit) {
    throw Error(ErrorKind::usage, "needs --limit", "--level");
  }
  if (options.level && !(*options.level > 0.0 && *options.level < 1.0)) {
    throw Error(ErrorKind::usage, "the level must lie between 0 and 1", "--level");
  }
  if (options.resume == "-") throw Error(ErrorKind::usage, "a file is needed", "--resume");
}

std::string status_of(const OrderedJson& row) { return row.at("status").get<std::string>(); }

/// Rows of the shard that the journal has, and the signals that are still to be tested.
std::vector<std::size_t> remaining(const RunArguments& options, const GridSignals& signals,
                                   const GridJournal* journal, std::vector<OrderedJson>& rows) {
  std::map<std::size_t, const OrderedJson*> known;
  if (journal != nullptr) {
    for (const OrderedJson& row : journal->rows()) {
      if (status_of(row) != "failed") known[row.at("index").get<std::size_t>()] = &row;
    }
  }
  const auto [first, step] = parse_shard(options.shard);
  std::vector<std::size_t> todo;
  for (std::size_t i = first; i < signals.signals().size(); i += step) {
    const auto found = known.find(i);
    if (found == known.end()) {
      todo.push_back(i);
    } else {
      rows.push_back(*found->second);
    }
  }
  return todo;
}

/// A warning of a signal makes it fail under --strict.
SignalResult strict_result(SignalResult result) {
  if (result.warnings.empty() || result.status == SignalStatus::failed) return result;
  SignalResult failed;
  failed.index = result.index;
  failed.message = result.warnings.front().message + " (--strict)";
  failed.where = result.warnings.front().where;
  failed.warnings = std::move(result.warnings);
  failed.seconds = result.seconds;
  return failed;
}

int answer_grid(Command& command, GridResults results, const GridPlotArguments& plot,
                bool accept_failures) {
  sort_rows(results);
  for (const Warning& warning : take_common_warnings(results)) command.note(warning);
  const bool drawn =
      try_to_draw(command, plot.plot.file, [&] { return grid_picture(results, plot); });
  if (command.wants_format("combine")) {
    command.answer_foreign(grid_combine_json(results, plot));
  } else if (command.wants_format("pyhf")) {
    command.answer_foreign(grid_pyhf_json(results));
  } else if (command.wants_csv()) {
    command.answer(grid_csv(results));
  } else if (command.wants_json()) {
    command.answer(grid_json(results));
  } else {
    command.answer(grid_text(results));
  }
  const int code = accept_failures ? exit_success : exit_code(results);
  return code == exit_success && !drawn ? exit_failure : code;
}

}  // namespace

int run_patchset_run(Command& command) {
  RunArguments arguments;
  declare_run(command, arguments);
  if (!command.parse()) return exit_success;
  check_options(arguments);
  parse_shard(arguments.shard);
  const GridSignals signals(command, arguments.signals);
  check_grid_plot(command, arguments.plot, signals.labels(), arguments.limit);
  Json document = load_background(command, arguments, signals);
  const Json parameters = read_parameters(command, arguments);
  GridResults results{make_header(arguments, document, signals, parameters), {}};
  std::unique_ptr<GridJournal> journal;
  if (!arguments.resume.empty()) {
    journal = std::make_unique<GridJournal>(arguments.resume, results.header);
  }
  const std::vector<std::size_t> todo = remaining(arguments, signals, journal.get(), results.rows);

  SignalGridOptions grid_options;
  grid_options.model = model_options(arguments);
  grid_options.warm_start = !arguments.cold;
  grid_options.adjust = [&](ModelSpec& spec) { apply_point(arguments, parameters, spec); };
  const SignalGrid grid(std::move(document), std::move(grid_options));
  command.warn_all(grid.warnings(), ErrorKind::workspace);

  const std::size_t before = results.rows.size();
  ProgressBar bar(command.progress_stream(), "signals");
  const Interruption interruption;
  const auto report = [&](const SignalResult& result) {
    const GridSignal& signal = signals.signals()[result.index];
    results.rows.push_back(
        grid_row(command.strict ? strict_result(result) : result, signal.name, signal.values));
    if (journal) journal->append(results.rows.back());
    bar.update(results.rows.size(), before + todo.size());
    return !interruption.requested();
  };
  test_signals(
      grid, todo, [&](std::size_t i) { return signals.patch(i); }, signal_options(arguments),
      static_cast<std::size_t>(arguments.threads.value_or(0)), report);
  bar.clear();
  const std::size_t missing = before + todo.size() - results.rows.size();
  if (missing > 0)
    command.note({fmt::format("interrupted; {} missing", count(missing, "signal")), ""});
  const int code =
      answer_grid(command, std::move(results), arguments.plot, arguments.accept_failures);
  return missing > 0 ? interruption.exit_code() : code;
}

namespace {

/// Adds the rows of a file. \throws Error (usage) if they belong to another grid or are there
void merge_file(Command& command, const std::string& path, GridResults& all,
                std::map<std::size_t, std::string>& file_of, bool is_first) {
  GridResults part = read_grid_results(command.read(path), path);
  if (is_first) all.header = part.header;
  const std::string other = difference(all.header, part.header);
  if (!other.empty()) {
    throw Error(ErrorKind::usage, "the results do not belong to those of the first file: " + other,
                path);
  }
  for (OrderedJson& row : part.rows) {
    const auto [first, is_new] = file_of.emplace(row.at("index").get<std::size_t>(), path);
    if (!is_new) {
      throw Error(ErrorKind::usage,
                  fmt::format("signal '{}' is also in {}", row.at("name").get<std::string>(),
                              first->second),
                  path);
    }
    all.rows.push_back(std::move(row));
  }
}

std::size_t first_missing(const std::map<std::size_t, std::string>& file_of) {
  std::size_t expected = 0;
  for (const auto& [index, path] : file_of) {
    if (index != expected) break;
    ++expected;
  }
  return expected;
}

}  // namespace

int run_patchset_merge(Command& command) {
  std::vector<std::string> paths;
  bool partial = false;
  bool accept_failures = false;
  command.arguments.positionals("RESULTS", paths,
                                "Results of `slalom patchset run`: JSON documents or the files of "
                                "--resume");
  command.arguments.group("Merge");
  command.arguments.flag("--partial", partial, "Signals may be missing");
  command.arguments.flag("--accept-failures", accept_failures,
                         "Exit code 0 also if signals failed or did not converge");
  GridPlotArguments plot;
  declare_grid_plot(command, plot);
  command.declare_csv();
  command.arguments.example("slalom patchset merge part1.json part2.json -o grid.json");
  if (!command.parse()) return exit_success;
  GridResults all;
  std::map<std::size_t, std::string> file_of;
  for (const std::string& path : paths) {
    merge_file(command, path, all, file_of, &path == &paths.front());
  }
  const std::size_t missing = all.header.n_signals - all.rows.size();
  if (missing > 0) {
    const std::string message =
        fmt::format("{} of {} missing, the first is number {}", missing,
                    count(all.header.n_signals, "signal"), first_missing(file_of) + 1);
    if (!partial) throw Error(ErrorKind::usage, message + "; --partial merges what there is");
    command.note({message, ""});
  }
  check_grid_plot(command, plot, all.header.labels, has_limits(all));
  return answer_grid(command, std::move(all), plot, accept_failures);
}

}  // namespace slalom::cli
