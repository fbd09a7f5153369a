// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "place.hpp"
#include "slalom/core/hs3.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/model_spec.hpp"
#include "text.hpp"

namespace slalom {
namespace {

using detail::check_array;
using detail::in_quotes;
using detail::Place;
using detail::read_name;
using detail::read_number;
using detail::read_numbers;
using detail::read_string;

constexpr double k_unit_width = 1e-12;

/// Term that a modifier brings for its parameters.
enum class Term { none, gaussian, poisson, constant };

/// A modifier as it stands in the document.
struct RawModifier {
  std::size_t channel = 0, sample = 0;
  std::string pointer;
  std::string name;
  Modifier modifier;                    ///< without its final name
  std::vector<std::string> parameters;  ///< one, or one per bin
  Term term = Term::none;
  double auxdata = 0.0, sigma = 1.0;  ///< of a Gaussian term of one parameter
};

/// Values of one analysis.
struct Point {
  std::map<std::string, double> values;
  std::map<std::string, bool> held;  ///< only where the document says so
};

const Json* find(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

const Json& require(const Json& object, const char* key, const Place& place) {
  if (!object.is_object()) {
    place.fail(std::string("an object expected, found ") + detail::type_name(object));
  }
  const Json* found = find(object, key);
  if (found == nullptr) place.fail("missing key " + in_quotes(key));
  return *found;
}

/// Elements of a top-level array by name.
struct Component {
  const Json* value;
  std::size_t index;
};
using Components = std::map<std::string, Component>;

Components components(const Json& document, const char* key, const Place& root) {
  Components result;
  const Json* array = find(document, key);
  if (array == nullptr) return result;
  const Place place = root.at(key);
  check_array(*array, place, 0);
  for (std::size_t i = 0; i < array->size(); ++i) {
    const Place at_element = place.at(i);
    const std::string& name =
        read_name(require((*array)[i], "name", at_element), at_element.at("name"));
    if (!result.emplace(name, Component{&(*array)[i], i}).second) {
      at_element.at("name").fail("a second component named " + in_quotes(name));
    }
  }
  return result;
}

std::vector<std::string> read_names(const Json& value, const Place& place) {
  check_array(value, place, 0);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < value.size(); ++i) {
    names.push_back(read_string(value[i], place.at(i)));
  }
  return names;
}

std::vector<std::string> names_of(const Components& all) {
  std::vector<std::string> names;
  for (const auto& entry : all) names.push_back(entry.first);
  return names;
}

class Hs3Reader {
 public:
  Hs3Reader(const Json& document, const Hs3Options& options, Warnings* warnings)
      : document_(document), options_(options), warnings_(warnings), root_(ErrorKind::workspace) {}

  Workspace read() {
    if (!document_.is_object()) {
      root_.fail(std::string("an object expected, found ") + detail::type_name(document_));
    }
    distributions_ = components(document_, "distributions", root_);
    data_ = components(document_, "data", root_);
    likelihoods_ = components(document_, "likelihoods", root_);
    domains_ = components(document_, "domains", root_);
    points_ = components(document_, "parameter_points", root_);
    analyses_ = components(document_, "analyses", root_);
    if (distributions_.empty()) root_.fail("an HS3 document with 'distributions' expected");
    read_constants();
    read_likelihood();
    name_modifiers();
    place_modifiers();
    add_measurements();
    check_result();
    return std::move(workspace_);
  }

 private:
  void warn(const std::string& message, const std::string& where) {
    if (warnings_ != nullptr) warnings_->push_back({message, where});
  }

  const Component& lookup(const Components& all, const std::string& name, const char* what,
                          const Place& place) const {
    const auto found = all.find(name);
    if (found == all.end()) {
      place.fail(std::string("no ") + what + " named " + in_quotes(name) +
                 detail::suggestion(name, names_of(all)));
    }
    return found->second;
  }

  /// Analyses in use: the one that was asked for, or all.
  std::vector<const Json*> chosen_analyses() const {
    std::vector<const Json*> chosen;
    const Json* all = find(document_, "analyses");
    for (std::size_t i = 0; all != nullptr && i < all->size(); ++i) {
      const Json& analysis = (*all)[i];
      if (options_.analysis.empty() || analysis["name"] == options_.analysis) {
        chosen.push_back(&analysis);
      }
    }
    if (chosen.empty() && !options_.analysis.empty()) {
      root_.at("analyses")
          .fail("no analysis named " + in_quotes(options_.analysis) +
                detail::suggestion(options_.analysis, names_of(analyses_)));
    }
    return chosen;
  }

