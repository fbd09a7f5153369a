// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// The work of the verbs that train.
namespace slalom::experiment {

/// Puts it in the place of starting another program; see cli::experiment_verbs().
void install_verbs();

}  // namespace slalom::experiment
