// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/higgsml.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/atan2.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/remainder.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sign.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/sinh.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <cmath>
#include <map>
#include <numbers>

#include "problems/generator.hpp"
#include "slalom/core/error.hpp"
#include "slalom/modules/event_files.hpp"

namespace slalom {

namespace {

constexpr double k_signal_total = 691.98860771, k_background_total = 410999.84732;
constexpr double k_tau_mass = 0.8;
constexpr const char* k_name = "tau_energy_scale";

/// Columns by name, in float64: those to read and those that were computed.
using Columns = std::map<std::string, Tensor>;

/// sqrt without an infinite slope at 0.
Tensor root(const Tensor& square) { return at::sqrt(at::clamp_min(square, 1e-12)); }

/// A momentum; all [n].
struct Momentum {
  Tensor x, y, z, energy;

  Tensor transverse() const { return root(x * x + y * y); }
};

Momentum operator+(const Momentum& a, const Momentum& b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z, a.energy + b.energy};
}

Tensor mass(const Momentum& p) {
  return root(p.energy * p.energy - p.x * p.x - p.y * p.y - p.z * p.z);
}

Momentum momentum(const Tensor& pt, const Tensor& eta, const Tensor& phi, double rest_mass) {
  const Tensor z = pt * at::sinh(eta);
  return {pt * at::cos(phi), pt * at::sin(phi), z,
          at::sqrt(pt * pt + z * z + rest_mass * rest_mass)};
}

/// Everything that the derived features need.
struct Event {
  Momentum tau, lepton, missing, leading, subleading;
  Tensor tau_pt, tau_eta, tau_phi, lepton_pt, lepton_eta, lepton_phi, missing_pt, missing_phi,
      jets_pt, leading_eta, subleading_eta;
  Tensor has_two;  ///< at least two jets, boolean
};

Event event_of(const EventBatch& events) {
  const auto column = [&](const char* name) { return events.column(name).to(at::kDouble); };
  const Tensor jets = column("PRI_jet_num");
  const auto of_jet = [&](const char* name, int number) {  // 0 for a jet that is not there
    const Tensor x = column(name);
    return at::where(jets >= number, x, at::zeros_like(x));
  };
  Event e;
  e.has_two = jets >= 2;
  e.tau_pt = column("PRI_tau_pt"), e.tau_eta = column("PRI_tau_eta");
  e.tau_phi = column("PRI_tau_phi");
  e.lepton_pt = column("PRI_lep_pt"), e.lepton_eta = column("PRI_lep_eta");
  e.lepton_phi = column("PRI_lep_phi");
  e.missing_pt = column("PRI_met"), e.missing_phi = column("PRI_met_phi");
  e.jets_pt = column("PRI_jet_all_pt");
  e.leading_eta = of_jet("PRI_jet_leading_eta", 1);
  e.subleading_eta = of_jet("PRI_jet_subleading_eta", 2);
  e.tau = momentum(e.tau_pt, e.tau_eta, e.tau_phi, k_tau_mass);
  e.lepton = momentum(e.lepton_pt, e.lepton_eta, e.lepton_phi, 0.0);
  e.missing = momentum(e.missing_pt, at::zeros_like(e.missing_pt), e.missing_phi, 0.0);
  e.leading = momentum(of_jet("PRI_jet_leading_pt", 1), e.leading_eta,
                       of_jet("PRI_jet_leading_phi", 1), 0.0);
  e.subleading = momentum(of_jet("PRI_jet_subleading_pt", 2), e.subleading_eta,
                          of_jet("PRI_jet_subleading_phi", 2), 0.0);
  return e;
}

/// 1 for a missing momentum along the bisector of tau and lepton, sqrt(2), -sqrt(2) opposite it.
Tensor missing_centrality(const Event& e) {
  const Tensor sign = at::sign(at::sin(e.tau_phi - e.lepton_phi));
  const Tensor a = at::sin(e.missing_phi - e.lepton_phi) * sign,
               b = at::sin(e.tau_phi - e.missing_phi) * sign;
  return (a + b) / root(a * a + b * b);
}

/// Derived features that depend on the tau's or on the missing momentum.
Columns derived_from_tau(const Event& e) {
  Columns result;
  const Tensor along = e.lepton.x * e.missing.x + e.lepton.y * e.missing.y;
  const Momentum higgs = e.tau + e.lepton + e.missing;
  result["DER_mass_transverse_met_lep"] = root(2.0 * (e.lepton_pt * e.missing_pt - along));
  result["DER_mass_vis"] = mass(e.tau + e.lepton);
  result["DER_pt_h"] = higgs.transverse();
  result["DER_pt_tot"] = (higgs + e.leading + e.subleading).transverse();
  result["DER_sum_pt"] = e.tau_pt + e.lepton_pt + e.jets_pt;
  result["DER_pt_ratio_lep_tau"] = e.lepton_pt / e.tau_pt;
  result["DER_met_phi_centrality"] = missing_centrality(e);
  return result;
}

/// The other derived features.
Columns derived_from_directions(const Event& e, double undefined) {
  const Tensor turn =
      at::remainder(e.tau_phi - e.lepton_phi + std::numbers::pi, 2.0 * std::numbers::pi) -
      std::numbers::pi;
  const Tensor gap = e.tau_eta - e.lepton_eta;
  // Jets that are not there: numbers that have derivatives, in the place of 0 / 0.
  const Tensor difference = e.leading_eta - e.subleading_eta;
  const Tensor width = at::where(e.has_two, difference, at::full_like(difference, 1.0));
  const Tensor off = e.lepton_eta - 0.5 * (e.leading_eta + e.subleading_eta);
  const Tensor nothing = at::full_like(difference, undefined);
  Columns result;
  result["DER_deltar_tau_lep"] = root(gap * gap + turn * turn);
  result["DER_deltaeta_jet_jet"] = at::where(e.has_two, difference.abs(), nothing);
  result["DER_mass_jet_jet"] = at::where(e.has_two, mass(e.leading + e.subleading), nothing);
  result["DER_prodeta_jet_jet"] = at::where(e.has_two, e.leading_eta * e.subleading_eta, nothing);
  result["DER_lep_eta_centrality"] = at::where(
      e.has_two, at::exp(-4.0 * off * off / at::clamp_min(width * width, 1e-12)), nothing);
  return result;
}

/// Events with other values in some columns, which come in their order.
EventBatch with_columns(const EventBatch& events, const Columns& changed) {
  const at::ScalarType type = events.features.scalar_type();
  std::vector<Tensor> parts = events.features.unbind(1);
  for (const auto& [name, values] : changed) {
    parts[static_cast<std::size_t>(events.column_index(name))] = values.to(type);
  }
  return events.with_features(at::stack(parts, 1));
}

/// Number of jets that an event must have for a feature to be defined.
int jets_needed(const std::string& column) {
  if (column.find("_jet_leading_") != std::string::npos) return 1;
  const bool of_two = column.find("subleading") != std::string::npos ||
                      column.find("jet_jet") != std::string::npos ||
                      column == "DER_lep_eta_centrality";
  return of_two ? 2 : 0;
}

/// \throws Error (io) for features that are undefined without a reason
void check_undefined(const EventBatch& events, const std::string& path) {
  const Tensor jets = events.column("PRI_jet_num");
  for (const std::string& name : events.columns) {
    const Tensor wrong = at::isnan(events.column(name)) & ~(jets < jets_needed(name));
    if (!wrong.any().item<bool>()) continue;
    const auto row = wrong.nonzero()[0][0].item<std::int64_t>();
    throw Error(ErrorKind::io, "the feature '" + name + "' is undefined",
                path + ":" + std::to_string(row + 2));
  }
}

/// Weights that add up to those of the full sample, for each process.
Tensor full_weights(const EventBatch& events, const std::string& path) {
  Tensor result = events.weights;
  for (const auto& [name, total] :
       {std::pair<const char*, double>{"background", k_background_total},
        {"signal", k_signal_total}}) {
    const Tensor mask = events.process == events.process_index(name);
    const double sum = events.weights.masked_select(mask).sum().item<double>();
    if (!(sum > 0.0)) {
      throw Error(ErrorKind::io, std::string("no weight of ") + name + " to scale", path);
    }
    result = at::where(mask, result * (total / sum), result);
  }
  return result;
}

/// Events with the tau's momentum times z, one element.
EventBatch scaled(const EventBatch& events, const Tensor& z) {
  Event event = event_of(events);
  const Tensor x = event.missing.x - (z - 1.0) * event.tau.x,
               y = event.missing.y - (z - 1.0) * event.tau.y;
  event.missing = {x, y, at::zeros_like(x), root(x * x + y * y)};
  event.missing_pt = event.missing.energy;
  // Nothing has no direction: phi = 0, and a slope of 0, which LibTorch 1.13 has not by itself.
  const Tensor none = (x == 0.0) & (y == 0.0);
  event.missing_phi = at::atan2(y, at::where(none, at::ones_like(x), x));
  event.tau_pt = z * event.tau_pt;
  event.tau = momentum(event.tau_pt, event.tau_eta, event.tau_phi, k_tau_mass);
  Columns changed = derived_from_tau(event);
  changed["PRI_tau_pt"] = event.tau_pt;
  changed["PRI_met"] = event.missing_pt;
  changed["PRI_met_phi"] = event.missing_phi;
  return with_columns(events, changed);
}

/// What of the weight is left after the cut.
Tensor kept(const Tensor& tau_pt, const TauEnergyScaleOptions& options) {
  const Tensor above = tau_pt.to(at::kDouble) - options.threshold;
  return options.slope > 0.0 ? at::sigmoid(options.slope * above) : (above >= 0.0).to(at::kDouble);
}

}  // namespace