  std::size_t index_of(const Json* analysis) const {
    return static_cast<std::size_t>(analysis - &document_["analyses"][0]);
  }

  /// Values of parameters in any parameter point, for constraints that name what they need.
  void read_constants() {
    for (const auto& entry : points_) {
      const Point point = read_point(entry.first, root_.at("parameter_points"));
      constants_.insert(point.values.begin(), point.values.end());
    }
  }

  Point read_point(const std::string& name, const Place& asking) const {
    const Component& component = lookup(points_, name, "parameter point", asking);
    const Place list = root_.at("parameter_points");
    const Place place = list.at(component.index);
    Point point;
    const Json& parameters = require(*component.value, "parameters", place);
    const Place at_parameters = place.at("parameters");
    check_array(parameters, at_parameters, 0);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const Place at_entry = at_parameters.at(i);
      const Json& entry = parameters[i];
      const std::string& key = read_name(require(entry, "name", at_entry), at_entry.at("name"));
      point.values[key] = read_number(require(entry, "value", at_entry), at_entry.at("value"));
      const Json* held = find(entry, "const");
      if (held == nullptr) continue;
      if (!held->is_boolean()) at_entry.at("const").fail("true or false expected");
      point.held[key] = held->get<bool>();
    }
    return point;
  }

  void read_likelihood() {
    std::string name;
    for (const Json* analysis : chosen_analyses()) {
      const Place all = root_.at("analyses");
      const Place place = all.at(index_of(analysis));
      const std::string& used =
          read_string(require(*analysis, "likelihood", place), place.at("likelihood"));
      if (!name.empty() && used != name) {
        place.at("likelihood")
            .fail("the analyses use different likelihoods, " + in_quotes(name) + " and " +
                  in_quotes(used) + "; choose one analysis");
      }
      name = used;
    }
    if (name.empty()) {
      if (likelihoods_.size() != 1) {
        root_.fail("one likelihood or an analysis that names one expected");
      }
      name = likelihoods_.begin()->first;
    }
    const Component& likelihood = lookup(likelihoods_, name, "likelihood", root_.at("likelihoods"));
    const Place all = root_.at("likelihoods");
    read_channels(*likelihood.value, all.at(likelihood.index));
  }

  void read_channels(const Json& likelihood, const Place& place) {
    const Place at_distributions = place.at("distributions"), at_data = place.at("data");
    const std::vector<std::string> names =
        read_names(require(likelihood, "distributions", place), at_distributions);
    const Json& data = require(likelihood, "data", place);
    check_array(data, at_data, names.size());
    if (data.size() != names.size()) at_data.fail("one entry per distribution expected");
    for (std::size_t i = 0; i < names.size(); ++i) {
      const Component& d = lookup(distributions_, names[i], "distribution", at_distributions.at(i));
      const Place all = root_.at("distributions");
      const Place at_distribution = all.at(d.index);
      const std::string& type =
          read_string(require(*d.value, "type", at_distribution), at_distribution.at("type"));
      if (type == "gaussian_dist") continue;  // a constraint; its modifier names it
      if (type != "histfactory_dist" && type != "histfactory_yield") {
        at_distribution.at("type").fail("'histfactory_dist' expected, found " + in_quotes(type));
      }
      read_channel(names[i], *d.value, at_distribution);
      workspace_.observations.push_back(
          {names[i], read_data(data[i], at_data.at(i),
                               workspace_.channels.back().samples.front().data.size())});
    }
    if (workspace_.channels.empty()) at_distributions.fail("at least one channel expected");
  }

  std::vector<double> read_data(const Json& name, const Place& place, std::size_t n_bins) const {
    const Component& d = lookup(data_, read_string(name, place), "data", place);
    const Place all = root_.at("data");
    const Place at_data = all.at(d.index);
    if (require(*d.value, "type", at_data) != "binned") {
      at_data.at("type").fail("'binned' expected");
    }
    std::vector<double> contents =
        read_numbers(require(*d.value, "contents", at_data), at_data.at("contents"));
    if (contents.size() != n_bins) {
      at_data.at("contents")
          .fail(std::to_string(n_bins) + " bins expected, found " +
                std::to_string(contents.size()));
    }
    return contents;
  }

