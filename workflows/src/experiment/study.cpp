// SPDX-License-Identifier: Apache-2.0
/// \file
/// The runs of a study.
#include "slalom/workflows/study.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fmt/format.h>
#include <fstream>
#include <memory>
#include <thread>

#include "cli/text.hpp"
#include "experiment/child_process.hpp"
#include "experiment/documents.hpp"
#include "experiment/paths.hpp"
#include "experiment/run_files.hpp"
#include "slalom/core/json.hpp"
#include "slalom/workflows/mixture_experiment.hpp"
#include "slalom/workflows/resonance.hpp"

namespace slalom {

namespace {

using experiment::make_directory;
namespace fs = std::filesystem;
using experiment::ChildProcess;
using experiment::k_variant;
using experiment::ProcessEnd;

constexpr const char* k_study = "study.json";
constexpr const char* k_log = "log.txt";
constexpr std::chrono::milliseconds k_pause{50};
constexpr std::int64_t k_nothing = -1;

std::string text_of(const StudyExperiment& experiment) {
  return experiment.document.dump(2) + "\n";
}

/// Refuses a directory whose variant of that name is another experiment.
void check_variant(const fs::path& file, const StudyExperiment& experiment,
                   const std::string& name) {
  if (!fs::exists(file)) return;
  // Documents of an earlier version lack what has been added since: both are read.
  if (text_of(experiment::study_experiment(read_json(file), "")) == text_of(experiment)) return;
  throw Error(ErrorKind::usage,
              fmt::format("variant '{}' was another experiment when the directory was made: give "
                          "it another name, or the study another directory",
                          name),
              file.string());
}

std::vector<StudyRun> all_runs(const StudyOptions& options) {
  std::vector<StudyRun> runs;
  for (const std::int64_t seed : options.seeds) {
    for (std::size_t v = 0; v < options.variants.size(); ++v) {
      runs.push_back(
          {.variant = v,
           .seed = seed,
           .directory = fs::path(options.variants[v].name) / fmt::format("seed-{}", seed)});
    }
  }
  return runs;
}

/// Documents are found from anywhere, also by a study.json in another folder.
StudyOptions with_absolute_paths(StudyOptions options) {
  const auto absolute = [&](std::string& path) {
    if (path.empty()) return;
    const fs::path file = options.base.empty() ? fs::path(path) : fs::path(options.base) / path;
    path = fs::absolute(file).lexically_normal().string();
  };
  absolute(options.experiment);
  for (StudyVariant& variant : options.variants) absolute(variant.experiment);
  options.base.clear();
  return options;
}

/// The end of a file.
std::string tail_of(const fs::path& file) {
  constexpr std::streamoff k_length = 4096;
  std::ifstream stream(file, std::ios::binary | std::ios::ate);
  if (!stream) return "";
  const std::streamoff size = stream.tellg();
  stream.seekg(std::max<std::streamoff>(size - k_length, 0));
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

/// The step of the last complete line of metrics; 0 without.
std::int64_t last_step(const fs::path& directory) {
  const std::string text = tail_of(directory / "metrics.jsonl");
  const std::vector<std::string> lines = lines_of(text);
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    const Json json = Json::parse(*line, nullptr, false);
    if (!json.is_object()) continue;
    if (const auto step = json.find("step"); step != json.end() && step->is_number_integer()) {
      return step->get<std::int64_t>();
    }
  }
  return 0;
}

/// Steps done, of all folds.
std::int64_t steps_of(const fs::path& directory) {
  std::int64_t sum = 0;
  for (const fs::path& place : experiment::training_directories(directory)) sum += last_step(place);
  return sum;
}

/// What a program said last, without its name.
std::string last_words(const fs::path& log) {
  const std::vector<std::string> lines = lines_of(tail_of(log));
  const std::string mark = "error: ";
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    const std::size_t at = line->find(mark);
    if (at != std::string::npos) return cli::one_line(line->substr(at + mark.size()));
  }
  return lines.empty() ? "" : cli::one_line(lines.back());
}

/// A study at work.
class Runner {
 public:
  Runner(const StudyOptions& options, const std::vector<StudyExperiment>& experiments,
         const fs::path& directory, const StudyHooks& hooks)
      : options_(options),
        experiments_(experiments),
        directory_(directory),
        hooks_(hooks),
        runs_(study_runs(options, directory)),
        processes_(runs_.size()),
        steps_(runs_.size(), k_nothing) {}

  std::vector<StudyRun> run(int kept) {
    const std::size_t jobs = jobs_at_a_time();
    bool wanted = true;
    while (true) {
      if (wanted) start_some(jobs, kept);
      if (!at_work()) break;
      collect();
      if (wanted && hooks_.progress && !tell()) {
        wanted = false;
        for (const auto& process : processes_) {
          if (process) process->interrupt();
        }
      }
      std::this_thread::sleep_for(k_pause);
    }
    if (wanted && hooks_.progress) tell();
    return runs_;
  }

 private:
  std::size_t jobs_at_a_time() const {
    if (hooks_.jobs > 0) return hooks_.jobs;
    std::int64_t threads = 1;
    for (const StudyExperiment& experiment : experiments_) {
      threads = std::max(threads, experiment.threads);
    }
    const std::size_t cores = std::max(std::thread::hardware_concurrency(), 1U);
    return std::max<std::size_t>(cores / static_cast<std::size_t>(threads), 1);
  }

  bool at_work() const {
    return std::any_of(processes_.begin(), processes_.end(),
                       [](const auto& process) { return process != nullptr; });
  }

