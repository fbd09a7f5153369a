// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "slalom/core/hypotest.hpp"
#include "slalom/core/model_spec.hpp"

/// \file
/// Many signals on one background: each is a JSON Patch, applied as a difference to the background
/// workspace, which is read once, and tested from the background's best fit.
namespace slalom {

/// How the models of a grid are made.
struct SignalGridOptions {
  ModelOptions model{};  ///< measurement, parameter of interest and interpolation
  /// Called for every specification before it is compiled, e.g. to hold parameters; it may throw,
  /// which is then the error of that signal. Called by several threads at a time.
  std::function<void(ModelSpec&)> adjust{};
  /// Start the fits of a signal from the fit of the background alone. Results agree within the
  /// tolerance of the fits.
  bool warm_start = true;
};

/// What to compute for every signal.
struct SignalOptions {
  double mu = 1.0;                                  ///< signal strength to test
  bool limit = false;                               ///< also the upper limit
  double level = 0.05;                              ///< CLs at the limit
  bool discovery = false;                           ///< also the test of mu = 0
  TestStatistic statistic = TestStatistic::qtilde;  ///< for CLs and limits
};

/// How the work on one signal ended.
enum class SignalStatus {
  ok,             ///< all fits converged
  not_converged,  ///< some fit did not: numbers are not to be used
  failed,         ///< no model could be made or tested: there are no numbers
};

/// "ok", "not_converged" or "failed".
const char* to_string(SignalStatus status);

/// What was found for one signal.
struct SignalResult {
  std::size_t index = 0;                       ///< number of the signal in the grid
  SignalStatus status = SignalStatus::failed;  ///< look at it before using anything else
  std::string message;                         ///< what failed
  std::string where;                           ///< the place, if it failed
  std::string poi;                             ///< name of the parameter of interest
  double best_fit = 0.0;                       ///< its best value
  HypothesisTest test;                         ///< of SignalOptions::mu
  std::optional<UpperLimit> limit{};           ///< if asked for
  std::optional<DiscoveryTest> discovery{};    ///< if asked for
  Warnings warnings{};                         ///< those that the background does not have
  double seconds = 0.0;                        ///< of this signal, from the patch to the result
};

/// The background of a grid. Immutable; any number of threads may use one.
class SignalGrid {
 public:
  /// Reads the background. It need not be complete: it mostly lacks the parameter of interest.
  explicit SignalGrid(nlohmann::json background, SignalGridOptions options = {});
  ~SignalGrid();
  /// Takes over another grid.
  SignalGrid(SignalGrid&&) noexcept;
  /// Takes over another grid.
  SignalGrid& operator=(SignalGrid&&) noexcept;

  /// Warnings about the background.
  const Warnings& warnings() const;

  /// The specification of background and signal: exactly what make_model_spec(parse_workspace(
  /// apply_patch(background, operations))) gives, and its errors. Only what the patch changes is
  /// read. `adjust` is applied.
  /// \param operations the patch; its values are moved away
  /// \param where put before the place of an error in the patch
  /// \param warnings where warnings that the background does not have are appended, or null
  /// \throws Error (patch, workspace, model)
  ModelSpec spec(nlohmann::json operations, const std::string& where = {},
                 Warnings* warnings = nullptr) const;

  /// Values to start the fits of a model from [P]: the background's best fit where it has the
  /// parameter, its initial value elsewhere. Empty without warm start.
  std::vector<double> start(const ModelSpec& spec) const;

  /// Tests one signal. Errors of the signal are in the result.
  /// \param operations as for spec()
  /// \param options what to compute
  /// \param where as for spec()
  SignalResult test(nlohmann::json operations, const SignalOptions& options = {},
                    const std::string& where = {}) const;

 private:
  struct Background;
  std::unique_ptr<const Background> background_;
};

/// The patch of one signal.
struct SignalPatch {
  nlohmann::json operations;  ///< as for SignalGrid::spec()
  std::string where{};        ///< likewise
};

/// Gives the patch of signal `i`; its errors are those of the signal. Called by several threads.
using SignalSource = std::function<SignalPatch(std::size_t i)>;

/// Tests signals on several threads. Each result depends on its signal alone.
/// \param signals which ones, in the order in which they are begun
/// \param source the patches
/// \param options what to compute
/// \param threads 0 for as many as the machine has
/// \param report called with every result as it comes, by one thread at a time; false stops
/// \returns number of results
/// \throws what `report` throws
std::size_t test_signals(const SignalGrid& grid, const std::vector<std::size_t>& signals,
                         const SignalSource& source, const SignalOptions& options,
                         std::size_t threads,
                         const std::function<bool(const SignalResult&)>& report);

}  // namespace slalom