  void read_channel(const std::string& name, const Json& d, const Place& place) {
    const Json& samples = require(d, "samples", place);
    const Place at_samples = place.at("samples");
    check_array(samples, at_samples, 1);
    staterror_term_ = staterror_default(d, place);
    workspace_.channels.push_back({name, {}});
    for (std::size_t i = 0; i < samples.size(); ++i) read_sample(samples[i], at_samples.at(i));
  }

  /// ROOT says for a whole channel what the constraint of its staterror is.
  static std::optional<std::string> staterror_default(const Json& d, const Place& place) {
    const Json* settings = find(d, "staterror");
    if (settings == nullptr) return std::nullopt;
    const Place at_settings = place.at("staterror");
    if (!settings->is_object()) at_settings.fail("an object expected");
    const Json* type = find(*settings, "constraint_type");
    if (type == nullptr) type = find(*settings, "constraint");
    if (type == nullptr) return std::nullopt;
    return read_string(*type, at_settings.at("constraint_type"));
  }

  void read_sample(const Json& value, const Place& place) {
    const Json& data = require(value, "data", place);
    const Place at_data = place.at("data");
    Sample sample;
    Channel& channel = workspace_.channels.back();
    const Json* name = find(value, "name");
    sample.name = name != nullptr ? read_name(*name, place.at("name"))
                                  : "sample_" + std::to_string(channel.samples.size());
    sample.data = read_numbers(require(data, "contents", at_data), at_data.at("contents"));
    const std::size_t n = sample.data.size();
    if (!channel.samples.empty() && channel.samples.front().data.size() != n) {
      at_data.at("contents")
          .fail(std::to_string(channel.samples.front().data.size()) +
                " bins expected as in the first sample, found " + std::to_string(n));
    }
    std::vector<double> errors;
    if (const Json* given = find(data, "errors"); given != nullptr) {
      errors = read_numbers(*given, at_data.at("errors"));
      if (errors.size() != n) at_data.at("errors").fail(std::to_string(n) + " values expected");
    }
    channel.samples.push_back(sample);
    const Json* modifiers = find(value, "modifiers");
    if (modifiers == nullptr) return;
    const Place at_modifiers = place.at("modifiers");
    check_array(*modifiers, at_modifiers, 0);
    for (std::size_t i = 0; i < modifiers->size(); ++i) {
      read_modifier((*modifiers)[i], at_modifiers.at(i), errors);
    }
  }

  const Sample& sample_of(const RawModifier& raw) const {
    return workspace_.channels[raw.channel].samples[raw.sample];
  }

  void read_modifier(const Json& value, const Place& place, const std::vector<double>& errors) {
    RawModifier raw;
    raw.channel = workspace_.channels.size() - 1;
    raw.sample = workspace_.channels.back().samples.size() - 1;
    raw.pointer = place.pointer();
    const Place at_type = place.at("type");
    const std::string& type = read_string(require(value, "type", place), at_type);
    const std::optional<ModifierType> known = modifier_type(type);
    if (!known || *known == ModifierType::lumi) {
      at_type.fail(
          "a modifier of HistFactory expected (normfactor, normsys, histosys, "
          "shapefactor, shapesys, staterror), found " +
          in_quotes(type));
    }
    raw.modifier.type = *known;
    const Json* name = find(value, "name");
    if (name != nullptr) raw.name = read_name(*name, place.at("name"));
    switch (*known) {
      case ModifierType::normfactor:
      case ModifierType::lumi:
      case ModifierType::normsys:
      case ModifierType::histosys:
        read_scalar(value, place, raw);
        break;
      case ModifierType::shapefactor:
      case ModifierType::shapesys:
      case ModifierType::staterror:
        read_vector(value, place, errors, raw);
        break;
    }
    if (raw.name.empty()) raw.name = raw.parameters.front();
    raw_.push_back(std::move(raw));
  }

  void read_scalar(const Json& value, const Place& place, RawModifier& raw) {
    const Json* parameter = find(value, "parameter");
    if (parameter != nullptr) {
      raw.parameters = {read_name(*parameter, place.at("parameter"))};
    } else if (raw.name.empty()) {
      place.fail("missing key 'parameter'");
    } else {
      const bool factor = raw.modifier.type == ModifierType::normfactor;
      raw.parameters = {factor ? raw.name : "alpha_" + raw.name};
    }
    if (raw.modifier.type != ModifierType::normfactor) {
      const Json& data = require(value, "data", place);
      const Place at_data = place.at("data");
      if (raw.modifier.type == ModifierType::normsys) {
        raw.modifier.hi = read_number(require(data, "hi", at_data), at_data.at("hi"));
        raw.modifier.lo = read_number(require(data, "lo", at_data), at_data.at("lo"));
      } else {
        raw.modifier.hi_data = read_variation(data, "hi", at_data, raw);
        raw.modifier.lo_data = read_variation(data, "lo", at_data, raw);
      }
      check_interpolation(value, place);
    }
    read_scalar_term(value, place, raw);
  }

