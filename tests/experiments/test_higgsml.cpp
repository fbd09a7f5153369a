// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/where.h>
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "slalom/workflows/higgsml.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/devices.hpp"
#include "support/fails.hpp"
#include "support/gradients.hpp"
#include "support/temporary_file.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::ErrorKind;
using slalom::EventBatch;
using slalom::HiggsmlOptions;
using slalom::read_higgsml;
using slalom::tau_energy_scale;
using slalom::TauEnergyScaleOptions;
using slalom::Variation;
using slalom::test::check_fails;
using slalom::test::distance;
using slalom::test::TemporaryFile;
using slalom::test::tensor;
using slalom::test::values;

namespace {

constexpr const char* k_data = "higgsml/higgsml_first22889.csv.gz";

EventBatch sample(const HiggsmlOptions& options = {}) {
  return read_higgsml(slalom::test::data_path(k_data).string(), options);
}

Tensor at_theta(double theta) { return tensor({theta}); }

double median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2), x.end());
  return x[x.size() / 2];
}

/// Values of the events whose entry in `mask` is true.
std::vector<double> masked(const Tensor& x, const Tensor& mask) {
  return values(x.masked_select(mask));
}

/// Three events, with no, one and two jets, at round places.
const char* const k_rows =
    "b,0.5,1.0,2.0,2.5,-999,-999,-999,3.0,4.0,5.0,6.0,1.0,-999,30,0.5,0.3,40,-0.4,2.0,25,-2.5,200,"
    "0,"
    "-999,-999,-999,-999,-999,-999,0\n"
    "s,0.25,1.0,2.0,2.5,-999,-999,-999,3.0,4.0,5.0,6.0,1.0,-999,21,1.5,-3.0,30,0.4,3.0,50,1.5,300,"
    "1,"
    "60,1.0,0.7,-999,-999,-999,60\n"
    "b,2.0,1.0,2.0,2.5,0.5,90,1.0,3.0,4.0,5.0,6.0,1.0,0.3,70,-1.5,1.0,26,-2.0,-1.0,10,0.2,150,2,"
    "80,2.0,-0.7,35,-1.0,2.2,115\n";

std::string header() {
  std::string text = "Label,Weight";
  for (const std::string& name : slalom::higgsml_columns()) text += "," + name;
  return text + "\n";
}

/// The three events, in float64.
EventBatch three(bool recompute = true) {
  const TemporaryFile file("higgsml.csv", header() + k_rows);
  HiggsmlOptions options;
  options.float64 = true;
  options.recompute = recompute;
  return read_higgsml(file.path(), options);
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  return text.replace(text.find(what), what.size(), by);
}

}  // namespace

TEST_CASE("HiggsML rows are read", "[experiments][higgsml]") {
  const EventBatch events = three(false);
  CHECK(events.columns == slalom::higgsml_columns());
  CHECK(events.columns.size() == 29);
  CHECK(events.processes == std::vector<std::string>{"background", "signal"});
  CHECK(values(events.labels) == std::vector<double>{0, 1, 0});
  CHECK(values(events.column("DER_deltaeta_jet_jet")) == std::vector<double>{0.0, 0.0, 0.5});
  CHECK(values(events.column("PRI_jet_leading_pt")) == std::vector<double>{0.0, 60.0, 80.0});
  CHECK_THAT(values(events.weights)[0], WithinRel(410999.84732 * 0.2, 1e-12));
  CHECK_THAT(values(events.weights)[1], WithinRel(691.98860771, 1e-12));
  HiggsmlOptions options;
  options.full_luminosity = false;
  options.undefined = -1.0;
  const TemporaryFile file("higgsml.csv", header() + k_rows);
  const EventBatch other = read_higgsml(file.path(), options);
  CHECK(values(other.weights) == std::vector<double>{0.5, 0.25, 2.0});
  CHECK(values(other.column("PRI_jet_subleading_eta")) == std::vector<double>{-1.0, -1.0, -1.0});
  CHECK(other.features.scalar_type() == at::kFloat);
  // Only what the scale moves was computed again, and jets that are not there did not matter.
  CHECK(values(other.column("DER_mass_jet_jet"))[2] == 90.0);
  CHECK(distance(other.column("DER_pt_tot"), three().column("DER_pt_tot")) < 1e-5);
}

