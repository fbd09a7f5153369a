// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "cli/model_arguments.hpp"
#include "cli/result.hpp"
#include "slalom/core/toy_limit.hpp"
#include "slalom/core/toy_store.hpp"
#include "slalom/workflows/progress.hpp"

/// \file
/// What all verbs that throw toys have in common: options, progress, signals, the file of toys.
namespace slalom::cli {

/// Options of a run of toys.
struct ToyArguments {
  std::optional<long> toys;  ///< --toys
  bool conditional = false;  ///< --conditional: auxiliary data are not thrown
  std::string file;          ///< --toy-file
  bool resume = false;       ///< --resume
};

/// Declares --toys with the given help, --conditional, --toy-file and --resume.
void declare_toys(Command& command, ToyArguments& options, const std::string& help);

/// Whether toys are asked for. \throws Error (usage) for options that need them
bool wants_toys(const ToyArguments& options);

/// A run of toys: while one lives, signals are wishes and the file is locked.
class ToyRun {
 public:
  /// \param n_toys of each ensemble, or at most
  /// \param total toys of all ensembles together, for the progress bar; 0 if that is not known
  /// \throws Error (usage, io, json) about the file of toys
  ToyRun(Command& command, const ToyArguments& options, const ModelArguments& model,
         const LoadedModel& loaded, std::size_t n_toys, std::size_t total);

  /// Options for the core; they refer to this.
  const ToyOptions& options() const { return options_; }
  /// Erases the progress bar and writes the file of toys; warns with the message unless it is
  /// empty. \param complete whether all toys were made \return the exit code
  int finish(Command& command, bool complete, bool converged, const std::string& message);
  /// Adds "seed", "conditional", "interrupted" and what was reused to a document.
  void append_to(OrderedJson& document) const;

 private:
  bool progress(std::size_t done, std::size_t total);

  Interruption interruption_;
  ProgressBar bar_;
  std::optional<ToyFile> file_;
  ToyOptions options_;
  std::size_t total_;
  std::size_t before_ = 0, done_ = 0, ensemble_ = 0;
  bool interrupted_ = false;
};

/// {"asked", "done", "failed"}.
OrderedJson counts_json(const ToyCounts& counts);

/// A number, or null if there is none.
OrderedJson if_known(bool known, double value, const std::string& what);

// cls, discovery and limit with --toys; `mass` is that of --format combine.
int run_cls_by_toys(Command& command, const LoadedModel& loaded, const ModelArguments& model,
                    const ToyArguments& toys, double mu, TestStatistic statistic);
int run_discovery_by_toys(Command& command, const LoadedModel& loaded, const ModelArguments& model,
                          const ToyArguments& toys, double mass);
int run_limit_by_toys(Command& command, const LoadedModel& loaded, const ModelArguments& model,
                      const ToyArguments& toys, double level, TestStatistic statistic, double mass);

}  // namespace slalom::cli
