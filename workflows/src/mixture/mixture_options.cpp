// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/mixture_options.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <set>

#include "cli/suggest.hpp"
#include "experiment/documents.hpp"
#include "slalom/core/error.hpp"

namespace slalom {

namespace {

using experiment::seed_field;
constexpr const char* k_kind = "mixture";
constexpr const char* k_problem = "biased_gaussians";
const std::vector<std::string> k_truths{"target", "held_out"};
const std::vector<std::string> k_densities{"exact", "binned"};
const std::vector<std::string> k_families{"exponential", "linear", "topics"};
const std::vector<std::string> k_priors{"ridge", "population", "dirichlet"};
const std::vector<std::string> k_shrinkages{"none", "oas", "ledoit_wolf"};
const std::vector<std::string> k_topics{"nmf", "lda"};
const std::vector<std::string> k_errors{"laplace", "sandwich", "profile", "marginal", "hmc"};

constexpr Limits k_counts{.low = 1.0, .high = 1e9};
constexpr Limits k_counts_or_none{.low = 0.0, .high = 1e9};
constexpr Limits k_probability{.low = 0.0, .high = 1.0, .above = true, .below = true};

[[noreturn]] void fail(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::usage, message, where);
}

void data_fields(Fields& f, MixtureDataOptions& data) {
  f.text("problem", data.problem, "built-in problem; empty: files");
  f.text(
      "signal_pairs", data.signal_pairs,
      "problem: CSV file of its signal simulations (mean0, mean1, cov00, cov01, cov11), relative "
      "to this document; empty: drawn");
  f.text("background_pairs", data.background_pairs, "problem: likewise, of the background");
  f.integer("pairs", data.pairs, "problem: simulations that are drawn", k_counts);
  f.integer("simulated", data.simulated,
            "problem: events of each simulation of each process, for histograms", k_counts);
  f.text("templates", data.templates, "CSV file with a histogram in each column");
  f.texts("signal", data.signal, "signal simulations: columns of templates, or files of events");
  f.texts("background", data.background, "background simulations, as many");
  f.text("true_signal", data.true_signal,
         "column or file with the signal that data are drawn from, for truth = target");
  f.text("true_background", data.true_background, "likewise, of the background");
  f.text("observed", data.observed, "column of counts or file of events; empty: drawn");
  f.texts("features", data.features, "event files: columns that are binned");
  f.text("weight", data.weight,
         "event files: column with the weights of simulated events; empty: 1 each");
  f.numbers("low", data.low, "lower end of each feature; events outside take no part");
  f.numbers("high", data.high, "upper end of each feature");
  f.integers("bins", data.bins, "along each axis; one number for all of them",
             {.low = 1.0, .high = 1e4});
  f.number("epsilon", data.epsilon, "added to the share of each bin of histograms",
           {.low = 0.0, .high = 1.0});
  f.choice("truth", data.truth, k_truths,
           "what data are drawn from: the target, or a simulation that the mixture does not have");
  f.number("distance", data.distance,
           "held_out: factor on its distance from the mean of the simulations",
           {.low = 0.0, .high = 10.0});
  f.integer("signal_events", data.signal_events, "of each data set that is drawn",
            k_counts_or_none);
  f.integer("background_events", data.background_events, "of each data set that is drawn",
            k_counts_or_none);
  seed_field(f, "seed", data.seed, "of simulations and data");
}

void topics_fields(Fields& f, MixtureTopicsOptions& topics) {
  f.choice("method", topics.method, k_topics,
           "non-negative matrix factorisation, or latent Dirichlet allocation");
  f.integer("count", topics.count, "of each process", k_counts);
  f.integer("starts", topics.starts, "of which the best is taken", k_counts);
  f.integer("iterations", topics.iterations, "at most", k_counts);
}

void model_fields(Fields& f, MixtureModelOptions& mixture) {
  f.choice("family", mixture.family, k_families,
           "product of powers of simulations, sum of them, or sum of their topics");
  f.choice("prior", mixture.prior, k_priors,
           "exponential: ridge on weights, or the population of natural parameters; otherwise "
           "dirichlet");
  f.integer("simulations", mixture.simulations, "K, drawn of all there are; 0: all",
            k_counts_or_none);
  f.number("strength", mixture.strength,
           "ridge: lambda; population: factor on widths; dirichlet: concentration, at least 1",
           k_positive);
  f.choice("shrinkage", mixture.shrinkage, k_shrinkages, "population: of the covariance");
  f.flag("student", mixture.student, "population: Student's t");
  f.integer("directions", mixture.directions, "population: at most; 0: all there are",
            k_counts_or_none);
  f.object("topics", "family topics", [&](Fields& g) { topics_fields(g, mixture.topics); });
  f.number("kappa_low", mixture.kappa_low, "lower bound of the signal fraction");
  f.number("kappa_high", mixture.kappa_high, "upper bound of the signal fraction");
}

void error_fields(Fields& f, MixtureErrorOptions& error) {
  f.choice("type", error.type, k_errors, "where quoted intervals come from");
  f.integer("points", error.points, "marginal: of the grid", {.low = 3.0, .high = 1e5});
  f.number("range", error.range, "marginal: of the grid, in Laplace errors", k_positive);
  f.integer("chains", error.chains, "hmc", {.low = 1.0, .high = 1e3});
  f.integer("warmup", error.warmup, "hmc: draws that are dropped", k_counts);
  f.integer("draws", error.draws, "hmc: of each chain", {.low = 4.0, .high = 1e7});
}

void leave_one_out_fields(Fields& f, LeaveOneOutRunOptions& run) {
  f.flag("enabled", run.enabled, "make each simulation of the fit the truth in turn");
  f.integers("simulations", run.simulations, "K to try; empty: all that are left", k_counts);
  f.numbers("strengths", run.strengths, "of the prior to try; empty: that of the mixture",
            k_positive);
  f.integer("toys", run.toys, "data sets of each truth", k_counts);
}

void toys_fields(Fields& f, MixtureToysRunOptions& toys) {
  f.flag("enabled", toys.enabled, "run them");
  f.integer("draws", toys.draws, "of simulations", k_counts);
  f.integer("toys", toys.toys, "data sets of each draw", k_counts);
  f.numbers("levels", toys.levels, "nominal probabilities of the coverage curve, rising",
            k_probability);
}

void check_problem(const MixtureDataOptions& data) {
  if (data.problem != k_problem) {
    fail("there is no mixture problem '" + data.problem + "'" +
             cli::did_you_mean(data.problem, {k_problem}),
         "/data/problem");
  }
  const auto none = [](bool given, const char* key) {
    if (given) fail("either a problem or files", std::string("/data/") + key);
  };
  none(!data.templates.empty(), "templates");
  none(!data.signal.empty(), "signal");
  none(!data.background.empty(), "background");
  none(!data.true_signal.empty(), "true_signal");
  none(!data.true_background.empty(), "true_background");
  none(!data.observed.empty(), "observed");
  none(!data.features.empty(), "features");
  none(!data.weight.empty(), "weight");
  if (data.signal_pairs.empty() != data.background_pairs.empty()) {
    fail("expected files of both processes, or none", "/data/signal_pairs");
  }
  if (data.bins.size() != 1) fail("expected one number", "/data/bins");
}

void check_binning(const MixtureDataOptions& data) {
  const std::size_t d = data.features.size();
  if (d == 0) fail("expected the columns of the events that are binned", "/data/features");
  if (data.low.size() != d) fail(fmt::format("expected {} numbers", d), "/data/low");
  if (data.high.size() != d) fail(fmt::format("expected {} numbers", d), "/data/high");
  for (std::size_t i = 0; i < d; ++i) {
    if (!(data.low[i] < data.high[i])) {
      fail("expected more than the lower end", fmt::format("/data/high/{}", i));
    }
  }
  if (data.bins.size() != 1 && data.bins.size() != d) {
    fail(fmt::format("expected one number, or {}", d), "/data/bins");
  }
  constexpr double k_most = 1e6;
  double all = 1.0;
  for (std::size_t i = 0; i < d; ++i) {
    all *= static_cast<double>(data.bins[data.bins.size() == 1 ? 0 : i]);
  }
  if (all > k_most) fail(fmt::format("{} bins are more than {}", all, k_most), "/data/bins");
}

void check_files(const MixtureDataOptions& data) {
  if (!data.signal_pairs.empty()) fail("is for a problem", "/data/signal_pairs");
  if (!data.background_pairs.empty()) fail("is for a problem", "/data/background_pairs");
  if (data.signal.empty()) fail("expected at least one simulation", "/data/signal");
  if (data.background.size() != data.signal.size()) {
    fail(fmt::format("expected as many as of the signal, {}, got {}", data.signal.size(),
                     data.background.size()),
         "/data/background");
  }
  for (const auto& [names, key] :
       {std::pair{&data.signal, "signal"}, {&data.background, "background"}}) {
    std::set<std::string> seen;
    for (std::size_t i = 0; i < names->size(); ++i) {
      if (!seen.insert((*names)[i]).second) {
        fail("it is there already", fmt::format("/data/{}/{}", key, i));
      }
    }
  }
  if (data.templates.empty()) {
    check_binning(data);
  } else if (!data.features.empty()) {
    fail("is for files of events", "/data/features");
  } else if (!data.weight.empty()) {
    fail("is for files of events", "/data/weight");
  }
  if (data.true_signal.empty() != data.true_background.empty()) {
    fail("expected the truth of both processes, or of none", "/data/true_signal");
  }
}

void check_model(const MixtureExperimentOptions& options) {
  const MixtureModelOptions& mixture = options.mixture;
  const bool exponential = mixture.family == MixtureShape::exponential;
  if (exponential != (mixture.prior != MixturePrior::dirichlet)) {
    fail(exponential ? "expected ridge or population for an exponential mixture"
                     : "expected dirichlet for a linear mixture",
         "/mixture/prior");
  }
  const auto check_strength = [&](double strength, const std::string& where) {
    if (mixture.prior == MixturePrior::dirichlet && strength < 1.0) {
      fail("expected at least 1, below which a Dirichlet prior has no maximum", where);
    }
  };
  check_strength(mixture.strength, "/mixture/strength");
  const std::vector<double>& strengths = options.leave_one_out.strengths;
  for (std::size_t i = 0; i < strengths.size() && options.leave_one_out.enabled; ++i) {
    check_strength(strengths[i], fmt::format("/leave_one_out/strengths/{}", i));
  }
  if (mixture.prior == MixturePrior::population && mixture.simulations == 1) {
    fail("a population needs at least 2 simulations", "/mixture/simulations");
  }
  if (mixture.prior != MixturePrior::population && mixture.student) {
    fail("is for a population", "/mixture/student");
  }
  if (!(mixture.kappa_low < mixture.kappa_high)) {
    fail("expected more than kappa_low", "/mixture/kappa_high");
  }
}

void check(const MixtureExperimentOptions& options) {
  const MixtureDataOptions& data = options.data;
  if (data.problem.empty()) {
    check_files(data);
    if (options.densities == MixtureDensities::exact) {
      fail("files have no exact densities: expected binned", "/densities");
    }
  } else {
    check_problem(data);
  }
  if (data.signal_events + data.background_events == 0) {
    fail("a data set needs events", "/data/signal_events");
  }
  if (data.truth == MixtureTruth::target && data.distance != 1.0) {
    fail("is for a truth that is held out", "/data/distance");
  }
  check_model(options);
  const std::vector<double>& levels = options.toys.levels;
  if (!std::is_sorted(levels.begin(), levels.end(), std::less_equal<>())) {
    fail("expected rising probabilities", "/toys/levels");
  }
}

}  // namespace