TEST_CASE("HiggsML files that are wrong", "[experiments][higgsml]") {
  const auto fails = [](const std::string& text, const std::string& place,
                        const std::string& fragment) {
    const TemporaryFile file("higgsml.csv", text);
    check_fails(ErrorKind::io, file.path() + place, fragment,
                [&] { return read_higgsml(file.path()); });
  };
  const std::string good = header() + k_rows;
  fails(replaced(good, ",PRI_met_sumet", ",sumet"), ":1", "no column 'PRI_met_sumet'");
  fails(replaced(good, "21,1.5,-3.0", "-999,1.5,-3.0"), ":3",
        "the feature 'PRI_tau_pt' is undefined");
  fails(replaced(good, "60,1.0,0.7", "60,-999.0,0.7"), ":3",
        "the feature 'PRI_jet_leading_eta' is undefined");
  fails(replaced(good, "80,2.0,-0.7,35", "80,2.0,-0.7,"), ":4",
        "the feature 'PRI_jet_subleading_pt' is undefined");
  fails(replaced(good, "b,2.0,1.0", "x,2.0,1.0"), ":4", "the label 'x' (expected: b, s)");
  fails(replaced(good, "s,0.25,1.0", "b,0.25,1.0"), "", "no weight of signal to scale");
  fails(header(), "", "no weight of background to scale");
  check_fails(ErrorKind::io, "no/such/file.csv", "cannot be read",
              [] { return read_higgsml("no/such/file.csv"); });
}

TEST_CASE("features of a scaled tau", "[experiments][higgsml]") {
  const EventBatch events = three();
  const EventBatch moved =
      slalom::apply_variation(events, tau_energy_scale(0.05), at_theta(2.0));  // z = 1.1
  const auto value = [&](const char* name, std::size_t i) { return values(moved.column(name))[i]; };
  // The third event, by hand.
  const double tau = 1.1 * 70.0, tau_x = tau * std::cos(1.0), tau_y = tau * std::sin(1.0),
               tau_z = tau * std::sinh(-1.5), lep_x = 26 * std::cos(-1.0),
               lep_y = 26 * std::sin(-1.0), lep_z = 26 * std::sinh(-2.0),
               met_x = 10 * std::cos(0.2) - 7.0 * std::cos(1.0),
               met_y = 10 * std::sin(0.2) - 7.0 * std::sin(1.0), met = std::hypot(met_x, met_y);
  CHECK_THAT(value("PRI_tau_pt", 2), WithinRel(tau, 1e-12));
  CHECK_THAT(value("PRI_met", 2), WithinRel(met, 1e-12));
  CHECK_THAT(value("PRI_met_phi", 2), WithinRel(std::atan2(met_y, met_x), 1e-12));
  const double energy = std::sqrt(tau * tau + tau_z * tau_z + 0.64) + std::hypot(26.0, lep_z);
  CHECK_THAT(value("DER_mass_vis", 2),
             WithinRel(std::sqrt(energy * energy - std::pow(tau_x + lep_x, 2) -
                                 std::pow(tau_y + lep_y, 2) - std::pow(tau_z + lep_z, 2)),
                       1e-10));
  const double angle = -1.0 - std::atan2(met_y, met_x);
  CHECK_THAT(value("DER_mass_transverse_met_lep", 2),
             WithinRel(std::sqrt(2.0 * 26.0 * met * (1.0 - std::cos(angle))), 1e-10));
  CHECK_THAT(value("DER_pt_h", 2),
             WithinRel(std::hypot(tau_x + lep_x + met_x, tau_y + lep_y + met_y), 1e-12));
  const double all_x = tau_x + lep_x + met_x + 80 * std::cos(-0.7) + 35 * std::cos(2.2),
               all_y = tau_y + lep_y + met_y + 80 * std::sin(-0.7) + 35 * std::sin(2.2);
  CHECK_THAT(value("DER_pt_tot", 2), WithinRel(std::hypot(all_x, all_y), 1e-12));
  CHECK_THAT(value("DER_sum_pt", 2), WithinRel(tau + 26.0 + 115.0, 1e-12));
  CHECK_THAT(value("DER_pt_ratio_lep_tau", 2), WithinRel(26.0 / tau, 1e-12));
  // The centrality is sqrt(2) cos of the angle to the bisector, for perpendicular tau and lepton;
  // in general, the coordinates along both, each at least 0 between them.
  const double a = std::sin(std::atan2(met_y, met_x) + 1.0),
               b = std::sin(1.0 - std::atan2(met_y, met_x));
  CHECK_THAT(value("DER_met_phi_centrality", 2), WithinRel((a + b) / std::hypot(a, b), 1e-10));
  // pT of the Higgs boson and of everything stay; nine features change in all, or as many as are
  // not constant.
  std::set<std::string> changed;
  for (const std::string& name : events.columns) {
    if (distance(moved.column(name), events.column(name)) > 1e-9) changed.insert(name);
  }
  CHECK(changed == std::set<std::string>{"DER_mass_transverse_met_lep", "DER_mass_vis",
                                         "DER_met_phi_centrality", "DER_pt_ratio_lep_tau",
                                         "DER_sum_pt", "PRI_met", "PRI_met_phi", "PRI_tau_pt"});
}

