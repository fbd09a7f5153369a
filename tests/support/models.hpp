// SPDX-License-Identifier: Apache-2.0
/// \file
/// Models that several tests need: published ones, and small ones with known answers.
#pragma once

#include <string>
#include <vector>

#include "slalom/core/model.hpp"

namespace slalom::test {

/// Model of a published workspace. `patch` is a JSON patch file, or `patchset.json#name`; both are
/// relative to the folder `workspaces` of the published data.
Model published_model(const std::string& workspace, const std::string& patch = {},
                      const ModelOptions& options = {});

/// pyhf's `uncorrelated_background` model (one channel; parameters mu and one shapesys per bin).
Model uncorrelated_background(const std::vector<double>& signal,
                              const std::vector<double>& background,
                              const std::vector<double>& uncertainty,
                              const std::vector<double>& data);

/// pyhf's validation case `2bin_2channel_coupledhisto`: parameters alpha and mu, and a likelihood
/// with two minima.
Model coupled_histosys(const ModelOptions& options = {});

/// The point that reference values are quoted at, away from all symmetries: Gaussian parameters
/// that start at 0 are at 0.3 sin(i + 1), others are scaled by 1 + 0.05 sin(i + 1), fixed ones at
/// init.
std::vector<double> second_reference_point(const ModelSpec& spec);

}  // namespace slalom::test
