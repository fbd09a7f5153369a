// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "slalom/core/hs3.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/model_spec.hpp"
#include "slalom/core/version.hpp"

namespace slalom {
namespace {

constexpr const char* k_hs3_version = "0.2";

std::string quoted(const std::string& text) { return "'" + text + "'"; }

[[noreturn]] void cannot(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::model, message + "; HS3 has no place for it", where);
}

/// Constraint terms that are not the usual ones of their modifier.
struct Constraint {
  double auxdata;
  double sigma;
  bool operator==(const Constraint&) const = default;
};

class Hs3Writer {
 public:
  Hs3Writer(const Workspace& workspace, const Hs3Options& options, Warnings* warnings)
      : workspace_(workspace), options_(options), warnings_(warnings) {}

  Json write() {
    choose_measurements();
    const ModelSpec& spec = specs_.front();
    constraints_ = unusual_constraints(spec);
    Json distributions = Json::array(), data = Json::array();
    for (const Channel& channel : workspace_.channels) {
      distributions.push_back(distribution(channel));
      data.push_back(observation(channel));
    }
    for (const auto& [name, constraint] : constraints_) {
      distributions.push_back({{"name", constraint_name(name)},
                               {"type", "gaussian_dist"},
                               {"x", name},
                               {"mean", constraint.auxdata},
                               {"sigma", constraint.sigma}});
    }
    Json document = {{"metadata", metadata()},
                     {"distributions", distributions},
                     {"data", data},
                     {"likelihoods", Json::array({likelihood()})},
                     {"domains", Json::array()},
                     {"parameter_points", Json::array()},
                     {"analyses", Json::array()}};
    for (std::size_t i = 0; i < specs_.size(); ++i) add_analysis(i, document);
    return document;
  }

 private:
  void warn(const std::string& message, const std::string& where) {
    if (warnings_ != nullptr) warnings_->push_back({message, where});
  }

  /// A background-only workspace names a parameter of interest that it does not have.
  ModelSpec spec_of(const Measurement& measurement) {
    ModelOptions options;
    options.measurement = measurement.name;
    options.poi = "";
    ModelSpec spec = make_model_spec(workspace_, options, warnings_);
    if (!measurement.poi.empty()) {
      spec.poi = spec.find(measurement.poi);
      if (!spec.poi) {
        warn("the parameter of interest " + quoted(measurement.poi) +
                 " is not in the model and is left out",
             measurement.name);
      }
    }
    return spec;
  }

  void choose_measurements() {
    if (!options_.analysis.empty()) {
      measurements_ = {&find_measurement(workspace_, options_.analysis)};
      specs_.push_back(spec_of(*measurements_.front()));
      return;
    }
    for (const Measurement& measurement : workspace_.measurements) {
      ModelSpec spec = spec_of(measurement);
      const bool same =
          specs_.empty() || unusual_constraints(spec) == unusual_constraints(specs_.front());
      if (!same) {
        warn("measurement left out: its constraint terms differ from those of the first one",
             measurement.name);
        continue;
      }
      measurements_.push_back(&measurement);
      specs_.push_back(std::move(spec));
    }
  }

  /// Gaussian constraints of scalars that are not N(0, 1), by name.
  static std::map<std::string, Constraint> unusual_constraints(const ModelSpec& spec) {
    std::map<std::string, Constraint> result;
    for (const ParameterSet& set : spec.sets) {
      const Parameter& p = spec.parameters[set.first];
      if (!set.scalar || p.constraint != ConstraintType::gaussian) continue;
      if (p.auxdata != 0.0 || p.sigma != 1.0) result[set.name] = {p.auxdata, p.sigma};
    }
    return result;
  }

  static std::string constraint_name(const std::string& parameter) {
    return parameter + "_constraint";
  }

  static Json metadata() {
    return {{"hs3_version", k_hs3_version},
            {"packages", Json::array({{{"name", "slalom"}, {"version", version()}}})}};
  }

  static Json axes(const Channel& channel) {
    const std::size_t n = channel.samples.front().data.size();
    return Json::array({{{"name", "obs_x_" + channel.name},
                         {"min", 0.0},
                         {"max", static_cast<double>(n)},
                         {"nbins", n}}});
  }

  Json observation(const Channel& channel) const {
    const auto found = std::find_if(workspace_.observations.begin(), workspace_.observations.end(),
                                    [&](const Observation& o) { return o.name == channel.name; });
    return {{"name", "obsData_" + channel.name},
            {"type", "binned"},
            {"axes", axes(channel)},
            {"contents", found->data}};
  }

  Json likelihood() const {
    Json distributions = Json::array(), data = Json::array(), auxiliary = Json::array();
    for (const Channel& channel : workspace_.channels) {
      distributions.push_back(channel.name);
      data.push_back("obsData_" + channel.name);
    }
    for (const auto& entry : constraints_) auxiliary.push_back(constraint_name(entry.first));
    Json result = {{"name", "likelihood"}, {"distributions", distributions}, {"data", data}};
    if (!auxiliary.empty()) result["aux_distributions"] = auxiliary;
    return result;
  }

