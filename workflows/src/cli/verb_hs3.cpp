// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom hs3 export` and `hs3 import`: workspaces from and to the HEP Statistics Serialization
/// Standard.
#include "cli/command.hpp"
#include "cli/model_arguments.hpp"
#include "slalom/core/hs3.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

/// The conventions as words.
struct Conventions {
  std::string shapesys = "relative";
  std::string histosys = "yields";
};

void declare_conventions(Arguments& arguments, Conventions& words) {
  arguments.group("Conventions");
  arguments.choice("--shapesys-vals", words.shapesys, {"relative", "absolute"},
                   "Uncertainties of shapesys: relative (ROOT, default) or in events (pyhs3)");
  arguments.choice("--histosys-contents", words.histosys, {"yields", "differences"},
                   "Variations of histosys: yields (default) or differences from nominal");
}

Hs3Options options_of(const Conventions& words, const std::string& analysis) {
  Hs3Options options;
  options.shapesys =
      words.shapesys == "absolute" ? Hs3Uncertainty::absolute : Hs3Uncertainty::relative;
  options.histosys =
      words.histosys == "differences" ? Hs3Variation::differences : Hs3Variation::yields;
  options.analysis = analysis;
  return options;
}

}  // namespace

int run_hs3_export(Command& command) {
  WorkspaceArguments source;
  Conventions words;
  std::string measurement;
  declare(command, source);
  command.arguments.group("Measurement");
  command.arguments.text("--measurement", measurement, "NAME",
                         "Only this one; default: all that share their constraint terms");
  declare_conventions(command.arguments, words);
  command.arguments.example("slalom hs3 export workspace.json -o workspace.hs3.json");
  if (!command.parse()) return exit_success;
  const Workspace workspace = load_workspace(command, source);
  Warnings found;
  const Json document = to_hs3(workspace, options_of(words, measurement), &found);
  command.warn_all(found, ErrorKind::model);
  command.answer_document(document);
  return exit_success;
}

int run_hs3_import(Command& command) {
  std::string path;
  std::string analysis;
  Conventions words;
  bool gaussian = false;
  command.arguments.positional("HS3", path, "HS3 document; - is standard input");
  command.arguments.flag("--strict", command.strict, "Warnings about the input are errors");
  command.arguments.group("Analysis");
  command.arguments.text("--analysis", analysis, "NAME",
                         "Only this one; default: all become measurements");
  declare_conventions(command.arguments, words);
  command.arguments.flag("--gaussian-staterror", gaussian,
                         "Staterrors with a Poisson constraint become Gaussian ones");
  command.arguments.example("slalom hs3 import workspace.hs3.json -o workspace.json");
  if (!command.parse()) return exit_success;
  const Json document = command.read_document(path);
  Hs3Options options = options_of(words, analysis);
  options.gaussian_staterror = gaussian;
  Warnings found;
  Workspace workspace;
  try {
    workspace = from_hs3(document, options, &found);
  } catch (const Error& error) {
    throw Error(error.kind(), error.message(),
                (path == "-" ? "<stdin>" : path) + "#" + error.where());
  }
  command.warn_all(found, ErrorKind::workspace);
  command.answer_document(to_json(workspace));
  return exit_success;
}

}  // namespace slalom::cli
