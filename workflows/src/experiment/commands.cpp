// SPDX-License-Identifier: Apache-2.0
#include "experiment/commands.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <optional>

#include "cli/experiment_verbs.hpp"
#include "cli/result.hpp"
#include "cli/text.hpp"
#include "experiment/bootstrap.hpp"
#include "experiment/report.hpp"
#include "experiment/study_commands.hpp"
#include "mixture/mixture_commands.hpp"
#include "resonance/resonance_commands.hpp"
#include "slalom/workflows/cli.hpp"
#include "slalom/workflows/experiment.hpp"
#include "slalom/workflows/mixture_experiment.hpp"
#include "slalom/workflows/progress.hpp"
#include "slalom/workflows/resonance.hpp"
#include "slalom/workflows/study.hpp"

namespace slalom::experiment {

namespace {

namespace fs = std::filesystem;
using cli::Command;

/// A document with its values replaced.
Json load(Command& command, const cli::RunArguments& arguments) {
  Json document =
      parse_commented_json(command.read(arguments.document),
                           arguments.document == "-" ? std::string("<stdin>") : arguments.document);
  for (const std::string& assignment : arguments.set) set_value(document, assignment);
  return document;
}

/// The folder that its paths are relative to.
std::string base_of(const std::string& document) {
  return document == "-" ? std::string() : fs::path(document).parent_path().string();
}

std::string directory_of(const std::string& document, const std::string& given) {
  if (!given.empty()) return given;
  return document == "-" ? std::string("experiment") : fs::path(document).stem().string();
}

std::string or_dash(const std::optional<double>& value) {
  return value ? cli::brief(*value, 4) : std::string("-");
}

void figures_row(cli::Table& table, const std::string& name, const HardFigures& figures,
                 double yield) {
  table.row({name, cli::brief(figures.sigma.front(), 4), cli::brief(figures.stat.front(), 4),
             cli::brief(figures.sigma.front() * yield, 4), or_dash(figures.log_cls),
             or_dash(figures.z)});
}

std::string result_text(const ExperimentOptions& options, const ExperimentResult& result,
                        const std::string& directory) {
  std::string text =
      fmt::format("  {}: {} of {}{}\n\n", options.name,
                  cli::count(static_cast<std::size_t>(result.steps), "step"),
                  options.training.steps, result.stopped_early ? ", stopped early" : "");
  cli::Table table("lrrrrr");
  table.row({"hard bins", fmt::format("sigma({})", cli::brief(result.mu.front())), "stat.",
             "x signal", "ln CLs", "Z"});
  figures_row(table, "test, before training", result.before, result.signal_yield);
  figures_row(table, "test", result.test, result.signal_yield);
  figures_row(table, "training events", result.train, result.signal_yield);
  figures_row(table, "test, soft bins", result.soft, result.signal_yield);
  text += table.str();
  if (!result.bootstrap_sigma.empty()) {
    const Spread spread = spread_of(result.bootstrap_sigma);
    text += fmt::format("\n  {} of the test events: sigma({}) +- {}, 95 % in [{}, {}]\n",
                        cli::count(spread.n, "bootstrap"), cli::brief(result.mu.front()),
                        cli::brief(spread.error, 2), cli::brief(spread.low, 4),
                        cli::brief(spread.high, 4));
  }
  if (!result.nuisances.empty()) {
    cli::Table nuisances("lrrr");
    nuisances.row({"nuisance parameter", "constraint", "impact", "one-sided"});
    for (const NuisanceResult& nuisance : result.nuisances) {
      nuisances.row({nuisance.name, cli::brief(nuisance.constraint, 3),
                     cli::brief(nuisance.impact, 3), cli::brief(nuisance.one_sided, 3)});
    }
    text += "\n" + nuisances.str();
  }
  if (!result.yields.empty() && result.yields.front().size() <= 12) {
    cli::Table yields("l" + std::string(result.yields.front().size(), 'r'));
    for (std::size_t k = 0; k < result.samples.size(); ++k) {
      std::vector<std::string> row{result.samples[k]};
      for (const double value : result.yields[k]) row.push_back(cli::brief(value, 4));
      yields.row(row);
    }
    text += "\n  yields\n" + yields.str();
  }
  if (result.mu_hat) {
    text += fmt::format("\n  fit of workspace.json: mu = {} +- {}", cli::brief(*result.mu_hat, 4),
                        cli::brief(result.mu_error.value_or(NAN), 3));
    if (result.minos_low && result.minos_high) {
      text += fmt::format(" [{}, {}]", cli::brief(*result.minos_low, 4),
                          cli::brief(*result.minos_high, 4));
    }
    text += "\n";
  }
  return text + fmt::format("\n  results in {}\n", directory);
}

/// A page that cannot be written is no reason to lose a result.
void write_page(Command& command, const std::string& directory) {
  try {
    const std::string no_pictures = write_experiment_report(directory);
    if (!no_pictures.empty()) command.note({"there are no pictures: " + no_pictures, "report"});
  } catch (const Error& error) {
    command.note({error.what(), "report"});
  }
}

int run_into(Command& command, const ExperimentOptions& options, const std::string& directory) {
  ProgressBar bar(command.progress_stream(), options.name);
  const Interruption interruption;
  RunHooks hooks;
  std::string shown;
  hooks.progress = [&](const Metrics& now, std::int64_t steps) {
    if (now.sigma) {
      const std::string title = fmt::format("sigma {:.4g}", *now.sigma);
      if (title != shown) bar.stage(shown = title);
    }
    bar.update(static_cast<std::size_t>(now.step), static_cast<std::size_t>(steps));
    return !interruption.requested();
  };
  const std::optional<ExperimentResult> result = run_in_directory(options, directory, hooks);
  bar.clear();
  if (!result) {
    command.note({fmt::format("stopped; `slalom resume {}` goes on", directory), directory});
    return interruption.exit_code();
  }
  for (const Warning& warning : result->warnings) command.note(warning);
  write_page(command, directory);
  if (command.wants_json()) {
    nlohmann::ordered_json document = result_document(options, *result);
    document.erase("warnings");
    command.answer(std::move(document));
  } else {
    command.answer(result_text(options, *result, directory));
  }
  return exit_success;
}

int run_resonance(Command& command, const cli::RunArguments& arguments, const Json& document) {
  const ResonanceOptions options = read_resonance(document, base_of(arguments.document));
  if (arguments.resolved) {
    command.answer(resonance_document(options));
    return exit_success;
  }
  if (arguments.check) return resonance::check(command, options);
  return resonance::run_into(command, options,
                             directory_of(arguments.document, arguments.directory));
}

int run_mixture(Command& command, const cli::RunArguments& arguments, const Json& document) {
  const MixtureExperimentOptions options = read_mixture(document, base_of(arguments.document));
  if (arguments.resolved) {
    command.answer(mixture_document(options));
    return exit_success;
  }
  if (arguments.check) return mixture::check(command, options);
  return mixture::run_into(command, options, directory_of(arguments.document, arguments.directory));
}

int run(Command& command, const cli::RunArguments& arguments) {
  const Json document = load(command, arguments);
  if (arguments.check && is_study_document(document)) {
    return check_study(command, arguments.document);
  }
  if (is_resonance_document(document)) return run_resonance(command, arguments, document);
  if (is_mixture_document(document)) return run_mixture(command, arguments, document);
  const ExperimentOptions options = read_experiment(document, base_of(arguments.document));
  if (arguments.resolved) {
    command.answer(experiment_document(options));
    return exit_success;
  }
  if (arguments.check) {
    const Experiment experiment(options);
    const ExperimentData& data = experiment.data();
    if (command.wants_json()) {
      command.answer(nlohmann::ordered_json{{"valid", true}, {"events", data.train.size()}});
    } else {
      command.answer(fmt::format("valid: {} to train with, {} to test, {}\n", data.train.size(),
                                 data.test.size(),
                                 cli::count(data.train.columns.size(), "column")));
    }
    return exit_success;
  }
  return run_into(command, options, directory_of(arguments.document, arguments.directory));
}

int resume(Command& command, const cli::ResumeArguments& arguments) {
  if (is_study(arguments.directory)) return resume_study(command, arguments);
  if (is_resonance(arguments.directory)) {
    return resonance::run_into(command, resonance_of(arguments.directory), arguments.directory);
  }
  if (is_mixture(arguments.directory)) {
    return mixture::run_into(command, mixture_of(arguments.directory), arguments.directory);
  }
  return run_into(command, experiment_of(arguments.directory), arguments.directory);
}

int schema(Command& command, const std::string& kind) {
  const auto document = kind == "study"       ? study_schema()
                        : kind == "resonance" ? resonance_schema()
                        : kind == "mixture"   ? mixture_schema()
                                              : experiment_schema();
  command.answer_document(Json::parse(document.dump()));
  return exit_success;
}

}  // namespace

void install_verbs() {
  cli::ExperimentVerbs& verbs = cli::experiment_verbs();
  verbs.run = run;
  verbs.resume = resume;
  verbs.study = study;
  verbs.report = report;
  verbs.schema = schema;
}

}  // namespace slalom::experiment