const std::vector<std::string>& higgsml_columns() {
  static const std::vector<std::string> names = {"DER_mass_transverse_met_lep",
                                                 "DER_mass_vis",
                                                 "DER_pt_h",
                                                 "DER_deltaeta_jet_jet",
                                                 "DER_mass_jet_jet",
                                                 "DER_prodeta_jet_jet",
                                                 "DER_deltar_tau_lep",
                                                 "DER_pt_tot",
                                                 "DER_sum_pt",
                                                 "DER_pt_ratio_lep_tau",
                                                 "DER_met_phi_centrality",
                                                 "DER_lep_eta_centrality",
                                                 "PRI_tau_pt",
                                                 "PRI_tau_eta",
                                                 "PRI_tau_phi",
                                                 "PRI_lep_pt",
                                                 "PRI_lep_eta",
                                                 "PRI_lep_phi",
                                                 "PRI_met",
                                                 "PRI_met_phi",
                                                 "PRI_met_sumet",
                                                 "PRI_jet_num",
                                                 "PRI_jet_leading_pt",
                                                 "PRI_jet_leading_eta",
                                                 "PRI_jet_leading_phi",
                                                 "PRI_jet_subleading_pt",
                                                 "PRI_jet_subleading_eta",
                                                 "PRI_jet_subleading_phi",
                                                 "PRI_jet_all_pt"};
  return names;
}