  /// Parameters of a vector in one channel, and where they begin in the model.
  std::vector<std::string> component_names(const std::string& set, const Channel& channel,
                                           ModifierType type) const {
    const bool several =
        type == ModifierType::staterror && channels_with(set, ModifierType::staterror) > 1;
    std::vector<std::string> names;
    for (std::size_t b = 0; b < channel.samples.front().data.size(); ++b) {
      names.push_back("gamma_" + set + (several ? "_" + channel.name : "") + "_bin_" +
                      std::to_string(b));
    }
    return names;
  }

  static bool carries(const Sample& sample, const std::string& name, ModifierType type) {
    return std::any_of(sample.modifiers.begin(), sample.modifiers.end(),
                       [&](const Modifier& m) { return m.name == name && m.type == type; });
  }

  static std::size_t samples_with(const Channel& channel, const std::string& name,
                                  ModifierType type) {
    return static_cast<std::size_t>(
        std::count_if(channel.samples.begin(), channel.samples.end(),
                      [&](const Sample& s) { return carries(s, name, type); }));
  }

  std::size_t channels_with(const std::string& name, ModifierType type) const {
    return static_cast<std::size_t>(
        std::count_if(workspace_.channels.begin(), workspace_.channels.end(),
                      [&](const Channel& c) { return samples_with(c, name, type) > 0; }));
  }

  Json distribution(const Channel& channel) {
    std::set<std::string> staterrors;
    for (const Sample& sample : channel.samples) {
      for (const Modifier& m : sample.modifiers) {
        if (m.type == ModifierType::staterror) staterrors.insert(m.name);
      }
    }
    Json samples = Json::array();
    for (const Sample& sample : channel.samples) {
      samples.push_back(sample_json(channel, sample, staterrors.size() == 1));
    }
    return {{"name", channel.name},
            {"type", "histfactory_dist"},
            {"axes", axes(channel)},
            {"samples", samples},
            // ROOT looks here, other readers at the modifiers.
            {"staterror", {{"constraint_type", "Gauss"}, {"relThreshold", 0.0}}}};
  }

  Json sample_json(const Channel& channel, const Sample& sample, bool one_staterror) {
    std::vector<double> errors(sample.data.size(), 0.0);
    Json modifiers = Json::array();
    for (const Modifier& m : sample.modifiers) {
      if (m.type == ModifierType::staterror && one_staterror) errors = m.uncertainty;
      modifiers.push_back(modifier(channel, sample, m, one_staterror));
    }
    return {{"name", sample.name},
            {"data", {{"contents", sample.data}, {"errors", errors}}},
            {"modifiers", modifiers}};
  }

  Json modifier(const Channel& channel, const Sample& sample, const Modifier& m,
                bool one_staterror) {
    Json result = {{"name", m.name}, {"type", to_string(m.type)}};
    switch (m.type) {
      case ModifierType::histosys:
        result["parameter"] = m.name;
        result["data"] = {{"hi", {{"contents", contents(m.hi_data, sample)}}},
                          {"lo", {{"contents", contents(m.lo_data, sample)}}}};
        constrain(m.name, result);
        break;
      case ModifierType::normsys:
        result["parameter"] = m.name;
        result["data"] = {{"hi", m.hi}, {"lo", m.lo}};
        constrain(m.name, result);
        break;
      case ModifierType::lumi:
        result["type"] = "normfactor";
        result["parameter"] = m.name;
        result["constraint_name"] = constraint_name(m.name);
        break;
      case ModifierType::normfactor:
        result["parameter"] = m.name;
        break;
      case ModifierType::shapefactor:
        result["parameters"] = component_names(m.name, channel, m.type);
        break;
      case ModifierType::shapesys:
        result["parameters"] = component_names(m.name, channel, m.type);
        result["constraint"] = "Poisson";
        result["data"] = {{"vals", uncertainties(m, sample)}};
        break;
      case ModifierType::staterror:
        result["parameters"] = component_names(m.name, channel, m.type);
        result["constraint"] = "Gauss";
        if (!one_staterror) as_shapesys(channel, sample, m, result);
        break;
    }
    return result;
  }

  /// A channel has one staterror in HS3; others are written as shapesys with a Gaussian constraint.
  void as_shapesys(const Channel& channel, const Sample& sample, const Modifier& m,
                   Json& result) const {
    if (samples_with(channel, m.name, m.type) > 1) {
      cannot("channel " + quoted(channel.name) + " has several staterrors, and " + quoted(m.name) +
                 " belongs to several of its samples",
             channel.name);
    }
    result["type"] = "shapesys";
    result["data"] = {{"vals", uncertainties(m, sample)}};
  }

