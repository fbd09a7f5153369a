// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/alternatives.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "slalom/core/json.hpp"
#include "slalom/core/workspace.hpp"
#include "text.hpp"
#include "workspace_document.hpp"

namespace slalom {

namespace {

using detail::in_quotes;
using detail::name_of;
using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;

/// Directions whose variance is a smaller part of the largest one are rounding errors.
constexpr double k_least_variance = 1e-12;

Eigen::Index index(std::size_t i) { return static_cast<Eigen::Index>(i); }

[[noreturn]] void refuse(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::usage, message, where);
}

double sum_of(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double v : values) sum += v;
  return sum;
}

bool is_named(const Json& item, const std::vector<std::string>& names) {
  return std::find(names.begin(), names.end(), name_of(item)) != names.end();
}

/// The item of that name. \throws Error (usage) that names the noun
Json& find(Json& list, const std::string& name, const std::string& noun, const std::string& where) {
  std::vector<std::string> names;
  for (Json& item : list) {
    if (name_of(item) == name) return item;
    names.push_back(name_of(item));
  }
  refuse("there is no " + noun + " " + in_quotes(name) + detail::suggestion(name, names), where);
}

/// One sample of the workspace with the yields of all simulations.
struct Mixed {
  Json* channel = nullptr;
  Json* sample = nullptr;
  std::vector<std::vector<double>> yields{};  // [K][n_bins], the workspace's own first
  std::size_t first = 0;                      // place of its first bin among those of the mixture
};

/// Makes mixtures of one document.
class Mixer {
 public:
  Mixer(const Json& document, const std::vector<Alternatives>& alternatives, Warnings* warnings)
      : alternatives_(alternatives), warnings_(warnings), result_(document) {}

  /// Centres first, since what is expected in a bin is the unit of all directions.
  Json run(std::vector<SampleMixture>* mixtures) {
    check_shared();
    for (std::size_t i = 0; i < alternatives_.size(); ++i) mixed_.push_back(collect(i));
    for (std::size_t i = 0; i < alternatives_.size(); ++i) replace(i);
    drop_configurations();
    for (std::size_t i = 0; i < alternatives_.size(); ++i) centre(i);
    for (std::size_t i = 0; i < alternatives_.size(); ++i) {
      SampleMixture mixture = vary(i);
      if (mixtures != nullptr) mixtures->push_back(std::move(mixture));
    }
    return std::move(result_);
  }

 private:
  static std::string place(std::size_t i, const std::string& more = {}) {
    return "/alternatives/" + std::to_string(i) + more;
  }
  static std::string sample_place(std::size_t i, std::size_t j, const std::string& more = {}) {
    return place(i, "/samples/" + std::to_string(j) + more);
  }
  static bool keeps_nominal(const Alternatives& a) {
    return !a.centre.empty() && a.centre == a.nominal;
  }

  void check_shared() const {
    std::map<std::pair<std::string, std::string>, std::size_t> owner;
    for (std::size_t i = 0; i < alternatives_.size(); ++i) {
      for (std::size_t j = 0; j < alternatives_[i].samples.size(); ++j) {
        const SimulatedSample& s = alternatives_[i].samples[j];
        const auto [at, added] = owner.insert({{s.channel, s.sample}, i});
        if (added || (keeps_nominal(alternatives_[i]) && keeps_nominal(alternatives_[at->second])))
          continue;
        refuse("sample " + in_quotes(s.sample) + " of channel " + in_quotes(s.channel) +
                   " is in alternatives " + in_quotes(alternatives_[at->second].name) +
                   " as well; this needs the workspace's own yields as the centre of both",
               sample_place(i, j));
      }
    }
  }

  std::vector<Mixed> collect(std::size_t i) {
    const Alternatives& a = alternatives_[i];
    std::vector<Mixed> result;
    std::size_t first = 0;
    for (std::size_t j = 0; j < a.samples.size(); ++j) {
      const SimulatedSample& s = a.samples[j];
      Mixed m;
      m.channel = &find(result_["channels"], s.channel, "channel", sample_place(i, j, "/channel"));
      m.sample = &find((*m.channel)["samples"], s.sample, "sample", sample_place(i, j, "/sample"));
      const auto own = (*m.sample)["data"].get<std::vector<double>>();
      if (s.yields.size() != a.simulations.size() || s.yields.empty()) {
        refuse("yields of " + std::to_string(s.yields.size()) + " simulations, expected " +
                   std::to_string(a.simulations.size()),
               sample_place(i, j));
      }
      for (std::size_t k = 0; k < s.yields.size(); ++k) {
        if (s.yields[k].size() == own.size()) continue;
        refuse(std::to_string(s.yields[k].size()) + " bins, but channel " + in_quotes(s.channel) +
                   " has " + std::to_string(own.size()),
               sample_place(i, j, "/simulations/" + a.simulations[k]));
      }
      m.yields = s.yields;
      if (!a.nominal.empty()) m.yields.insert(m.yields.begin(), own);
      m.first = first;
      first += own.size();
      result.push_back(std::move(m));
    }
    normalise(i, result);
    return result;
  }

