// SPDX-License-Identifier: Apache-2.0
#include "toy_ensemble.hpp"

#include <mutex>

#include "parallel_fits.hpp"

namespace slalom::detail {

namespace {

/// Puts toys of the store where they belong. \return the places of those that are missing
std::vector<std::size_t> take_stored(const ToyEnsemble& ensemble, const ToyOptions& options,
                                     std::vector<Toy>& toys) {
  if (options.store != nullptr) {
    for (auto& [index, toy] : options.store->begin(ensemble)) {
      const bool wanted = index >= options.first && index - options.first < toys.size();
      if (wanted) toys[index - options.first] = toy;
    }
  }
  std::vector<std::size_t> missing;
  for (std::size_t i = 0; i < toys.size(); ++i) {
    if (!toys[i].done) missing.push_back(i);
  }
  return missing;
}

}  // namespace

std::vector<Toy> run_ensemble(const Model& model, const ToyEnsemble& ensemble,
                              const ToyOptions& options,
                              const std::function<Toy(std::size_t index, Fitter&)>& make) {
  std::vector<Toy> toys(options.n_toys);
  const std::vector<std::size_t> missing = take_stored(ensemble, options, toys);
  const std::size_t stored = toys.size() - missing.size();
  std::mutex storing;
  const auto task = [&](std::size_t i, Fitter& fitter) {
    Toy& toy = toys[missing[i]];
    const std::size_t index = options.first + missing[i];
    toy = make(index, fitter);
    if (options.store == nullptr) return;
    const std::lock_guard<std::mutex> lock(storing);
    options.store->keep(index, toy);
  };
  std::function<bool(std::size_t, std::size_t)> progress;
  if (options.progress) {
    progress = [&](std::size_t done, std::size_t) {
      return options.progress(stored + done, toys.size());
    };
  }
  if (!progress || stored == 0 || progress(0, 0)) {
    parallel_fits(model, missing.size(), options.threads, progress, task);
  }
  if (options.store != nullptr) options.store->end();
  return toys;
}

}  // namespace slalom::detail