  std::vector<double> read_variation(const Json& data, const char* key, const Place& place,
                                     const RawModifier& raw) const {
    const Place at_key = place.at(key), at_contents = at_key.at("contents");
    std::vector<double> contents =
        read_numbers(require(require(data, key, place), "contents", at_key), at_contents);
    const std::vector<double>& nominal = sample_of(raw).data;
    if (contents.size() != nominal.size()) {
      at_contents.fail(std::to_string(nominal.size()) + " bins expected, found " +
                       std::to_string(contents.size()));
    }
    if (options_.histosys == Hs3Variation::differences) {
      for (std::size_t b = 0; b < contents.size(); ++b) contents[b] += nominal[b];
    }
    return contents;
  }

  /// A workspace does not say how to interpolate; the user chooses when the model is made.
  void check_interpolation(const Json& value, const Place& place) {
    const Json* code = find(value, "interpolation");
    const Json* data = find(value, "data");
    if (code == nullptr && data != nullptr) code = find(*data, "interpolation");
    if (code == nullptr) return;
    const bool usual = *code == "poly6" || *code == "code4" || *code == "code4p" || *code == 4;
    if (usual || interpolation_warned_) return;
    interpolation_warned_ = true;
    warn("interpolation " + code->dump() +
             " is not kept; choose the codes when the model is made (--normsys-code, "
             "--histosys-code)",
         place.pointer());
  }

  void read_scalar_term(const Json& value, const Place& place, RawModifier& raw) {
    const bool factor = raw.modifier.type == ModifierType::normfactor;
    raw.term = factor ? Term::none : Term::gaussian;
    for (const char* key : {"constraint_name", "constraint", "constraint_type"}) {
      const Json* given = find(value, key);
      if (given == nullptr || given->is_null()) continue;
      const Place at_key = place.at(key);
      const std::string& text = read_string(*given, at_key);
      if (const auto d = distributions_.find(text); d != distributions_.end()) {
        read_gaussian(d->second, raw);
      } else if (text == "Gauss" || text == "Gaussian") {
        raw.term = Term::gaussian;
        raw.auxdata = factor ? 1.0 : 0.0;
      } else if (text == "Const") {
        raw.term = Term::constant;
      } else {
        at_key.fail("'Gauss', 'Const' or a distribution expected, found " + in_quotes(text));
      }
      break;
    }
    const bool unit = std::abs(raw.sigma - 1.0) <= k_unit_width;
    if (!factor && raw.term == Term::gaussian && !unit) {
      place.fail("the constraint of " + in_quotes(raw.parameters.front()) + " has a width of " +
                 std::to_string(raw.sigma) + ", which a " + to_string(raw.modifier.type) +
                 " cannot have (1 expected)");
    }
  }

  /// A Gaussian of the parameter around a number; which of both is called x does not matter.
  void read_gaussian(const Component& component, RawModifier& raw) const {
    const Place all = root_.at("distributions");
    const Place place = all.at(component.index);
    const Json& d = *component.value;
    if (require(d, "type", place) != "gaussian_dist") {
      place.at("type").fail("a constraint that is a 'gaussian_dist' expected");
    }
    const std::string& parameter = raw.parameters.front();
    const Json& x = require(d, "x", place);
    const Json& mean = require(d, "mean", place);
    const bool x_is_parameter = x.is_string() && x.get_ref<const std::string&>() == parameter;
    if (!x_is_parameter && mean != parameter) {
      place.fail("a constraint of " + in_quotes(parameter) + " expected");
    }
    const char* other = x_is_parameter ? "mean" : "x";
    raw.term = Term::gaussian;
    raw.auxdata = constant(d[other], place.at(other));
    raw.sigma = constant(require(d, "sigma", place), place.at("sigma"));
    if (!(raw.sigma > 0.0)) place.at("sigma").fail("a number above 0 expected");
  }