  /// Totals as those of the workspace.
  void normalise(std::size_t i, std::vector<Mixed>& mixed) const {
    const Alternatives& a = alternatives_[i];
    if (a.normalise == Normalise::none) return;
    const auto same = [&](const Mixed& x, const Mixed& y) {
      return name_of(*x.sample) == name_of(*y.sample) &&
             (a.normalise == Normalise::sample || x.channel == y.channel);
    };
    const std::vector<Mixed> given = mixed;
    for (std::size_t j = 0; j < mixed.size(); ++j) {
      double own = 0.0;
      std::vector<double> total(given[j].yields.size(), 0.0);
      for (const Mixed& other : given) {
        if (!same(given[j], other)) continue;
        own += sum_of((*other.sample)["data"].get<std::vector<double>>());
        for (std::size_t k = 0; k < total.size(); ++k) total[k] += sum_of(other.yields[k]);
      }
      for (std::size_t k = 0; k < total.size(); ++k) {
        if (!(total[k] > 0.0) || !(own > 0.0)) {
          refuse("a total that is not above 0 cannot be normalised", sample_place(i, j));
        }
        for (double& y : mixed[j].yields[k]) y *= own / total[k];
      }
    }
  }

  void replace(std::size_t i) {
    const std::vector<std::string>& names = alternatives_[i].replaces;
    std::set<std::string> found;
    for (const Mixed& m : mixed_[i]) {
      Json kept = Json::array();
      for (const Json& modifier : (*m.sample)["modifiers"]) {
        if (is_named(modifier, names)) {
          found.insert(name_of(modifier));
        } else {
          kept.push_back(modifier);
        }
      }
      (*m.sample)["modifiers"] = std::move(kept);
    }
    for (std::size_t n = 0; n < names.size(); ++n) {
      if (found.contains(names[n])) continue;
      refuse("none of these samples has a modifier " + in_quotes(names[n]),
             place(i, "/replaces/" + std::to_string(n)));
    }
    replaced_.insert(names.begin(), names.end());
  }

  std::set<std::string> modifiers() const {
    std::set<std::string> names;
    for (const Json& channel : result_["channels"]) {
      for (const Json& sample : channel["samples"]) {
        for (const Json& modifier : sample["modifiers"]) names.insert(name_of(modifier));
      }
    }
    return names;
  }

  /// What is configured of parameters that are gone.
  void drop_configurations() {
    taken_ = modifiers();
    for (Json& measurement : result_["measurements"]) {
      Json& list = measurement["config"]["parameters"];
      Json kept = Json::array();
      for (const Json& config : list) {
        const std::string& name = name_of(config);
        if (replaced_.contains(name) && !taken_.contains(name)) continue;
        kept.push_back(config);
      }
      list = std::move(kept);
    }
    for (const Json& measurement : result_["measurements"]) {
      taken_.insert(measurement["config"]["poi"].get<std::string>());
      for (const Json& config : measurement["config"]["parameters"]) taken_.insert(name_of(config));
    }
  }

  /// Index of the centre among the simulations, or their number for the mean.
  std::size_t centre_of(const Alternatives& a) const {
    if (a.centre.empty()) return a.simulations.size() + (a.nominal.empty() ? 0 : 1);
    if (a.centre == a.nominal) return 0;
    const auto at = std::find(a.simulations.begin(), a.simulations.end(), a.centre);
    return static_cast<std::size_t>(at - a.simulations.begin()) + (a.nominal.empty() ? 0 : 1);
  }

  /// The yields of other variations of a bin, relative to nominal ones that change.
  static double follow(double varied, double before, double after) {
    return before != 0.0 ? varied * (after / before) : varied + after;
  }