TEST_CASE("derived features of jets", "[experiments][higgsml]") {
  const EventBatch derived = slalom::derive_higgsml(three(), -5.0);
  const auto check = [&](const char* name, double expected) {
    CAPTURE(name);
    CHECK(values(derived.column(name))[0] == -5.0);
    CHECK(values(derived.column(name))[1] == -5.0);
    CHECK_THAT(values(derived.column(name))[2], WithinRel(expected, 1e-10));
  };
  check("DER_deltaeta_jet_jet", 3.0);
  check("DER_prodeta_jet_jet", -2.0);
  check("DER_mass_jet_jet", std::sqrt(2.0 * 80.0 * 35.0 * (std::cosh(3.0) - std::cos(-0.7 - 2.2))));
  check("DER_lep_eta_centrality", std::exp(-4.0 / 9.0 * 2.5 * 2.5));
  CHECK_THAT(values(derived.column("DER_deltar_tau_lep"))[1],
             WithinRel(std::hypot(1.1, 6.0 - 2.0 * 3.14159265358979), 1e-10));
}

TEST_CASE("the energy scale has exact derivatives", "[experiments][higgsml]") {
  const EventBatch events = three();
  TauEnergyScaleOptions soft;
  soft.relative = 0.05;
  soft.threshold = 22.0;
  soft.slope = 2.0;
  for (const Variation& variation : {tau_energy_scale(0.05), tau_energy_scale(soft)}) {
    slalom::test::check_gradients(
        [&](const std::vector<Tensor>& inputs) {
          const EventBatch moved = slalom::apply_variation(events, variation, inputs[0]);
          return ((moved.features * 0.01).sin().sum(1) * moved.weights / 1e5).sum();
        },
        {at_theta(0.3)});
  }
  // And no NaN where vectors vanish: a missing momentum that the scale takes away.
  EventBatch degenerate = events.with_column("PRI_met", 0.0 * events.column("PRI_met"));
  const Tensor theta = at_theta(0.0).requires_grad_();
  slalom::apply_variation(degenerate, tau_energy_scale(), theta).features.sum().backward();
  CHECK(std::isfinite(theta.grad().item<double>()));
}

TEST_CASE("options of the energy scale", "[experiments][higgsml]") {
  const EventBatch events = three();
  TauEnergyScaleOptions options;
  options.threshold = 22.0;
  const auto weights = [&](double theta) {
    return values(
        slalom::apply_variation(events, tau_energy_scale(options), at_theta(theta)).weights /
        events.weights);
  };
  CHECK(weights(0.0) == std::vector<double>{1.0, 0.0, 1.0});  // p_T 30, 21, 70
  CHECK(weights(0.1) == std::vector<double>{1.0, 1.0, 1.0});
  CHECK(weights(-0.3) == std::vector<double>{0.0, 0.0, 1.0});
  options.slope = 3.0;
  CHECK_THAT(weights(0.0)[1], WithinRel(1.0 / (1.0 + std::exp(3.0)), 1e-12));
  check_fails(ErrorKind::usage, "tau_energy_scale", "zero or negative",
              [&] { return slalom::apply_variation(events, tau_energy_scale(), at_theta(-1.0)); });
  options.slope = -1.0;
  check_fails(ErrorKind::usage, "tau_energy_scale", "not negative",
              [&] { return tau_energy_scale(options); });
  check_fails(ErrorKind::usage, "tau_energy_scale", "must be finite",
              [&] { return tau_energy_scale(INFINITY); });
}

TEST_CASE("the published sample", "[experiments][higgsml]") {
  SLALOM_REQUIRE_DATA(k_data);
  HiggsmlOptions raw;
  raw.full_luminosity = raw.recompute = false;
  const EventBatch stored = sample(raw), events = sample();
  CHECK(events.size() == 22889);
  CHECK(events.of_process("signal").size() == 7817);
  CHECK(events.of_process("background").size() == 15072);
  CHECK_THAT(stored.of_process("signal").weights.sum().item<double>(), WithinAbs(19.833, 5e-4));
  CHECK_THAT(stored.of_process("background").weights.sum().item<double>(),
             WithinAbs(11424.25, 5e-3));
  CHECK_THAT(events.of_process("signal").weights.sum().item<double>(), WithinRel(691.98860771));
  CHECK_THAT(events.of_process("background").weights.sum().item<double>(), WithinRel(410999.84732));
  CHECK(at::isfinite(events.features).all().item<bool>());
}

