// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom mix`.
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/model_arguments.hpp"
#include "cli/result.hpp"
#include "cli/text.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

OrderedJson report_json(const std::vector<SampleMixture>& mixtures) {
  OrderedJson array = OrderedJson::array();
  for (const SampleMixture& m : mixtures) {
    OrderedJson object, directions = OrderedJson::array();
    append(object, "name", m.name);
    append(object, "simulations", m.simulations);
    append(object, "base", number_array(m.base, m.name));
    for (const MixtureDirection& d : m.directions) {
      OrderedJson direction;
      append(direction, "parameter", d.parameter);
      append(direction, "share", finite(d.share, d.parameter));
      append(direction, "weights", number_array(d.weights, d.parameter));
      directions.push_back(std::move(direction));
    }
    append(object, "directions", std::move(directions));
    append(object, "weights_unique", m.complete);
    array.push_back(std::move(object));
  }
  OrderedJson document;
  append(document, "mixtures", std::move(array));
  return document;
}

std::string report_text(const std::vector<SampleMixture>& mixtures) {
  std::string text;
  for (const SampleMixture& m : mixtures) {
    std::vector<std::string> head{shorten(m.name, 30), "centre"};
    std::vector<std::string> shares{"part of the variance", ""};
    for (const MixtureDirection& d : m.directions) {
      head.push_back(shorten(d.parameter, 30));
      shares.push_back(fmt::format("{:.1f} %", 100.0 * d.share));
    }
    Table table("l" + std::string(head.size() - 1, 'r'));
    table.row(std::move(head));
    for (std::size_t k = 0; k < m.simulations.size(); ++k) {
      std::vector<std::string> row{shorten(m.simulations[k], 30), fmt::format("{:.3f}", m.base[k])};
      for (const MixtureDirection& d : m.directions) {
        row.push_back(fmt::format("{:+.3f}", d.weights[k]));
      }
      table.row(std::move(row));
    }
    table.row(std::move(shares));
    text += (text.empty() ? "" : "\n") + table.str();
  }
  return text;
}

}  // namespace

int run_mix(Command& command) {
  WorkspaceArguments options;
  std::string alternatives, report;
  declare_document(command, options);
  Arguments& arguments = command.arguments;
  arguments.positional("ALTERNATIVES", alternatives,
                       "Document of alternative simulations (docs/alternatives.md)");
  arguments.flag("--strict", command.strict, "Warnings are errors");
  arguments.text("--report", report, "FILE",
                 "Weights of the simulations in every direction, to a file (JSON if it ends in "
                 ".json); to standard output if the workspace goes to a file");
  arguments.example("slalom mix workspace.json alternatives.json -o mixed.json");
  if (!command.parse()) return exit_success;
  std::vector<SampleMixture> mixtures;
  const Json result =
      mix_alternatives(command, load_document(command, options), alternatives, &mixtures);
  command.answer_document(result);
  if (report.empty() && (command.output.empty() || command.output == "-")) return exit_success;
  command.output = report;
  if (report.empty() ? command.json : report.ends_with(".json")) {
    command.answer(report_json(mixtures));
  } else {
    command.answer(report_text(mixtures));
  }
  return exit_success;
}

}  // namespace slalom::cli