  double constant(const Json& value, const Place& place) const {
    if (!value.is_string()) return read_number(value, place);
    const auto found = constants_.find(value.get_ref<const std::string&>());
    if (found == constants_.end()) {
      place.fail("a number or a parameter with a value expected, found " +
                 in_quotes(value.get_ref<const std::string&>()));
    }
    return found->second;
  }

  void read_vector(const Json& value, const Place& place, const std::vector<double>& errors,
                   RawModifier& raw) {
    const Sample& sample = sample_of(raw);
    const std::size_t n = sample.data.size();
    if (const Json* parameters = find(value, "parameters"); parameters != nullptr) {
      const Place at_parameters = place.at("parameters");
      raw.parameters = read_names(*parameters, at_parameters);
      if (raw.parameters.size() != n) {
        at_parameters.fail(std::to_string(n) + " names expected, one per bin, found " +
                           std::to_string(raw.parameters.size()));
      }
    }
    const bool staterror = raw.modifier.type == ModifierType::staterror;
    const std::string& channel = workspace_.channels.back().name;
    if (raw.name.empty()) raw.name = staterror ? "staterror_" + channel : "";
    if (raw.parameters.empty() && raw.name.empty()) place.fail("missing key 'parameters'");
    for (std::size_t b = raw.parameters.size(); b < n; ++b) {
      raw.parameters.push_back("gamma_" + (staterror ? "stat_" + channel : raw.name) + "_bin_" +
                               std::to_string(b));
    }
    if (raw.modifier.type == ModifierType::shapefactor) return;
    raw.term = vector_term(value, place, staterror);
    if (raw.term == Term::constant) {
      place.fail("a per-bin factor that is held is not in pyhf's HistFactory; leave it out");
    }
    if (staterror) {
      if (errors.empty()) place.fail("a staterror needs the 'errors' of its sample's data");
      raw.modifier.uncertainty = errors;
    } else {
      raw.modifier.uncertainty = read_uncertainties(value, place, sample);
    }
  }

  Term vector_term(const Json& value, const Place& place, bool staterror) const {
    std::string text = staterror ? staterror_term_.value_or("Poisson") : "Poisson";
    if (find(value, "constraints") != nullptr) {
      place.at("constraints").fail("constraints of single bins are not supported");
    }
    for (const char* key : {"constraint_type", "constraint"}) {
      if (const Json* given = find(value, key); given != nullptr && !given->is_null()) {
        text = read_string(*given, place.at(key));
        break;
      }
    }
    if (text == "Poisson") return Term::poisson;
    if (text == "Gauss" || text == "Gaussian") return Term::gaussian;
    if (text == "Const") return Term::constant;
    place.fail("constraint 'Gauss' or 'Poisson' expected, found " + in_quotes(text));
  }

  std::vector<double> read_uncertainties(const Json& value, const Place& place,
                                         const Sample& sample) const {
    const Place at_data = place.at("data");
    std::vector<double> vals =
        read_numbers(require(require(value, "data", place), "vals", at_data), at_data.at("vals"));
    if (vals.size() != sample.data.size()) {
      at_data.at("vals").fail(std::to_string(sample.data.size()) + " values expected, found " +
                              std::to_string(vals.size()));
    }
    if (options_.shapesys == Hs3Uncertainty::relative) {
      for (std::size_t b = 0; b < vals.size(); ++b) vals[b] *= sample.data[b];
    }
    return vals;
  }

  /// Names as pyhf needs them: one name, one set of parameters.
  void name_modifiers() {
    settle_vector_types();
    std::map<std::string, std::set<std::string>> parameters_of_name;
    std::map<std::string, std::set<std::string>> names_of_parameter;
    for (const RawModifier& raw : raw_) {
      if (raw.parameters.size() != 1 || is_vector(raw)) continue;
      parameters_of_name[raw.name].insert(raw.parameters.front());
      names_of_parameter[raw.parameters.front()].insert(raw.name);
    }
    for (RawModifier& raw : raw_) {
      if (is_vector(raw)) continue;
      const std::string& parameter = raw.parameters.front();
      const bool clear =
          parameters_of_name[raw.name].size() == 1 && names_of_parameter[parameter].size() == 1;
      raw.modifier.name = clear ? raw.name : parameter;
    }
    name_lumi();
    name_vectors();
  }

  static bool is_vector(const RawModifier& raw) {
    return raw.modifier.type == ModifierType::shapefactor ||
           raw.modifier.type == ModifierType::shapesys ||
           raw.modifier.type == ModifierType::staterror;
  }

