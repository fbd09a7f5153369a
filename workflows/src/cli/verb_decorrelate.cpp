// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom decorrelate`.
#include <fmt/format.h>
#include <sstream>

#include "cli/command.hpp"
#include "cli/model_arguments.hpp"
#include "slalom/core/decorrelation.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

/// "0-3,4,5-7" as first and last bins. \throws Error (usage)
std::vector<std::pair<std::size_t, std::size_t>> parse_ranges(const std::string& text) {
  std::vector<std::pair<std::size_t, std::size_t>> ranges;
  const auto bin = [](const std::string& word) {
    return static_cast<std::size_t>(parse_integer(word, "--bins", 0));
  };
  for (const std::string& part : split_at_commas(text)) {
    const std::size_t dash = part.find('-');
    const std::size_t first = bin(part.substr(0, dash));
    ranges.emplace_back(first, dash == std::string::npos ? first : bin(part.substr(dash + 1)));
  }
  return ranges;
}

}  // namespace

int run_decorrelate(Command& command) {
  WorkspaceArguments options;
  Decorrelation how;
  std::string by = "channel", bins, names;
  std::optional<double> correlation;
  declare(command, options);
  Arguments& arguments = command.arguments;
  arguments.group("Decorrelation");
  arguments.text("-m,--modifier", how.modifier, "NAME", "The modifier whose parameter is split");
  arguments.choice("--by", by, {"channel", "sample", "bins"},
                   "What gets a parameter of its own; default channel");
  arguments.texts("-c,--channel", how.channels, "NAME",
                  "Only in this channel, the others keep the parameter; repeatable");
  arguments.texts("-s,--sample", how.samples, "NAME",
                  "Only for this sample, the others keep the parameter; repeatable");
  arguments.text("--bins", bins, "RANGES",
                 "Ranges of bins, counted from 0, e.g. 0-3,4-7; default one parameter per bin");
  arguments.text("--into", names, "A,B,...",
                 "Names of the new parameters; default NAME_<channel>, NAME_<sample> or "
                 "NAME_bins0-3");
  arguments.number("--correlation", correlation, "RHO",
                   "Correlation that remains between any two parts; default 0");
  arguments.example("slalom decorrelate workspace.json --modifier jes --by channel");
  if (!command.parse()) return exit_success;
  if (how.modifier.empty()) throw Error(ErrorKind::usage, "is required", "--modifier");
  how.by = parse_decorrelate_by(by);
  if (!bins.empty() && how.by != DecorrelateBy::bins) {
    throw Error(ErrorKind::usage, "needs --by bins", "--bins");
  }
  how.bins = parse_ranges(bins);
  how.names = split_at_commas(names);
  how.correlation = correlation.value_or(0.0);
  Warnings warnings;
  const Json result = decorrelate(load_document(command, options), how, &warnings);
  command.warn_all(warnings, ErrorKind::workspace);
  command.answer_document(result);
  return exit_success;
}

}  // namespace slalom::cli