bool is_mixture_document(const Json& document) { return experiment::has_kind(document, k_kind); }

void mixture_fields(Fields& f, MixtureExperimentOptions& options) {
  experiment::kind_field(f, k_kind);
  f.text("name", options.name, "for people");
  f.text("description", options.description, "for the report");
  seed_field(f, "seed", options.seed, "of draws of simulations, toys and samplers");
  f.integer("threads", options.threads, "that work at a time", {.low = 1.0, .high = 1024.0});
  f.object("data", "simulations and data", [&](Fields& g) { data_fields(g, options.data); });
  f.choice("densities", options.densities, k_densities,
           "of simulations: the problem's own, or histograms");
  f.object("mixture", "how the truth is made of simulations",
           [&](Fields& g) { model_fields(g, options.mixture); });
  f.object("error", "what is quoted", [&](Fields& g) { error_fields(g, options.error); });
  f.object("leave_one_out", "choice of K and of the prior's strength",
           [&](Fields& g) { leave_one_out_fields(g, options.leave_one_out); });
  f.object("toys", "what the intervals cover", [&](Fields& g) { toys_fields(g, options.toys); });
}

MixtureExperimentOptions read_mixture(const Json& document, const std::string& base) {
  MixtureExperimentOptions options;
  options.base = base;
  read_fields(document, "", [&](Fields& fields) { mixture_fields(fields, options); });
  check(options);
  return options;
}

nlohmann::ordered_json mixture_document(const MixtureExperimentOptions& options) {
  MixtureExperimentOptions copy = options;
  return write_fields([&](Fields& fields) { mixture_fields(fields, copy); });
}

nlohmann::ordered_json mixture_schema() {
  MixtureExperimentOptions options;
  return experiment::document_schema("slalom mixture of simulations",
                                     [&](Fields& fields) { mixture_fields(fields, options); });
}

}  // namespace slalom