EventBatch read_higgsml(const std::string& path, const HiggsmlOptions& options) {
  EventFileOptions file;
  file.columns = higgsml_columns();
  file.weight = "Weight";
  file.label = file.process = "Label";
  file.label_values = file.processes = {"b", "s"};
  file.missing = -999.0;
  file.on_missing = MissingPolicy::keep;
  file.max_events = options.max_events;
  file.float64 = options.float64;
  EventBatch events = read_csv(path, file);
  events.processes = {"background", "signal"};
  check_undefined(events, path);
  events.features = at::where(at::isnan(events.features),
                              at::full_like(events.features, options.undefined), events.features);
  if (options.full_luminosity) events.weights = full_weights(events, path);
  if (options.recompute) events = scaled(events, at::ones({}, at::kDouble));
  return events;
}

EventBatch derive_higgsml(const EventBatch& events, double undefined) {
  const Event event = event_of(events);
  return with_columns(with_columns(events, derived_from_tau(event)),
                      derived_from_directions(event, undefined));
}

Variation tau_energy_scale(const TauEnergyScaleOptions& options) {
  if (!std::isfinite(options.relative) || !(options.threshold >= 0.0) || !(options.slope >= 0.0) ||
      !std::isfinite(options.threshold + options.slope)) {
    throw Error(ErrorKind::usage, "the scale must be finite, threshold and slope not negative",
                k_name);
  }
  Variation result;
  result.name = k_name;
  result.apply = [options](const EventBatch& events, const Tensor& theta) {
    const Tensor z =
        1.0 + options.relative * detail::theta_above(theta, events, options.relative, k_name);
    const EventBatch moved = scaled(events, z);
    return options.threshold > 0.0
               ? moved.with_weights(moved.weights * kept(moved.column("PRI_tau_pt"), options))
               : moved;
  };
  return result;
}

Variation tau_energy_scale(double relative) {
  TauEnergyScaleOptions options;
  options.relative = relative;
  return tau_energy_scale(options);
}

}  // namespace slalom
