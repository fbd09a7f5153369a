// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

/// \file
/// The compiled model as flat arrays, and the scratch memory of one evaluation.
///
/// Only plain pointers and numbers: this header is included by translation units that are compiled
/// for different instruction sets, so it must not bring in anything the linker could merge.
///
/// Vocabulary
///   shared parameter  acts on many bins; the minimiser sees these only
///   local parameter   a staterror or shapesys parameter, which scales one *group* of samples in
///   one
///                     bin; it can be profiled in closed form, bin by bin
///   row               one sample of one channel
///   entry             one scalar factor of one row (normsys, normfactor, lumi)
///   slot              a shared parameter as numbered inside one channel
///   wide channel      lanes run over bins; the coefficients of a histosys are [bin]
///   narrow channel    lanes run over the histosys of the channel; coefficients are [bin][histosys]
/// Rates of a row: F * X[b] * (nominal[b] + sum_h s_h S_h[b] + w_h A_h[b]) * gamma[group][b] with
/// S = (up - down) / 2, A = (up + down - 2 nominal) / 16, F the product of its entries and X the
/// product of its binwise factors that are shared parameters.
namespace slalom::detail {

/// Lanes of the vectors that the kernels use; arrays are padded to a multiple of it.
inline constexpr std::size_t k_lanes = 4;

/// n rounded up to whole vectors.
constexpr std::size_t padded(std::size_t n) { return (n + k_lanes - 1) / k_lanes * k_lanes; }

/// One sample of one channel.
struct Row {
  std::ptrdiff_t group;        ///< group whose local parameter scales it, or -1
  std::size_t entry_begin;     ///< first of its entries; a whole number of vectors
  std::size_t entry_end;       ///< past its last entry, neutral ones included
  std::size_t n_histosys;      ///< wide: its own histosys
  std::size_t histosys_begin;  ///< wide: first of them in histosys_param and histosys_sum
  std::size_t binwise_begin;   ///< first of its shared binwise factors
  std::size_t binwise_end;     ///< past the last one
  std::size_t offset;          ///< of its bins in nominal, and in EngineState::yield
  std::size_t coefficients;    ///< wide: [histosys][S, A][nb]; narrow: [bin][S, A][n_histosys]
};

/// One channel.
struct ChannelLayout {
  std::size_t n_bins;          ///< true number of bins
  std::size_t nb;              ///< padded number
  std::size_t bin0;            ///< first bin in padded arrays
  std::size_t data0;           ///< first bin in the main data
  std::size_t row_begin;       ///< its rows
  std::size_t row_end;         ///< past its last row
  bool narrow;                 ///< layout of the coefficients
  std::size_t n_histosys;      ///< narrow: padded number of distinct histosys
  std::size_t histosys_begin;  ///< narrow: first of them in histosys_param
  std::size_t sum_begin;       ///< narrow: first sum [row][n_histosys] in histosys_sum
  std::size_t n_slots;         ///< shared parameters that act on it
  std::size_t slot_begin;      ///< first of them in slot_param
  std::size_t n_groups;        ///< groups of rows with a local parameter
  bool has_unscaled;           ///< some row has none
  std::size_t local_begin;     ///< first local parameter: [group][nb]
  std::size_t group_begin;     ///< first of its groups in local_kind
};

/// How a group is constrained.
enum class LocalKind : unsigned char { gaussian, poisson };

/// A binwise factor of one row whose parameters are shared ones.
struct Binwise {
  std::size_t param;  ///< [n_bins] shared parameter of each bin, in binwise_param
  std::size_t slot;   ///< [n_bins] slot of each bin, in binwise_slot
};

/// The compiled model. All pointers refer to memory owned by Engine.
struct EngineArrays {
  std::size_t n_shared;  ///< shared parameters
  std::size_t ld;        ///< padded n_shared: row stride of Hessians
  std::size_t n_bins_padded;
  std::size_t n_rows;
  std::size_t n_entries;
  std::size_t n_channels;
  std::size_t n_local;  ///< padded number of local parameters
  std::size_t n_histosys_sum;
  std::size_t n_yield;     ///< doubles of all rows' bins
  std::size_t max_rows;    ///< largest number of rows of a channel
  std::size_t max_bins;    ///< largest nb of a channel
  std::size_t max_slots;   ///< largest padded n_slots of a channel
  std::size_t max_groups;  ///< largest number of groups of a channel

  const ChannelLayout* channels;
  const Row* rows;
  const double* nominal;
  const double* coefficients;
  const std::size_t* histosys_param;  ///< shared parameter of a histosys
  const std::size_t* histosys_slot;   ///< its slot
  const std::size_t* slot_param;      ///< shared parameter of a slot
  int histosys_code;                  ///< 0, 2 or 4

  const std::size_t* entry_param;
  const std::size_t* entry_slot;
  const double* entry_poly;   ///< [vector][7][k_lanes]: polynomial in the parameter, rising powers
  const double* entry_limit;  ///< beyond it, exponential
  const double* entry_log_hi;
  const double* entry_log_lo;