  void start_some(std::size_t jobs, int kept) {
    auto busy = static_cast<std::size_t>(
        std::count_if(processes_.begin(), processes_.end(),
                      [](const auto& process) { return process != nullptr; }));
    for (; next_ < runs_.size() && busy < jobs; ++next_) {
      StudyRun& run = runs_[next_];
      if (run.state == RunState::finished) continue;
      try {
        start(next_, kept);
        ++busy;
      } catch (const Error& error) {
        run.state = RunState::failed;
        run.message = error.what();
      }
    }
  }

  void start(std::size_t index, int kept) {
    StudyRun& run = runs_[index];
    const fs::path folder = directory_ / run.directory;
    make_directory(folder);
    const StudyVariant& variant = options_.variants[run.variant];
    const fs::path program = hooks_.program.empty() ? experiment::this_program() : hooks_.program;
    const Json name = fmt::format("{}, seed {}", variant.name, run.seed);
    std::vector<std::string> words{program.string(),
                                   "run",
                                   (directory_ / variant.name / k_variant).string(),
                                   "--directory",
                                   folder.string(),
                                   "--quiet",
                                   "--set",
                                   fmt::format("seed={}", run.seed),
                                   "--set",
                                   "name=" + name.dump()};
    if (options_.data_seeds) {
      words.insert(words.end(), {"--set", fmt::format("data.seed={}", run.seed)});
    }
    write_text(folder / k_log, "");  // of this attempt only
    processes_[index] = std::make_unique<ChildProcess>(words, folder / k_log, kept);
    run.state = RunState::running;
  }

  void collect() {
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      if (!processes_[i]) continue;
      const std::optional<ProcessEnd> end = processes_[i]->end();
      if (!end) continue;
      processes_[i].reset();
      judge(runs_[i], *end);
    }
  }

  void judge(StudyRun& run, const ProcessEnd& end) const {
    const fs::path folder = directory_ / run.directory;
    constexpr int k_interrupted = 128 + SIGINT, k_terminated = 128 + SIGTERM;
    if (end.signal == 0 && end.code == 0 && fs::exists(folder / "result.json")) {
      run.state = RunState::finished;
    } else if (end.code == k_interrupted || end.code == k_terminated) {
      // By itself after saving, or at once if it had not begun.
      run.state = RunState::stopped;
      run.message = fmt::format("stopped at step {}", steps_of(folder));
    } else {
      run.state = RunState::failed;
      run.message = end.signal != 0 ? fmt::format("ended by signal {}", end.signal)
                                    : last_words(folder / k_log);
      if (run.message.empty()) run.message = fmt::format("exit code {}", end.code);
    }
  }

  /// \returns false if the caller wants an end
  bool tell() {
    std::size_t finished = 0;
    std::int64_t done = 0, all = 0;
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      const std::int64_t steps = experiments_[runs_[i].variant].steps;
      all += steps;
      switch (runs_[i].state) {
        case RunState::finished:
          ++finished;
          done += steps;
          break;
        case RunState::running:
          steps_[i] = std::max(steps_[i], steps_of(directory_ / runs_[i].directory));
          done += steps_[i];
          break;
        case RunState::failed:
          done += steps;  // nothing more will come from it
          break;
        case RunState::waiting:
        case RunState::stopped:
          if (steps_[i] == k_nothing) steps_[i] = steps_of(directory_ / runs_[i].directory);
          done += steps_[i];
          break;
      }
    }
    return hooks_.progress(finished, done, all);
  }

  const StudyOptions& options_;
  const std::vector<StudyExperiment>& experiments_;
  fs::path directory_;
  const StudyHooks& hooks_;
  std::vector<StudyRun> runs_;
  std::vector<std::unique_ptr<ChildProcess>> processes_;
  std::vector<std::int64_t> steps_;  // k_nothing until they are known
  std::size_t next_ = 0;
};

}  // namespace

const char* to_string(RunState state) {
  switch (state) {
    case RunState::waiting:
      return "waiting";
    case RunState::running:
      return "running";
    case RunState::finished:
      return "finished";
    case RunState::stopped:
      return "stopped";
    case RunState::failed:
      return "failed";
  }
  return "";
}

std::vector<StudyRun> study_runs(const StudyOptions& options, const fs::path& directory) {
  std::vector<StudyRun> runs = all_runs(options);
  for (StudyRun& run : runs) {
    if (fs::exists(directory / run.directory / "result.json")) {
      run.state = RunState::finished;
    } else if (!experiment::training_directories(directory / run.directory).empty() ||
               is_resonance(directory / run.directory) || is_mixture(directory / run.directory)) {
      run.state = RunState::stopped;
    }
  }
  return runs;
}

bool is_study(const fs::path& directory) { return fs::exists(directory / k_study); }

StudyOptions study_of(const fs::path& directory) {
  if (!is_study(directory)) {
    throw Error(ErrorKind::io, "there is no study.json: not the directory of a study",
                directory.string());
  }
  StudyOptions options = read_study(read_json(directory / k_study));
  options.directory = directory.string();
  return options;
}

std::vector<StudyRun> run_study_in_directory(const StudyOptions& options, const fs::path& directory,
                                             const StudyHooks& hooks) {
  const std::vector<StudyExperiment> experiments = study_experiments(options);
  make_directory(directory);
  const experiment::FolderLock lock(directory);
  for (std::size_t v = 0; v < experiments.size(); ++v) {
    const std::string& name = options.variants[v].name;
    check_variant(directory / name / k_variant, experiments[v], name);
  }
  for (std::size_t v = 0; v < experiments.size(); ++v) {
    const fs::path folder = directory / options.variants[v].name;
    make_directory(folder);
    if (!fs::exists(folder / k_variant)) write_text(folder / k_variant, text_of(experiments[v]));
  }
  write_text(directory / k_study, study_document(with_absolute_paths(options)).dump(2) + "\n");
  return Runner(options, experiments, directory, hooks).run(lock.descriptor());
}

}  // namespace slalom
