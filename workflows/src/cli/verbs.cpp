// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/suggest.hpp"
#include "cli/text.hpp"

namespace slalom::cli {

namespace {

std::vector<std::string> names_of(const std::vector<Verb>& list) {
  std::vector<std::string> names;
  names.reserve(list.size());
  for (const Verb& verb : list) names.emplace_back(verb.name);
  return names;
}

const Verb* find_in(const std::vector<Verb>& list, const std::string& word) {
  for (const Verb& verb : list) {
    if (word == verb.name) return &verb;
  }
  return nullptr;
}

Error unknown_verb(const std::string& word, const std::string& name,
                   const std::vector<Verb>& list) {
  const std::vector<std::string> names = names_of(list);
  const bool option = !word.empty() && word.front() == '-';
  std::string message = option ? fmt::format("options come after the verb, got '{}'", word)
                               : fmt::format("there is no verb '{}'", word);
  message += option ? "" : did_you_mean(word, names);
  return {ErrorKind::usage, fmt::format("{}; `{} --help` lists the verbs", message, name), name};
}

}  // namespace

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> list{
      {"inspect", "What is in a workspace: channels, samples, parameters, measurements",
       run_inspect},
      {"validate", "Check a workspace against the schema and the rules beyond it", run_validate},
      {"logpdf", "Log-likelihood at the initial or at given parameters", run_logpdf},
      {"expected", "Expected main and auxiliary data at the initial or at given parameters",
       run_expected},
      {"fit", "Maximum-likelihood fit: best values, uncertainties, correlations", run_fit},
      {"scan", "Profile of -2 log L along one parameter", run_scan},
      {"ranking", "Impact of every nuisance parameter on the parameter of interest", run_ranking},
      {"breakdown", "Uncertainty of the parameter of interest by groups of parameters",
       run_breakdown},
      {"gof", "Goodness of fit against the saturated model", run_gof},
      {"yields", "Tables of expected and observed events before and after the fit", run_yields},
      {"interval", "Two-sided confidence intervals of one parameter", run_interval},
      {"contour", "Confidence regions of two parameters", run_contour},
      {"cls", "Observed and expected CLs of one signal strength", run_cls},
      {"discovery", "Significance of a signal, observed and expected", run_discovery},
      {"limit", "Upper limit on the signal strength, observed and expected", run_limit},
      {"sensitivity", "What the result hangs on: derivatives by every bin, variation and width",
       run_sensitivity},
      {"report", "One HTML page with everything about the fit of a workspace", run_report},
      {"toys", "Throw and fit pseudo-experiments: distributions, pulls, statistics", run_toys},
      {"feldman-cousins", "Confidence interval of one parameter by toys", run_feldman_cousins},
      {"combine", "Join two workspaces into one", run_combine},
      {"prune", "Remove channels, samples, modifiers, measurements or small variations", run_prune},
      {"decorrelate", "Split a nuisance parameter by channel, sample or bins", run_decorrelate},
      {"mix", "Replace samples by mixtures of alternative simulations", run_mix},
      {"rename", "Rename channels, samples, modifiers or measurements", run_rename},
      {"sort", "Sort the content of a workspace by name", run_sort},
      {"digest", "Hash of a workspace that does not depend on its formatting", run_digest},
      {"hs3",
       "Convert from and to HS3, the HEP Statistics Serialization Standard",
       nullptr,
       {{"export", "A workspace as an HS3 document", run_hs3_export},
        {"import", "The workspace of an HS3 document", run_hs3_import}}},
      {"patchset",
       "Work with a set of signal patches",
       nullptr,
       {{"list", "Names and values of the patches", run_patchset_list},
        {"inspect", "Description, references, labels and patches", run_patchset_inspect},
        {"verify", "Check that a workspace is the one the patch set was made for",
         run_patchset_verify},
        {"extract", "One patch as a JSON Patch document", run_patchset_extract},
        {"apply", "The workspace with one patch applied", run_patchset_apply},
        {"run", "CLs, limits and significances of all signals, in parallel", run_patchset_run},
        {"merge", "Join the results of parts of a grid", run_patchset_merge}}},
      {"run", "Train and evaluate an experiment", run_run},
      {"resume", "Go on with an interrupted run or study", run_resume},
      {"study", "Run variants of an experiment in parallel, and compare them", run_study},
      {"schema", "JSON Schema of experiments or studies", run_schema},
      {"completion", "Script that lets a shell complete verbs and options", run_completion},
      {"version", "Version of slalom", run_version},
  };
  return list;
}

FoundVerb find_verb(const std::vector<std::string>& words) {
  if (words.empty()) {
    throw Error(ErrorKind::usage, "a verb is missing; `slalom --help` lists them", "slalom");
  }
  const Verb* verb = find_in(verbs(), words[0]);
  if (verb == nullptr) throw unknown_verb(words[0], "slalom", verbs());
  const std::string name = fmt::format("slalom {}", words[0]);
  if (verb->children.empty()) return {verb, name, 1};
  if (words.size() < 2) {
    throw Error(ErrorKind::usage,
                fmt::format("a verb is missing after '{}'; `{} --help` lists them", words[0], name),
                name);
  }
  if (words[1] == "-h" || words[1] == "--help") return {verb, name, 2};
  const Verb* child = find_in(verb->children, words[1]);
  if (child == nullptr) throw unknown_verb(words[1], name, verb->children);
  return {child, fmt::format("{} {}", name, words[1]), 2};
}

std::string overview(const std::string& name, const std::vector<Verb>& list) {
  Table table("ll");
  for (const Verb& verb : list) table.row({verb.name, verb.summary});
  return fmt::format(
      "Usage: {} VERB [OPTIONS]\n\nVerbs:\n{}\n`{} VERB --help` explains one verb and its "
      "options.\n",
      name, table.str(), name);
}

}  // namespace slalom::cli