  static void follow(Json& modifier, const std::vector<double>& before,
                     const std::vector<double>& after) {
    const std::string type = modifier["type"].get<std::string>();
    for (std::size_t b = 0; b < before.size(); ++b) {
      if (type == "histosys") {
        for (const char* side : {"hi_data", "lo_data"}) {
          Json& y = modifier["data"][side][b];
          y = follow(y.get<double>(), before[b], after[b]);
        }
      } else if ((type == "staterror" || type == "shapesys") && before[b] != 0.0) {
        Json& u = modifier["data"][b];
        u = u.get<double>() * std::abs(after[b] / before[b]);
      }
    }
  }

  void centre(std::size_t i) {
    const Alternatives& a = alternatives_[i];
    if (keeps_nominal(a)) return;
    const std::size_t at = centre_of(a);
    for (Mixed& m : mixed_[i]) {
      const auto before = (*m.sample)["data"].get<std::vector<double>>();
      std::vector<double> after(before.size(), 0.0);
      if (at < m.yields.size()) {
        after = m.yields[at];
      } else {
        for (const std::vector<double>& y : m.yields) {
          for (std::size_t b = 0; b < y.size(); ++b) after[b] += y[b];
        }
        for (double& y : after) y /= static_cast<double>(m.yields.size());
      }
      for (Json& modifier : (*m.sample)["modifiers"]) follow(modifier, before, after);
      (*m.sample)["data"] = after;
    }
  }

  /// Expected events in the bins of a channel at the nominal yields.
  static std::vector<double> expected(const Json& channel) {
    std::vector<double> total;
    for (const Json& sample : channel["samples"]) {
      const auto y = sample["data"].get<std::vector<double>>();
      total.resize(y.size(), 0.0);
      for (std::size_t b = 0; b < y.size(); ++b) total[b] += y[b];
    }
    return total;
  }

  /// Differences to the centre times their width [K * P], and the statistical error of each bin
  /// [P].
  void differences(std::size_t i, Matrix& difference, Vector& error) const {
    const std::size_t k = mixed_[i].front().yields.size();
    const Mixed& last = mixed_[i].back();
    const std::size_t points = last.first + last.yields.front().size();
    difference.resize(index(k), index(points));
    error.resize(index(points));
    for (const Mixed& m : mixed_[i]) {
      const auto nominal = (*m.sample)["data"].get<std::vector<double>>();
      const std::vector<double> total = expected(*m.channel);
      for (std::size_t b = 0; b < nominal.size(); ++b) {
        double largest = 0.0;
        for (std::size_t s = 0; s < k; ++s) {
          difference(index(s), index(m.first + b)) = m.yields[s][b] - nominal[b];
          largest = std::max(largest, std::abs(m.yields[s][b]));
        }
        // A bin in which nothing is expected has the error of what some simulation expects there.
        const double variance = total[b] > 0.0 ? total[b] : largest;
        error[index(m.first + b)] = variance > 0.0 ? std::sqrt(variance) : 1.0;
      }
    }
    const Alternatives& a = alternatives_[i];
    const double n = static_cast<double>(k);
    difference *= a.scale * std::sqrt((a.centre.empty() ? 1.0 + 1.0 / n : 1.0) / (n - 1.0));
  }

  SampleMixture vary(std::size_t i) {
    const Alternatives& a = alternatives_[i];
    Matrix difference;
    Vector error;
    differences(i, difference, error);
    const Matrix whitened = difference * error.cwiseInverse().asDiagonal();
    const Eigen::SelfAdjointEigenSolver<Matrix> solver(Matrix(whitened * whitened.transpose()));
    const Vector& variance = solver.eigenvalues();
    const Eigen::Index k = variance.size();
    if (!(variance[k - 1] > 1e-20 * static_cast<double>(error.size()))) {
      refuse("the simulations do not differ" +
                 std::string(a.normalise == Normalise::none ? "" : " once they are normalised"),
             place(i));
    }
    std::vector<Eigen::Index> kept;
    for (Eigen::Index d = k; d-- > 0 && variance[d] > k_least_variance * variance[k - 1];) {
      if (a.max_directions == 0 || kept.size() < a.max_directions) kept.push_back(d);
    }
    SampleMixture mixture = described(i, kept.size());
    const double width =
        a.scale * std::sqrt((a.centre.empty() ? 1.0 + 1.0 / static_cast<double>(k) : 1.0) /
                            static_cast<double>(k - 1));
    for (const Eigen::Index d : kept) {
      Vector v = solver.eigenvectors().col(d);
      Eigen::Index largest = 0;
      v.cwiseAbs().maxCoeff(&largest);
      if (v[largest] < 0.0) v = -v;  // the sign of an eigenvector is arbitrary; this is not
      MixtureDirection direction;
      direction.share = variance[d] / variance.cwiseMax(0.0).sum();
      direction.parameter = name_direction(i, mixture.directions.size(), kept.size());
      add_modifiers(i, direction.parameter, Vector(difference.transpose() * v));
      // Sum 0: about the mean the differences sum to nothing, and a centre has none of its own.
      if (a.centre.empty()) v.array() -= v.mean();
      direction.weights.resize(static_cast<std::size_t>(k));
      Eigen::Map<Vector>(direction.weights.data(), k) = width * v;
      if (!a.centre.empty()) {
        double& own = direction.weights[centre_of(a)];
        own = 0.0;
        own = -sum_of(direction.weights);
      }
      mixture.directions.push_back(std::move(direction));
    }
    warn_of_negative(i);
    return mixture;
  }

