// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// All stages, in the order of the data. Single headers compile faster.

// clang-format off
#include "slalom/modules/torch.hpp"

#include "slalom/modules/events.hpp"          // named columns, weights, labels, processes
#include "slalom/modules/event_files.hpp"     // from and to files
#include "slalom/modules/variations.hpp"      // nuisances that act on events
#include "slalom/modules/classifier.hpp"      // scores
#include "slalom/modules/selection.hpp"       // soft cuts, efficiencies
#include "slalom/modules/binning.hpp"         // edges, hard histograms
#include "slalom/modules/soft_histogram.hpp"  // templates
#include "slalom/modules/linear_summary.hpp"  // or a summary without bins while training
#include "slalom/modules/systematics.hpp"     // templates and nuisances to rates
#include "slalom/modules/likelihood.hpp"      // log L, Asimov data
#include "slalom/modules/profile_fit.hpp"     // fits as nodes of the graph
#include "slalom/modules/loss.hpp"            // sigma(mu), log CLs, log p0, upper limit
#include "slalom/modules/criteria.hpp"        // several parameters, cross entropy, mixtures
#include "slalom/modules/diagnostics.hpp"     // guards against gaming
#include "slalom/modules/adversary.hpp"       // who guesses theta from the score
#include "slalom/modules/closure.hpp"         // does the reweighting work
#include "slalom/modules/feature_transform.hpp"  // features as densities like them
#include "slalom/modules/density.hpp"         // log p, samples, maximum likelihood
#include "slalom/modules/flow.hpp"            // normalising flows
#include "slalom/modules/flow_matching.hpp"   // densities of learned velocities
#include "slalom/modules/observable.hpp"      // scores that know a nuisance, in bins
#include "slalom/modules/calibration.hpp"     // scores to density ratios
#include "slalom/modules/morphed_templates.hpp"  // templates on a grid, in between
#include "slalom/modules/batching.hpp"        // exact gradients from mini-batches
#include "slalom/modules/pipeline.hpp"        // all of it in one module
#include "slalom/modules/joint_pipeline.hpp"  // control and signal regions together
#include "slalom/modules/schedule.hpp"        // values that change during training
#include "slalom/modules/autodiff.hpp"        // gradients, Jacobians, Hessians
#include "slalom/modules/distributions.hpp"   // log-probabilities
#include "slalom/modules/interpolation.hpp"   // codes of HistFactory
// clang-format on
