// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom yields`.
#include "cli/command.hpp"
#include "cli/model_arguments.hpp"
#include "cli/result.hpp"
#include "cli/yields_report.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

struct YieldsArguments : ModelArguments {
  bool prefit = false;
  bool postfit = false;
  bool bins = false;
  bool latex = false;
};

void declare_yields(Command& command, YieldsArguments& options) {
  declare_model(command, options);
  declare_point(command, options);
  declare_data(command, options);
  Arguments& arguments = command.arguments;
  arguments.group("Yields");
  arguments.flag("--prefit", options.prefit,
                 "Only at the initial parameters, with pre-fit uncertainties");
  arguments.flag("--postfit", options.postfit,
                 "Only at the best fit, with the full covariance; default is both");
  arguments.flag("--bins", options.bins, "Every bin as well");
  command.declare_csv();
  arguments.flag("--latex", options.latex, "Print LaTeX tabulars (so does -o FILE.tex)");
}

/// Checks the forms of output. \return whether it is LaTeX
bool wants_latex(const Command& command, const YieldsArguments& options) {
  if (options.latex && (command.json || command.csv)) {
    throw Error(ErrorKind::usage, "cannot be used together with --json or --csv", "--latex");
  }
  return options.latex || (!command.json && !command.csv && command.output.ends_with(".tex"));
}

YieldsStage postfit_stage(Command& command, const LoadedModel& loaded, Fitter& fitter,
                          const FitResult& best) {
  const Covariance covariance = fitter.covariance(best);
  if (!best.converged()) {
    command.note({"the fit did not converge: " + best.message, "fit"});
  }
  if (!covariance.valid) {
    command.note({"the Hessian is not positive definite: there are no uncertainties", "fit"});
  }
  return {"postfit", "post-fit", yields(loaded.model, best.parameters, covariance, loaded.data),
          covariance.valid};
}

}  // namespace

int run_yields(Command& command) {
  YieldsArguments arguments;
  declare_yields(command, arguments);
  command.arguments.example("slalom yields workspace.json --bins --latex -o yields.tex");
  if (!command.parse()) return exit_success;
  const bool latex = wants_latex(command, arguments);
  const LoadedModel loaded = load_model(command, arguments);
  std::vector<YieldsStage> stages;
  if (arguments.prefit || !arguments.postfit) {
    stages.push_back({"prefit", "pre-fit",
                      yields(loaded.model, loaded.spec().initial(), prefit_covariance(loaded.model),
                             loaded.data)});
  }
  bool converged = true;
  if (arguments.postfit || !arguments.prefit) {
    Fitter fitter = make_fitter(loaded);
    const FitResult best = fitter.fit();
    converged = best.converged();
    stages.push_back(postfit_stage(command, loaded, fitter, best));
  }
  if (latex) {
    command.answer(yields_latex(stages, arguments.bins));
  } else if (command.wants_json()) {
    OrderedJson result;
    for (const YieldsStage& stage : stages) {
      append(result, stage.key, stage_json(stage, arguments.bins));
    }
    append(result, "converged", converged);
    append(result, "measurement", loaded.measurement);
    command.answer(std::move(result));
  } else if (command.wants_csv()) {
    command.answer(yields_csv(stages, arguments.bins));
  } else {
    command.answer(yields_text(stages, arguments.bins));
  }
  return converged ? exit_success : exit_not_converged;
}

}  // namespace slalom::cli