  void constrain(const std::string& name, Json& modifier) const {
    if (constraints_.contains(name)) {
      modifier["constraint_name"] = constraint_name(name);
    } else {
      modifier["constraint"] = "Gauss";
    }
  }

  std::vector<double> contents(const std::vector<double>& varied, const Sample& sample) const {
    std::vector<double> result = varied;
    if (options_.histosys == Hs3Variation::yields) return result;
    for (std::size_t b = 0; b < result.size(); ++b) result[b] -= sample.data[b];
    return result;
  }

  /// Bins without a yield or an uncertainty have no constraint, which is what 0 says.
  std::vector<double> uncertainties(const Modifier& m, const Sample& sample) const {
    std::vector<double> result;
    for (std::size_t b = 0; b < sample.data.size(); ++b) {
      const bool valid = sample.data[b] > 0.0 && m.uncertainty[b] > 0.0;
      const double unit = options_.shapesys == Hs3Uncertainty::relative ? sample.data[b] : 1.0;
      result.push_back(valid ? m.uncertainty[b] / unit : 0.0);
    }
    return result;
  }

  /// Names of all parameters in the model's order.
  std::vector<std::string> parameter_names(const ModelSpec& spec) const {
    std::vector<std::string> names(spec.parameters.size());
    for (const ParameterSet& set : spec.sets) {
      if (set.scalar) {
        names[set.first] = set.name;
        continue;
      }
      std::size_t next = set.first;
      for (const ChannelSpec& c : spec.channels) {  // in the order of the components
        const Channel& channel =
            *std::find_if(workspace_.channels.begin(), workspace_.channels.end(),
                          [&](const Channel& x) { return x.name == c.name; });
        if (samples_with(channel, set.name, set.type) == 0) continue;
        for (std::string& name : component_names(set.name, channel, set.type)) {
          if (next < set.first + set.size) names[next++] = std::move(name);
        }
      }
    }
    return names;
  }

  /// Components have the constraint that follows from the uncertainties, or there is no way to
  /// write it.
  void check_components(const Measurement& measurement, const ModelSpec& spec) const {
    for (const ParameterConfig& config : measurement.parameters) {
      const auto set = std::find_if(spec.sets.begin(), spec.sets.end(),
                                    [&](const ParameterSet& s) { return s.name == config.name; });
      if (set == spec.sets.end() || set->scalar) continue;
      if (config.auxdata || config.sigmas || config.factors) {
        cannot(
            "configured auxdata, sigmas or factors of the per-bin parameter " + quoted(config.name),
            measurement.name);
      }
    }
  }

  void add_analysis(std::size_t i, Json& document) {
    const ModelSpec& spec = specs_[i];
    const Measurement& measurement = *measurements_[i];
    check_components(measurement, spec);
    const std::vector<std::string> names = parameter_names(spec);
    std::set<std::string> freed;
    for (const ParameterConfig& config : measurement.parameters) {
      if (config.fixed && !*config.fixed) freed.insert(config.name);
    }
    Json axes = Json::array(), points = Json::array();
    for (const ParameterSet& set : spec.sets) {
      for (std::size_t p = set.first; p < set.first + set.size; ++p) {
        const Parameter& parameter = spec.parameters[p];
        axes.push_back({{"name", names[p]}, {"min", parameter.lower}, {"max", parameter.upper}});
        Json point = {{"name", names[p]}, {"value", parameter.init}};
        if (parameter.fixed) point["const"] = true;
        // Bins without uncertainty are held unless the workspace says otherwise.
        if (!parameter.fixed && !set.scalar && freed.contains(set.name)) point["const"] = false;
        points.push_back(std::move(point));
      }
    }
    const std::string name = measurement.name.empty() ? "analysis" : measurement.name;
    // ROOT insists on the names of the first ones.
    const std::string domain = i == 0 ? "default_domain" : name + "_domain";
    const std::string init = i == 0 ? "default_values" : name + "_values";
    document["domains"].push_back({{"name", domain}, {"type", "product_domain"}, {"axes", axes}});
    document["parameter_points"].push_back({{"name", init}, {"parameters", points}});
    Json analysis = {{"name", name},
                     {"likelihood", "likelihood"},
                     {"domains", Json::array({domain})},
                     {"init", init},
                     {"parameters_of_interest", Json::array()}};
    if (spec.poi) analysis["parameters_of_interest"].push_back(names[*spec.poi]);
    document["analyses"].push_back(std::move(analysis));
  }

  const Workspace& workspace_;
  const Hs3Options& options_;
  Warnings* warnings_;
  std::vector<const Measurement*> measurements_;
  std::vector<ModelSpec> specs_;
  std::map<std::string, Constraint> constraints_;
};

}  // namespace

nlohmann::json to_hs3(const Workspace& workspace, const Hs3Options& options, Warnings* warnings) {
  return Hs3Writer(workspace, options, warnings).write();
}

}  // namespace slalom