  /// pyhf's staterror is Gaussian and its shapesys Poisson: a modifier of one sample can become the
  /// one that it is.
  void settle_vector_types() {
    for (RawModifier& raw : raw_) {
      if (raw.modifier.type == ModifierType::shapesys && raw.term == Term::gaussian) {
        raw.modifier.type = ModifierType::staterror;
      } else if (raw.modifier.type == ModifierType::staterror && raw.term == Term::poisson) {
        settle_poisson_staterror(raw);
      }
    }
  }

  void settle_poisson_staterror(RawModifier& raw) {
    const auto sharing = std::count_if(raw_.begin(), raw_.end(), [&](const RawModifier& other) {
      return is_vector(other) && other.parameters == raw.parameters;
    });
    if (sharing == 1) {
      raw.modifier.type = ModifierType::shapesys;
      return;
    }
    if (!options_.gaussian_staterror) {
      throw Error(ErrorKind::workspace,
                  "a staterror of several samples with a Poisson constraint is not in pyhf's "
                  "HistFactory; it can be made Gaussian on request (--gaussian-staterror)",
                  raw.pointer);
    }
    warn("the Poisson constraint of a staterror became a Gaussian one of the same width",
         raw.pointer);
  }

  void name_lumi() {
    std::string constrained;
    for (RawModifier& raw : raw_) {
      if (raw.modifier.type != ModifierType::normfactor || raw.term != Term::gaussian) continue;
      const std::string& parameter = raw.parameters.front();
      if (!constrained.empty() && constrained != parameter) {
        throw Error(ErrorKind::workspace,
                    "a second normfactor with a Gaussian constraint (the first is " +
                        in_quotes(constrained) + "); pyhf's HistFactory has only 'lumi'",
                    raw.pointer);
      }
      if (constrained.empty() && parameter != "lumi") {
        warn("parameter " + in_quotes(parameter) + " is called 'lumi', as pyhf asks", raw.pointer);
      }
      constrained = parameter;
      lumi_ = {parameter, raw.auxdata, raw.sigma};
    }
    if (constrained.empty()) return;
    for (RawModifier& raw : raw_) {
      if (is_vector(raw) || raw.parameters.front() != constrained) continue;
      raw.modifier.type = ModifierType::lumi;
      raw.modifier.name = "lumi";
    }
  }

  /// A name that several sets of parameters have gets the channel (and sample) appended.
  void name_vectors() {
    std::map<std::string, std::set<std::string>> keys;
    for (const RawModifier& raw : raw_) {
      if (is_vector(raw)) keys[raw.name].insert(key_of(raw));
    }
    for (RawModifier& raw : raw_) {
      if (!is_vector(raw)) continue;
      const Channel& channel = workspace_.channels[raw.channel];
      raw.modifier.name = raw.name;
      if (keys[raw.name].size() > 1 && !same_samples_everywhere(raw)) {
        raw.modifier.name += "_" + channel.name;
        if (raw.modifier.type == ModifierType::shapesys) {
          raw.modifier.name += "_" + channel.samples[raw.sample].name;
        }
      }
    }
  }

  /// A shapefactor may be shared by channels of different sizes, which use its first parameters.
  static std::string key_of(const RawModifier& raw) {
    std::string key = to_string(raw.modifier.type);
    if (raw.modifier.type == ModifierType::shapefactor) return key + "\n" + raw.parameters.front();
    for (const std::string& parameter : raw.parameters) key += "\n" + parameter;
    return key;
  }

  /// One staterror of pyhf may span channels if the same samples carry it in all of them.
  bool same_samples_everywhere(const RawModifier& raw) const {
    if (raw.modifier.type != ModifierType::staterror) return false;
    std::map<std::string, std::set<std::size_t>> channels_of_sample;
    std::map<std::size_t, std::set<std::string>> keys_of_channel;
    for (const RawModifier& other : raw_) {
      if (!is_vector(other) || other.name != raw.name) continue;
      if (other.modifier.type != ModifierType::staterror) return false;
      channels_of_sample[sample_of(other).name].insert(other.channel);
      keys_of_channel[other.channel].insert(key_of(other));
    }
    for (const auto& entry : channels_of_sample) {
      if (entry.second != channels_of_sample.begin()->second) return false;
    }
    return std::all_of(keys_of_channel.begin(), keys_of_channel.end(),
                       [](const auto& entry) { return entry.second.size() == 1; });
  }

