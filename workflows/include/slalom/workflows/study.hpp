// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "slalom/core/error.hpp"
#include "slalom/modules/schedule.hpp"
#include "slalom/workflows/experiment_options.hpp"
#include "slalom/workflows/fields.hpp"

/// \file
/// A study: variants of an experiment, each with several seeds, run in processes of their own, and
/// what came out of them beside each other.
namespace slalom {

/// One row of the study's table.
struct StudyVariant {
  std::string name = {};              ///< of its folder: letters, digits and `_ . + -`
  std::string experiment = {};        ///< another document than the study's; empty: that one
  std::vector<std::string> set = {};  ///< KEY.KEY=VALUE, as for `slalom run --set`
};

/// A study. As a document: an object of the members' names (docs/study.md).
struct StudyOptions {
  std::string name = "study";               ///< for people
  std::string description = {};             ///< for the report
  std::string experiment = {};              ///< document of the variants, relative to the study's
  std::vector<StudyVariant> variants = {};  ///< at least one
  std::vector<std::int64_t> seeds = {1, 2, 3, 4, 5};  ///< each variant is run with each of them
  bool data_seeds = false;                            ///< whether `data.seed` is the seed as well
  /// JSON pointers of the numbers of result.json that are compared, the most important one first.
  std::vector<std::string> figures = {"/test/sigma/0", "/test/sigma_stat/0", "/test/log_cls",
                                      "/test/z",       "/train/sigma/0",     "/before/sigma/0"};
  std::string base = {};       ///< folder of relative paths; not part of the document
  std::string directory = {};  ///< that has the variants' documents; not part of the document
};

/// Visits all members.
void study_fields(Fields& fields, StudyOptions& options);
/// Reads and checks a document, but not yet the experiments it names.
/// \param base folder that relative paths are relative to
/// \throws Error (usage) with a JSON pointer
StudyOptions read_study(const Json& document, const std::string& base = "");
/// The document in full.
nlohmann::ordered_json study_document(const StudyOptions& options);
/// Its JSON Schema.
nlohmann::ordered_json study_schema();

/// What a study runs: an experiment, a resonance search or a measurement with a mixture.
struct StudyExperiment {
  nlohmann::ordered_json document;  ///< in full, with absolute paths
  std::int64_t steps = 1;           ///< of its training, of all folds; 1 without one
  std::int64_t threads = 1;         ///< that it uses
};

/// The experiment of each variant, before its seed is set.
/// Those of a directory come from there, whatever became of the documents they were made of.
/// \throws Error (usage, io) that names the variant, and the place in its document
std::vector<StudyExperiment> study_experiments(const StudyOptions& options);

/// How far a run is.
enum class RunState {
  waiting,   ///< there is no result, and there was no attempt
  running,   ///< a process works on it
  finished,  ///< there is a result
  stopped,   ///< interrupted; it can go on
  failed,    ///< its process ended with an error
};
/// "waiting", "running", ...
const char* to_string(RunState state);

/// One variant with one seed.
struct StudyRun {
  std::size_t variant = 0;             ///< index
  std::int64_t seed = 0;               ///< of the experiment
  std::filesystem::path directory;     ///< relative to the study's: VARIANT/seed-SEED
  RunState state = RunState::waiting;  ///< how far it is
  std::string message = {};            ///< why it failed, or ended early
};

/// How a study is run and followed.
struct StudyHooks {
  std::filesystem::path program = {};  ///< that understands `run`; empty: this one
  std::size_t jobs = 0;                ///< processes at a time; 0: as many as the machine has cores
  /// Called several times a second; returning false interrupts all runs, which save.
  /// \param finished runs with a result \param steps done, of all runs \param all of them
  std::function<bool(std::size_t finished, std::int64_t steps, std::int64_t all)> progress = {};
};

/// Runs a study into a directory: study.json, VARIANT/variant.json, and VARIANT/seed-SEED with the
/// results of each run and what its process said (log.txt). Finished runs are skipped, others go on
/// where they were. A failure does not end the others. Processes end, saving, when this one does.
/// \returns all runs, seed by seed
/// \throws Error (usage) for a directory of another study, or if a process is at work there; Error
///   (io) if nothing can be written
std::vector<StudyRun> run_study_in_directory(const StudyOptions& options,
                                             const std::filesystem::path& directory,
                                             const StudyHooks& hooks = {});

/// Whether a directory has a study.
bool is_study(const std::filesystem::path& directory);
/// The study of a directory, with the documents of its variants as they were when it was made.
/// \throws Error (io, usage)
StudyOptions study_of(const std::filesystem::path& directory);
/// The runs of a directory by its files: finished, stopped or waiting.
std::vector<StudyRun> study_runs(const StudyOptions& options,
                                 const std::filesystem::path& directory);

/// One figure of one variant over its finished runs.
struct FigureSummary {
  std::vector<std::optional<double>> values;  ///< by seed; none for a run without
  std::size_t n = 0;                          ///< how many there are
  std::optional<double> median;               ///< mean of the two in the middle if n is even
  std::optional<double> min;                  ///< smallest
  std::optional<double> max;                  ///< largest
  std::optional<double> spread;               ///< standard deviation (n - 1); none below 2
};

/// What the bootstraps of one run say about sigma(mu) of its test events.
struct BootstrapSummary {
  std::size_t variant = 0;          ///< of the run
  std::int64_t seed = 0;            ///< of the run
  std::size_t n = 0;                ///< bootstraps
  double sigma = 0.0;               ///< of the test events themselves
  double error = 0.0;               ///< standard deviation of the bootstraps
  double low = 0.0;                 ///< lower end of their central 95 %
  double high = 0.0;                ///< upper end
  std::optional<double> ratio;      ///< to sigma of the first variant with the same seed and events
  std::optional<double> ratio_low;  ///< central 95 % of the ratio, bootstrap by bootstrap: the same
                                    ///< ones in both; none without
  std::optional<double> ratio_high;  ///< upper end
};

/// The results of a study beside each other.
struct StudyComparison {
  std::vector<std::vector<FigureSummary>> table;  ///< [variants][figures]
  std::vector<BootstrapSummary> bootstraps;       ///< of runs that have any, by variant
  Warnings warnings;                              ///< figures that no result has
};

/// Reads the results of runs. \throws Error (io, json)
StudyComparison compare_runs(const StudyOptions& options, const std::vector<StudyRun>& runs,
                             const std::filesystem::path& directory);

/// As a document, with the state of each run.
nlohmann::ordered_json comparison_document(const StudyOptions& options,
                                           const std::vector<StudyRun>& runs,
                                           const StudyComparison& comparison);
/// One line per variant and figure.
std::string comparison_csv(const StudyOptions& options, const StudyComparison& comparison);
/// A table per figure for people.
std::string comparison_text(const StudyOptions& options, const StudyComparison& comparison);

/// Compares, and writes comparison.json, comparison.csv, plots/ and report.html.
/// \param page the report; empty: report.html in the directory
/// \returns the comparison; pictures that could not be drawn are among its warnings
/// \throws Error (io)
StudyComparison write_study_results(const StudyOptions& options, const std::vector<StudyRun>& runs,
                                    const std::filesystem::path& directory,
                                    const std::filesystem::path& page = {});

}  // namespace slalom
