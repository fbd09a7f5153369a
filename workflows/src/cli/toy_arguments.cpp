// SPDX-License-Identifier: Apache-2.0
#include "cli/toy_arguments.hpp"

#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

void declare_toys(Command& command, ToyArguments& options, const std::string& help) {
  Arguments& arguments = command.arguments;
  arguments.group("Toys");
  arguments.integer("--toys", options.toys, 1, "N", help);
  arguments.flag("--conditional", options.conditional,
                 "Auxiliary data stay as they are; default is to throw them as well");
  arguments.text("--toy-file", options.file, "FILE",
                 "Keep finished toys in FILE (JSON lines), so that the run can be resumed");
  arguments.flag("--resume", options.resume, "Use the toys that the file of --toy-file has");
}

bool wants_toys(const ToyArguments& options) {
  if (options.toys) return true;
  for (const auto& [given, name] : {std::pair{options.conditional, "--conditional"},
                                    {!options.file.empty(), "--toy-file"},
                                    {options.resume, "--resume"}}) {
    if (given) throw Error(ErrorKind::usage, "needs --toys", name);
  }
  return false;
}

ToyRun::ToyRun(Command& command, const ToyArguments& options, const ModelArguments& model,
               const LoadedModel& loaded, std::size_t n_toys, std::size_t total)
    : bar_(command.progress_stream(), "toys"), total_(total) {
  if (options.resume && options.file.empty()) {
    throw Error(ErrorKind::usage, "needs --toy-file", "--resume");
  }
  options_.n_toys = n_toys;
  options_.seed = static_cast<std::uint64_t>(model.seed.value_or(0));
  options_.threads = threads_of(model);
  options_.throw_auxiliary = !options.conditional;
  options_.auxiliary.assign(
      loaded.data.begin() + static_cast<std::ptrdiff_t>(loaded.model.n_bins()), loaded.data.end());
  options_.progress = [this](std::size_t done, std::size_t of) { return progress(done, of); };
  if (options.file.empty()) return;
  file_.emplace(options.file, options.resume ? ToyFile::Mode::resume : ToyFile::Mode::create);
  options_.store = &*file_;
}

/// Counts the toys of all ensembles; a count that does not grow begins the next one.
bool ToyRun::progress(std::size_t done, std::size_t total) {
  if (done <= done_) before_ += ensemble_;
  done_ = done;
  ensemble_ = total;
  bar_.update(before_ + done, total_);
  return !interruption_.requested();
}

int ToyRun::finish(Command& command, bool complete, bool converged, const std::string& message) {
  bar_.clear();
  interrupted_ = !complete && interruption_.requested();
  if (!message.empty()) command.note({message, "toys"});
  if (interrupted_) return interruption_.exit_code();
  return converged ? exit_success : exit_not_converged;
}

void ToyRun::append_to(OrderedJson& document) const {
  append(document, "seed", options_.seed);
  append(document, "conditional", !options_.throw_auxiliary);
  append(document, "interrupted", interrupted_);
  if (file_) append(document, "reused_toys", file_->reused());
}

OrderedJson counts_json(const ToyCounts& counts) {
  OrderedJson result;
  append(result, "asked", counts.asked);
  append(result, "done", counts.done);
  append(result, "failed", counts.failed);
  return result;
}

OrderedJson if_known(bool known, double value, const std::string& what) {
  return known ? OrderedJson(finite(value, what)) : OrderedJson();
}

}  // namespace slalom::cli
