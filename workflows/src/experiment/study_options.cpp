// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <set>

#include "experiment/documents.hpp"
#include "experiment/paths.hpp"
#include "slalom/core/json.hpp"
#include "slalom/workflows/study.hpp"

namespace slalom {

namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::usage, message, where);
}

/// Seeds are written as integers that every JSON reader keeps.
constexpr double k_largest_seed = 9007199254740991.0;  // 2^53 - 1

void variant_fields(Fields& f, StudyVariant& variant) {
  f.text("name", variant.name, "of its folder: letters, digits and _ . + -");
  f.text("experiment", variant.experiment, "another document than the study's; empty: that one");
  f.texts("set", variant.set, "KEY.KEY=VALUE: values of the document that are replaced");
}

/// Names become folders beside files of the study's own.
void check_name(const std::string& name, const std::string& where) {
  constexpr const char* k_allowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-";
  if (name.empty()) fail("a variant needs a name", where);
  if (name.front() == '.' || name.front() == '-' ||
      name.find_first_not_of(k_allowed) != std::string::npos) {
    fail(fmt::format("'{}' cannot be the name of a folder: expected letters, digits and _ . + -, "
                     "and neither . nor - in front",
                     name),
         where);
  }
  constexpr std::size_t k_longest = 100;
  if (name.size() > k_longest) fail(fmt::format("more than {} characters", k_longest), where);
  for (const char* taken :
       {"plots", "study.json", "comparison.json", "comparison.csv", "report.html"}) {
    if (name == taken)
      fail(fmt::format("'{}' is a file or folder of the study's own", name), where);
  }
}

void check_variants(const StudyOptions& options) {
  if (options.variants.empty()) fail("expected at least one variant", "/variants");
  std::set<std::string> names;
  for (std::size_t i = 0; i < options.variants.size(); ++i) {
    const StudyVariant& variant = options.variants[i];
    const std::string where = fmt::format("/variants/{}", i);
    check_name(variant.name, where + "/name");
    if (!names.insert(variant.name).second) {
      fail("there is another variant '" + variant.name + "'", where + "/name");
    }
    if (variant.experiment.empty() && options.experiment.empty()) {
      fail("neither the study nor the variant names an experiment", where + "/experiment");
    }
    for (std::size_t k = 0; k < variant.set.size(); ++k) {
      const std::string key = variant.set[k].substr(0, variant.set[k].find('='));
      if (key == "seed" || (key == "data.seed" && options.data_seeds)) {
        fail("the study sets it: see seeds and data_seeds", fmt::format("{}/set/{}", where, k));
      }
    }
  }
}

void check_seeds(const StudyOptions& options) {
  if (options.seeds.empty()) fail("expected at least one seed", "/seeds");
  std::set<std::int64_t> seen;
  for (std::size_t i = 0; i < options.seeds.size(); ++i) {
    if (seen.insert(options.seeds[i]).second) continue;
    fail(fmt::format("seed {} is there already", options.seeds[i]), fmt::format("/seeds/{}", i));
  }
}

void check_figures(const StudyOptions& options) {
  if (options.figures.empty()) fail("expected at least one figure", "/figures");
  std::set<std::string> seen;
  for (std::size_t i = 0; i < options.figures.size(); ++i) {
    const std::string& figure = options.figures[i];
    const std::string where = fmt::format("/figures/{}", i);
    try {
      const Json::json_pointer pointer(figure);
      if (pointer.empty()) fail("expected a JSON pointer such as /test/sigma/0", where);
    } catch (const Json::exception&) {
      fail(fmt::format("expected a JSON pointer such as /test/sigma/0, got '{}'", figure), where);
    }
    if (!seen.insert(figure).second) fail("it is there already", where);
  }
}

fs::path path_of(const StudyOptions& options, const std::string& path) {
  return options.base.empty() || fs::path(path).is_absolute() ? fs::path(path)
                                                              : fs::path(options.base) / path;
}

/// The place of an error in a variant's document.
std::string inside(const std::string& file, const std::string& where) {
  return where.empty() ? file : where.front() == '/' ? file + "#" + where : where;
}

StudyExperiment variant_experiment(const StudyOptions& options, std::size_t index) {
  const StudyVariant& variant = options.variants[index];
  if (!options.directory.empty()) {
    return experiment::study_experiment(
        read_json(fs::path(options.directory) / variant.name / experiment::k_variant), "");
  }
  const bool own = !variant.experiment.empty();
  const std::string file = path_of(options, own ? variant.experiment : options.experiment).string();
  const std::string place = fmt::format("/variants/{}", index);
  Json document;
  try {
    document = parse_commented_json(read_text(file), file);
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{}: {}", error.where(), error.message()),
                own ? place + "/experiment" : std::string("/experiment"));
  }
  for (std::size_t k = 0; k < variant.set.size(); ++k) {
    try {
      set_value(document, variant.set[k]);
    } catch (const Error& error) {
      throw Error(error.kind(), error.message(), fmt::format("{}/set/{}", place, k));
    }
  }
  try {
    return experiment::study_experiment(document, fs::path(file).parent_path().string());
  } catch (const Error& error) {
    throw Error(error.kind(),
                fmt::format("variant '{}': {} at {}", variant.name, error.message(),
                            inside(file, error.where())),
                place);
  }
}

}  // namespace

void study_fields(Fields& f, StudyOptions& options) {
  f.text("name", options.name, "for people");
  f.text("description", options.description, "for the report");
  f.text("experiment", options.experiment,
         "document of the variants, relative to this one, where they name no other");
  f.list("variants", options.variants, "rows of the table", variant_fields);
  f.integers("seeds", options.seeds, "of the experiment; each variant is run with each of them",
             {.low = 0.0, .high = k_largest_seed});
  f.flag("data_seeds", options.data_seeds, "whether data.seed is the seed as well");
  f.texts(
      "figures", options.figures,
      "JSON pointers of numbers of result.json that are compared, the most important one first");
}

StudyOptions read_study(const Json& document, const std::string& base) {
  StudyOptions options;
  options.base = base;
  read_fields(document, "", [&](Fields& fields) { study_fields(fields, options); });
  check_variants(options);
  check_seeds(options);
  check_figures(options);
  return options;
}

nlohmann::ordered_json study_document(const StudyOptions& options) {
  StudyOptions copy = options;
  return write_fields([&](Fields& fields) { study_fields(fields, copy); });
}

nlohmann::ordered_json study_schema() {
  StudyOptions options;
  return experiment::document_schema("slalom study",
                                     [&](Fields& fields) { study_fields(fields, options); });
}

StudyExperiment experiment::study_experiment(const Json& document, const std::string& base) {
  if (is_resonance_document(document)) {
    const ResonanceOptions options = with_absolute_paths(read_resonance(document, base));
    return {resonance_document(options), 1, options.threads};
  }
  if (is_mixture_document(document)) {
    const MixtureExperimentOptions options = with_absolute_paths(read_mixture(document, base));
    return {mixture_document(options), 1, options.threads};
  }
  const ExperimentOptions options = with_absolute_paths(read_experiment(document, base));
  return {experiment_document(options),
          options.training.steps * std::max<std::int64_t>(options.data.folds, 1), options.threads};
}

std::vector<StudyExperiment> study_experiments(const StudyOptions& options) {
  std::vector<StudyExperiment> result;
  for (std::size_t i = 0; i < options.variants.size(); ++i) {
    result.push_back(variant_experiment(options, i));
  }
  return result;
}

}  // namespace slalom