  void place_modifiers() {
    for (RawModifier& raw : raw_) {
      components_[{raw.modifier.name, workspace_.channels[raw.channel].name}] = raw.parameters;
      Channel& channel = workspace_.channels[raw.channel];
      channel.samples[raw.sample].modifiers.push_back(raw.modifier);
    }
  }

  /// Names in the document of all parameters of a set, in pyhf's order.
  std::vector<std::string> component_names(const ModelSpec& spec, const ParameterSet& set) const {
    std::vector<std::string> names;
    for (const ChannelSpec& channel : spec.channels) {
      const auto found = components_.find({set.name, channel.name});
      if (found == components_.end() || names.size() >= set.size) continue;
      names.insert(names.end(), found->second.begin(), found->second.end());
    }
    names.resize(set.size);
    return names;
  }

  ParameterConfig lumi_config() const {
    ParameterConfig config;
    config.name = "lumi";
    config.inits = {lumi_.auxdata};
    config.bounds = {{{0.0, 10.0 * lumi_.auxdata}}};
    config.auxdata = {lumi_.auxdata};
    config.sigmas = {lumi_.sigma};
    return config;
  }

  void add_measurements() {
    Measurement bare{"bare", "", {}};
    if (!lumi_.parameter.empty()) bare.parameters.push_back(lumi_config());
    workspace_.measurements = {bare};
    const ModelSpec spec = make_model_spec(workspace_);
    workspace_.measurements.clear();
    const std::vector<const Json*> analyses = chosen_analyses();
    for (const Json* analysis : analyses) add_measurement(*analysis, spec);
    if (analyses.empty()) {
      bare.name = "measurement";
      workspace_.measurements = {bare};
    }
  }

  void add_measurement(const Json& analysis, const ModelSpec& spec) {
    const Place all = root_.at("analyses");
    const Place place = all.at(index_of(&analysis));
    Measurement measurement;
    measurement.name = read_string(require(analysis, "name", place), place.at("name"));
    Point point;
    if (const Json* init = find(analysis, "init"); init != nullptr) {
      point = read_point(read_string(*init, place.at("init")), place.at("init"));
    }
    const auto bounds = read_bounds(analysis, place);
    for (const ParameterSet& set : spec.sets) add_config(spec, set, point, bounds, measurement);
    measurement.poi = read_poi(analysis, place, spec);
    workspace_.measurements.push_back(std::move(measurement));
  }

  std::map<std::string, std::pair<double, double>> read_bounds(const Json& analysis,
                                                               const Place& place) const {
    std::vector<std::string> names;
    if (const Json* domain = find(analysis, "domain"); domain != nullptr) {
      names.push_back(read_string(*domain, place.at("domain")));
    }
    if (const Json* domains = find(analysis, "domains"); domains != nullptr) {
      for (std::string& name : read_names(*domains, place.at("domains"))) {
        names.push_back(std::move(name));
      }
    }
    std::map<std::string, std::pair<double, double>> bounds;
    for (const std::string& name : names) {
      const Component& domain = lookup(domains_, name, "domain", place.at("domains"));
      const Place all = root_.at("domains");
      const Place at_domain = all.at(domain.index), at_axes = at_domain.at("axes");
      const Json& axes = require(*domain.value, "axes", at_domain);
      check_array(axes, at_axes, 0);
      for (std::size_t i = 0; i < axes.size(); ++i) {
        const Place at_axis = at_axes.at(i);
        const std::string& key = read_name(require(axes[i], "name", at_axis), at_axis.at("name"));
        const Json* low = find(axes[i], "min");
        const Json* high = find(axes[i], "max");
        if (low == nullptr || high == nullptr) continue;  // a constant, or without a bound
        bounds[key] = {read_number(*low, at_axis.at("min")), read_number(*high, at_axis.at("max"))};
      }
    }
    return bounds;
  }

  std::string read_poi(const Json& analysis, const Place& place, const ModelSpec& spec) {
    const Json* given = find(analysis, "parameters_of_interest");
    if (given == nullptr) return "";
    const Place at_pois = place.at("parameters_of_interest");
    const std::vector<std::string> pois = read_names(*given, at_pois);
    if (pois.empty()) return "";
    if (pois.size() > 1) {
      warn("of several parameters of interest " + in_quotes(pois.front()) + " is kept",
           at_pois.pointer());
    }
    for (const ParameterSet& set : spec.sets) {
      if (component_names(spec, set).front() == pois.front()) return set.name;
    }
    at_pois.at(0).fail("no modifier has the parameter " + in_quotes(pois.front()));
  }