TEST_CASE("recomputed features are those of the sample", "[experiments][higgsml]") {
  SLALOM_REQUIRE_DATA(k_data);
  HiggsmlOptions raw;
  raw.recompute = false;
  raw.float64 = true;
  const EventBatch stored = sample(raw), derived = slalom::derive_higgsml(stored);
  // Medians of |recomputed - stored| measured before on these rows, for events that have the
  // feature; half as much again is allowed. The sample has three decimals.
  const std::map<std::string, double> medians = {{"DER_mass_vis", 0.0086},
                                                 {"DER_mass_transverse_met_lep", 0.0047},
                                                 {"DER_pt_h", 0.0077},
                                                 {"DER_deltar_tau_lep", 3.5e-4},
                                                 {"DER_sum_pt", 1e-9},
                                                 {"DER_pt_ratio_lep_tau", 2.5e-4},
                                                 {"DER_met_phi_centrality", 3e-4},
                                                 {"DER_pt_tot", 0.011},
                                                 {"DER_mass_jet_jet", 1.3},
                                                 {"DER_deltaeta_jet_jet", 1e-9},
                                                 {"DER_prodeta_jet_jet", 5.2e-4},
                                                 {"DER_lep_eta_centrality", 2e-4}};
  const Tensor two = stored.column("PRI_jet_num") >= 2, all = two | ~two;
  for (const auto& [name, expected] : medians) {
    CAPTURE(name);
    const bool of_jets =
        name.find("jet_jet") != std::string::npos || name == "DER_lep_eta_centrality";
    const double found =
        median(masked(at::abs(derived.column(name) - stored.column(name)), of_jets ? two : all));
    CAPTURE(found);
    CHECK(found <= 1.5 * expected);
    CHECK(distance(derived.column(name), at::where(of_jets ? two : all, derived.column(name),
                                                   stored.column(name))) == 0.0);
  }
}

TEST_CASE("the energy scale on the sample", "[experiments][higgsml]") {
  SLALOM_REQUIRE_DATA(k_data);
  HiggsmlOptions options;
  options.float64 = true;
  const EventBatch events = sample(options);
  const EventBatch same = slalom::apply_variation(events, tau_energy_scale(), at_theta(0.0));
  CHECK(distance(same.features, events.features) < 1e-9);
  const EventBatch single = sample();
  const EventBatch again = slalom::apply_variation(single, tau_energy_scale(), at_theta(0.0));
  // float32: to the last digit or so of numbers up to 3000
  CHECK(distance(again.features, single.features) < 5e-4);
  TauEnergyScaleOptions cut;
  cut.threshold = slalom::k_higgsml_tau_threshold;
  const Variation scale = tau_energy_scale(cut);
  for (const auto& [theta, fraction] :
       {std::pair(-0.1, 0.7561), std::pair(0.0, 0.8777), std::pair(0.1, 1.0)}) {
    CAPTURE(theta);
    const EventBatch moved = slalom::apply_variation(events, scale, at_theta(theta));
    CHECK_THAT((moved.weights > 0.0).to(at::kDouble).mean().item<double>(),
               WithinAbs(fraction, 5e-5));
    CHECK(distance(moved.column("DER_pt_h"), events.column("DER_pt_h")) < 1e-4);
    CHECK(distance(moved.column("DER_pt_tot"), events.column("DER_pt_tot")) < 1e-4);
    CHECK(at::isfinite(moved.features).all().item<bool>());
  }
}

TEST_CASE("a scaled tau on a device", "[experiments][higgsml]") {
  const EventBatch events = three();
  slalom::test::on_second_devices([&](const at::Device& device) {
    slalom::test::compare(device, [&](const at::Device& there) {
      const Tensor theta = slalom::test::leaf(at_theta(0.7), there),
                   each = slalom::test::leaf(tensor({0.7, -0.4, 1.1}), there);
      const Variation scale = tau_energy_scale(0.05);
      std::vector<Tensor> result = slalom::test::with_gradients(
          slalom::apply_variation(events.to(there), scale, theta).features, {theta});
      const EventBatch moved = slalom::apply_variation(events.to(there), scale, each);
      for (const Tensor& t : slalom::test::with_gradients(moved.features, {each})) {
        result.push_back(t);
      }
      result.push_back(moved.weights.detach());
      return result;
    });
  });
}
