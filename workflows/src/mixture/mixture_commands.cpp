// SPDX-License-Identifier: Apache-2.0
#include "mixture/mixture_commands.hpp"

#include <fmt/format.h>

#include "cli/text.hpp"
#include "experiment/stage_commands.hpp"
#include "mixture/mixture_data.hpp"
#include "mixture/mixture_report.hpp"
#include "slalom/workflows/mixture_experiment.hpp"

namespace slalom::mixture {

int run_into(cli::Command& command, const MixtureExperimentOptions& options,
             const std::string& directory) {
  return experiment::run_stages_command(
      command, options.name, directory,
      [&](const experiment::StageHook& hook) {
        return run_mixture_in_directory(options, directory, {hook});
      },
      [&] { return write_mixture_report(directory); }, result_text);
}

int check(cli::Command& command, const MixtureExperimentOptions& options) {
  const Simulations simulations = read_simulations(options);
  if (command.wants_json()) {
    command.answer(nlohmann::ordered_json{
        {"valid", true}, {"simulations", simulations.count}, {"bins", simulations.points()}});
  } else {
    command.answer(fmt::format("valid: {} of each process, {}\n",
                               cli::count(simulations.count, "simulation"),
                               cli::count(simulations.points(), "bin")));
  }
  return exit_success;
}

}  // namespace slalom::mixture