  const Binwise* binwise;
  const std::size_t* binwise_param;
  const std::size_t* binwise_slot;

  const LocalKind* local_kind;  ///< per group

  // Constraints of shared parameters, centre and weight 1/sigma^2; weight 0 without one.
  const double* shared_weight;
  // Poisson-constrained shared parameters: tau, or 0. Demoted shapesys only.
  const double* shared_tau;
};

/// What the second derivatives need to know about the scalar factors of a row.
struct RowFactors {
  double factor;        ///< F
  double rest;          ///< product of the factors that are not zero
  int zeros;            ///< number of factors that are zero
  std::size_t zero[2];  ///< the first two of them
};

/// Scratch memory of one evaluation, and the data. All pointers refer to memory owned by
/// EngineState.
struct StateArrays {
  // --- data, set by set_data
  double* n;              ///< observed counts [bins padded]
  double* shared_centre;  ///< auxiliary data of shared parameters
  double* local_centre;   ///< auxiliary data of local parameters
  double constant;        ///< parameter-free part of -log L

  // --- the end of the likelihood, where a bin without events has no rate either
  double* edge_force;     ///< multiplier of "the rate is not below edge_rate" [bins padded]
  double edge_stiffness;  ///< of its augmented Lagrangian; 0: the likelihood as it is
  double edge_rate;       ///< smallest rate of a bin without events, if edge_stiffness > 0

  // --- local parameters: constraint and bounds for this fit
  double* local_sigma2;  ///< Gaussian: sigma^2; Poisson: tau
  double* local_weight;  ///< Gaussian: 1/sigma^2, 0 for padding; Poisson: tau
  double* local_lower;
  double* local_upper;

  // --- input
  double* theta;  ///< shared parameters
  double* gamma;  ///< local parameters: input, or result of profiling

  // --- per shared parameter
  double* s;  ///< coefficient of S
  double* w;  ///< coefficient of A, and derivatives
  double* w1;
  double* w2;
  // --- per entry
  double* f;
  double* f1;
  double* f2;
  // --- per row
  double* factor;           ///< F
  double* sum;              ///< T = sum_b c D X
  double* yield;            ///< D
  double* binwise_product;  ///< X of rows that have one, same offsets as yield
  // --- per histosys of a row
  double* histosys_sum;    ///< sum_b c X (S + w' A)
  double* histosys_sum_a;  ///< sum_b c X A
  // --- per bin
  double* unscaled;     ///< B
  double* group_yield;  ///< A_k, laid out as local parameters
  double* rate;         ///< lambda
  double* t;            ///< 1 - n / lambda
  double* weight;       ///< w
  double* e;            ///< e_k, laid out as local parameters
  double* d;            ///< t^2 gamma'_k, laid out as local parameters
  // --- results
  double nll;              ///< -log L
  double* gradient;        ///< shared [ld]
  double* local_gradient;  ///< full mode only [n_local]
  double* hessian;         ///< shared [ld][ld], upper triangle
  double* coupling;        ///< full mode, if not null: [n_local][ld]
  // --- scratch of one channel
  double* c;                ///< [nb]
  double* narrow_values;    ///< [4][n_histosys]
  double* jacobian;         ///< [groups + 1][slots][nb] or [groups + 1][nb][slots]
  double* left;             ///< [k][slots]
  double* right;            ///< [k][slots]
  double* product;          ///< [slots][slots]
  double* outer;            ///< [slots][slots], not symmetric
  double* diagonal;         ///< [slots]
  RowFactors* row_factors;  ///< [rows]
};

/// What happens to local parameters.
enum class Mode {
  full,     ///< they are given
  profile,  ///< they are minimised over
};

/// What is computed.
enum class Level {
  value,     ///< -log L
  gradient,  ///< and its gradient
  fisher,    ///< and the expected information instead of the Hessian
  hessian,   ///< and the exact Hessian
};

/// The instruction-set dependent functions.
struct Kernels {
  /// Evaluates -log L; false at an infeasible point.
  bool (*evaluate)(const EngineArrays&, StateArrays&, Mode, Level);
  /// Rates and their parts at given local parameters, feasible or not.
  void (*rates)(const EngineArrays&, StateArrays&);
  /// Upper triangle of A [n][ld] into R with A = R'R, in the form that solve() wants, with the
  /// inverse of its diagonal on the diagonal; false if not positive definite.
  bool (*cholesky)(double* a, std::size_t n, std::size_t ld);
  /// Solves R'R x = b in place.
  void (*solve)(const double* r, std::size_t n, std::size_t ld, double* b);
  /// Name of the instruction set.
  const char* name;
};

/// Those for any processor.
const Kernels& generic_kernels();
/// Those for x86-64-v3 (AVX2, FMA), or null if the build or the processor has none.
const Kernels* x86_64_v3_kernels();
/// The best that this processor can run.
const Kernels& kernels();

}  // namespace slalom::detail