  SampleMixture described(std::size_t i, std::size_t directions) const {
    const Alternatives& a = alternatives_[i];
    SampleMixture mixture;
    mixture.name = a.name;
    if (!a.nominal.empty()) mixture.simulations.push_back(a.nominal);
    mixture.simulations.insert(mixture.simulations.end(), a.simulations.begin(),
                               a.simulations.end());
    const std::size_t k = mixture.simulations.size(), at = centre_of(a);
    mixture.base.assign(k, at < k ? 0.0 : 1.0 / static_cast<double>(k));
    if (at < k) mixture.base[at] = 1.0;
    mixture.complete = directions + 1 == k;
    return mixture;
  }

  std::string name_direction(std::size_t i, std::size_t d, std::size_t directions) {
    const std::string& name = alternatives_[i].name;
    std::string result = directions == 1 ? name : name + "_" + std::to_string(d + 1);
    if (!taken_.insert(result).second) {
      refuse("the name " + in_quotes(result) + " is taken", place(i, "/name"));
    }
    return result;
  }

  void add_modifiers(std::size_t i, const std::string& name, const Vector& effect) {
    for (const Mixed& m : mixed_[i]) {
      const auto nominal = (*m.sample)["data"].get<std::vector<double>>();
      std::vector<double> hi = nominal, lo = nominal;
      for (std::size_t b = 0; b < nominal.size(); ++b) {
        hi[b] += effect[index(m.first + b)];
        lo[b] -= effect[index(m.first + b)];
      }
      if (hi == nominal) continue;
      (*m.sample)["modifiers"].push_back(
          {{"name", name}, {"type", "histosys"}, {"data", {{"hi_data", hi}, {"lo_data", lo}}}});
      for (std::size_t b = 0; b < nominal.size(); ++b) {
        if (nominal[b] >= 0.0 && std::min(hi[b], lo[b]) < 0.0) ++negative_[m.sample];
      }
    }
  }

  void warn_of_negative(std::size_t i) {
    for (std::size_t j = 0; j < mixed_[i].size() && warnings_ != nullptr; ++j) {
      const auto found = negative_.find(mixed_[i][j].sample);
      if (found == negative_.end()) continue;
      warnings_->push_back({"yields of sample " + in_quotes(name_of(*mixed_[i][j].sample)) +
                                " in channel " + in_quotes(name_of(*mixed_[i][j].channel)) +
                                " are below 0 within one width of the prior (" +
                                std::to_string(found->second) + " bins and directions)",
                            sample_place(i, j)});
      negative_.erase(found);
    }
  }

  const std::vector<Alternatives>& alternatives_;
  Warnings* warnings_;
  Json result_;
  std::vector<std::vector<Mixed>> mixed_;  // per alternatives, per sample
  std::set<std::string> replaced_, taken_;
  std::map<const Json*, std::size_t> negative_;
};

}  // namespace

nlohmann::json mix(const nlohmann::json& document, const std::vector<Alternatives>& alternatives,
                   std::vector<SampleMixture>* mixtures, Warnings* warnings) {
  detail::check_workspace(document, "the workspace");
  if (alternatives.empty()) refuse("no alternatives", "/alternatives");
  Json result = Mixer(document, alternatives, warnings).run(mixtures);
  return detail::checked_result(std::move(result), "mix");
}

}  // namespace slalom
