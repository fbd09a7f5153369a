// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/result.hpp"
#include "slalom/core/yields.hpp"

/// \file
/// Tables of yields as text, JSON, CSV and LaTeX.
namespace slalom::cli {

/// The yields at one set of parameters.
struct YieldsStage {
  std::string key;    ///< "prefit" or "postfit"
  std::string title;  ///< "pre-fit" or "post-fit"
  std::vector<ChannelYields> channels;
  bool has_errors = true;  ///< false if the fit has no covariance
};

/// Channels with sums per sample; `bins` adds every bin.
OrderedJson stage_json(const YieldsStage& stage, bool bins);
/// One line per stage, channel, bin and sample; bins count from 1, sums have none.
std::string yields_csv(const std::vector<YieldsStage>& stages, bool bins);
/// A block per channel with the stages side by side, or with the bins of one stage.
std::string yields_text(const std::vector<YieldsStage>& stages, bool bins);
/// A tabular (booktabs) per stage with a column per channel, or one per channel with a column per
/// bin.
std::string yields_latex(const std::vector<YieldsStage>& stages, bool bins);

}  // namespace slalom::cli
