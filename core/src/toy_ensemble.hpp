// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <vector>

#include "slalom/core/toy_store.hpp"

namespace slalom::detail {

/// Makes the toys of an ensemble that the store of the options does not have, in parallel, and
/// keeps them there.
/// \param options number, first index, threads, store and progress
/// \param make the toy of an index; called by several threads, each with its own fitter, and must
///   not depend on what the fitter did before
/// \returns a toy per index, `options.first` first; those that were not reached are not done
/// \throws Error of the store
std::vector<Toy> run_ensemble(const Model& model, const ToyEnsemble& ensemble,
                              const ToyOptions& options,
                              const std::function<Toy(std::size_t index, Fitter&)>& make);

}  // namespace slalom::detail
