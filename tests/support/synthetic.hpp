// SPDX-License-Identifier: Apache-2.0
/// \file
/// Synthetic workspaces of any size, for benchmarks and tests. No data files are needed, and every
/// platform makes the same document: the generator is integer arithmetic, and floating-point values
/// come from single additions, multiplications, divisions and square roots only.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace slalom::test {

/// Size of a synthetic workspace. The model has
/// `n_channels * n_bins + n_systematics + 1` parameters: one staterror gamma per bin, one alpha per
/// systematic, and the parameter of interest `mu`, which scales the first sample.
struct SyntheticOptions {
  std::string name;         ///< "synthetic_601", ...
  int n_channels = 1;       ///< channels
  int n_bins = 2;           ///< bins of every channel; at least 2
  int n_samples = 2;        ///< samples of every channel; at least 2
  int n_systematics = 1;    ///< each is a normsys on every sample of every channel
  int histosys_one_in = 2;  ///< one in so many (channel, sample, systematic): histosys as well
  std::uint64_t seed = 20260101;  ///< of the generator
};

/// The sizes that the benchmarks use:
/// * `synthetic_111`: 5 channels x 10 bins x 5 samples, 60 systematics, half of them histosys too;
/// * `synthetic_601`: 10 x 50 x 8, 100 systematics, half of them histosys too;
/// * `synthetic_3301`: 30 x 100 x 10, 300 systematics, a ninth of them histosys too.
const std::vector<SyntheticOptions>& synthetic_models();

/// The one of synthetic_models() with that name. \throws Error (usage)
const SyntheticOptions& synthetic_model(const std::string& name);

/// The workspace. Backgrounds fall along the bins, the signal is a peak; the observed counts
/// fluctuate (in Gaussian approximation) around the model at a random point with mu = 1, every
/// alpha at -1, 0 or +1, where all interpolation codes agree, and gammas within their widths.
nlohmann::json synthetic_workspace(const SyntheticOptions& options);

}  // namespace slalom::test