  /// What the document says of a set of parameters and pyhf would not assume.
  void add_config(const ModelSpec& spec, const ParameterSet& set, const Point& point,
                  const std::map<std::string, std::pair<double, double>>& bounds,
                  Measurement& measurement) const {
    const std::vector<std::string> names = component_names(spec, set);
    ParameterConfig config;
    config.name = set.name;
    if (set.type == ModifierType::lumi) config = lumi_config();
    std::vector<double> inits;
    std::vector<std::pair<double, double>> limits;
    bool other_inits = false, other_limits = false;
    for (std::size_t i = 0; i < set.size; ++i) {
      const Parameter& p = spec.parameters[set.first + i];
      const auto value = point.values.find(names[i]);
      inits.push_back(value == point.values.end() ? p.init : value->second);
      const auto limit = bounds.find(names[i]);
      limits.push_back(limit == bounds.end() ? std::pair(p.lower, p.upper) : limit->second);
      other_inits = other_inits || inits.back() != p.init;
      other_limits = other_limits || limits.back() != std::pair(p.lower, p.upper);
    }
    if (other_inits) config.inits = inits;
    if (other_limits) config.bounds = limits;
    config.fixed = fixed_flag(spec, set, names, point);
    if (const double auxdata = alpha_auxdata(set.name); auxdata != 0.0) config.auxdata = {auxdata};
    const bool anything = config.inits || config.bounds || config.fixed || config.auxdata;
    if (anything) measurement.parameters.push_back(std::move(config));
  }

  double alpha_auxdata(const std::string& name) const {
    for (const RawModifier& raw : raw_) {
      const bool alpha =
          raw.modifier.type == ModifierType::normsys || raw.modifier.type == ModifierType::histosys;
      if (alpha && raw.modifier.name == name && raw.auxdata != 0.0) return raw.auxdata;
    }
    return 0.0;
  }

  /// pyhf holds whole sets; bins without uncertainty it holds by itself.
  std::optional<bool> fixed_flag(const ModelSpec& spec, const ParameterSet& set,
                                 const std::vector<std::string>& names, const Point& point) const {
    std::size_t held = 0, by_itself = 0, differ = 0, freed = 0;
    for (std::size_t i = 0; i < set.size; ++i) {
      const bool automatic = spec.parameters[set.first + i].fixed;
      const auto said = point.held.find(names[i]);
      const bool now = said == point.held.end() ? automatic : said->second;
      held += now ? 1 : 0;
      by_itself += automatic ? 1 : 0;
      differ += now != automatic ? 1 : 0;
      freed += automatic && !now ? 1 : 0;
    }
    if (differ == 0) return constant_set(set.name) ? std::optional(true) : std::nullopt;
    if (held == set.size) return true;
    if (held == 0 && freed > 0) return false;
    throw Error(ErrorKind::workspace,
                std::to_string(held) + " of " + std::to_string(set.size) + " components of " +
                    in_quotes(set.name) + " are const; pyhf holds all of them or none",
                "/parameter_points");
  }

  bool constant_set(const std::string& name) const {
    return std::any_of(raw_.begin(), raw_.end(), [&](const RawModifier& raw) {
      return raw.modifier.name == name && raw.term == Term::constant;
    });
  }

  /// The rules of workspaces hold for what was read, too.
  void check_result() {
    workspace_ = parse_workspace(to_json(workspace_), warnings_);
    for (const Measurement& measurement : workspace_.measurements) {
      ModelOptions options;
      options.measurement = measurement.name;
      make_model_spec(workspace_, options);
    }
  }

  struct Lumi {
    std::string parameter;
    double auxdata = 1.0, sigma = 1.0;
  };

  const Json& document_;
  const Hs3Options& options_;
  Warnings* warnings_;
  Place root_;
  Components distributions_, data_, likelihoods_, domains_, points_, analyses_;
  std::map<std::string, double> constants_;
  std::optional<std::string> staterror_term_;
  bool interpolation_warned_ = false;
  std::vector<RawModifier> raw_;
  Lumi lumi_;
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> components_;
  Workspace workspace_;
};

}  // namespace

Workspace from_hs3(const nlohmann::json& document, const Hs3Options& options, Warnings* warnings) {
  return Hs3Reader(document, options, warnings).read();
}

}  // namespace slalom
