// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/arguments.hpp"
#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"

/// \file
/// What every verb gets: its arguments, its streams, and the ways to warn and to answer.
namespace slalom::cli {

/// The streams of one run.
struct Streams {
  std::istream& in;   ///< what `-` reads
  std::ostream& out;  ///< results
  std::ostream& err;  ///< warnings and errors
};

/// One verb of the program.
struct Verb;

/// One run of a verb. A verb declares its arguments, calls parse(), and answers once.
class Command {
 public:
  /// \param verb what is run
  /// \param name the words that name it, e.g. "slalom patchset list"
  /// \param words the arguments after the name
  /// \param streams where to read and write
  /// \param describe only record the arguments: parse() returns false and prints nothing
  Command(const Verb& verb, const std::string& name, std::vector<std::string> words,
          Streams streams, bool describe = false);

  Arguments arguments;  ///< declare into this before parse()
  bool json = false;    ///< --json: one document for programs
  bool quiet = false;   ///< --quiet: no warnings and no progress on standard error
  std::string output;   ///< -o FILE; empty for standard output
  bool strict = false;  ///< warnings are errors; a verb that reads a workspace declares it
  bool csv = false;     ///< --csv: comma-separated values; see declare_csv
  std::string format = "slalom";  ///< --format: whose document; see declare_format
  Warnings warnings{};            ///< all warnings so far

  /// Declares --csv; for verbs whose result is a table of numbers.
  void declare_csv();
  /// Declares --format for verbs whose result also comes in the form of other programs.
  /// \param programs "combine", "pyhf"
  void declare_format(const std::vector<std::string>& programs);
  /// Declares -o, --json and --quiet, and reads the arguments.
  /// \return false if there is nothing left to do (help was printed)
  /// \throws Error (usage) also for more than one form of output
  bool parse();

  /// The arguments after the name of the verb.
  const std::vector<std::string>& words() const { return words_; }
  /// Text of a file; `-` is the input stream, which can be read once. \throws Error (io, usage)
  std::string read(const std::string& path);
  /// Document of a file, with the path (or <stdin>) in its errors. \throws Error (io, json, usage)
  Json read_document(const std::string& path);

  /// Keeps a warning and prints it, or throws it under --strict.
  void warn(const Warning& warning, ErrorKind kind);
  /// Keeps a warning and prints it, also under --strict.
  void note(const Warning& warning);
  /// warn() for each.
  void warn_all(const Warnings& found, ErrorKind kind);

  /// True if the result is to be a JSON document: --json, or an output file named *.json.
  bool wants_json() const;
  /// True if it is to be comma-separated values: --csv, or an output file named *.csv for a verb
  /// that has declared it.
  bool wants_csv() const;
  /// True if the result is to be a document as another program writes it.
  bool wants_format(const char* program) const { return format == program; }
  /// True if escape sequences may be used: a terminal, and the user has not set NO_COLOR.
  bool wants_colour() const;
  /// Where a ProgressBar may draw: standard error if that is a terminal, null with --quiet or
  /// otherwise.
  std::ostream* progress_stream() const;
  /// Prints a result, or writes it to the output file. \throws Error (io)
  void answer(const std::string& text);
  /// Prints a result document with the warnings added to it.
  void answer(nlohmann::ordered_json document);
  /// Prints a result document of another program's form: nothing is added to it.
  void answer_foreign(const nlohmann::ordered_json& document);
  /// Prints a document that the user asked for as such (a workspace, a patch).
  void answer_document(const Json& document);

 private:
  Streams streams_;
  std::vector<std::string> words_;
  bool describe_;
  bool has_csv_ = false;
  bool input_used_ = false;
};

struct Verb {
  const char* name;              ///< the word
  const char* summary;           ///< one sentence
  int (*run)(Command& command);  ///< null for a verb that only has children
  std::vector<Verb> children{};  ///< verbs below it, e.g. of `patchset`
};

/// All verbs in the order of the help.
const std::vector<Verb>& verbs();

/// The verb named by the first words, and how many words that took. \throws Error (usage)
struct FoundVerb {
  const Verb* verb;     ///< never null
  std::string name;     ///< "slalom patchset list"
  std::size_t n_words;  ///< words that belong to the name
};
FoundVerb find_verb(const std::vector<std::string>& words);

/// Help of the program, or of a verb that only has children.
std::string overview(const std::string& name, const std::vector<Verb>& list);

// The verbs, one source file per verb or small group.
int run_inspect(Command& command);
int run_validate(Command& command);
int run_logpdf(Command& command);
int run_expected(Command& command);
int run_fit(Command& command);
int run_report(Command& command);
int run_scan(Command& command);
int run_ranking(Command& command);
int run_breakdown(Command& command);
int run_gof(Command& command);
int run_yields(Command& command);
int run_interval(Command& command);
int run_contour(Command& command);
int run_cls(Command& command);
int run_discovery(Command& command);
int run_limit(Command& command);
int run_sensitivity(Command& command);
int run_toys(Command& command);
int run_feldman_cousins(Command& command);
int run_combine(Command& command);
int run_prune(Command& command);
int run_decorrelate(Command& command);
int run_mix(Command& command);
int run_rename(Command& command);
int run_sort(Command& command);
int run_digest(Command& command);
int run_patchset_list(Command& command);
int run_patchset_inspect(Command& command);
int run_patchset_verify(Command& command);
int run_patchset_extract(Command& command);
int run_patchset_apply(Command& command);
int run_hs3_export(Command& command);
int run_hs3_import(Command& command);
int run_patchset_run(Command& command);
int run_patchset_merge(Command& command);
int run_run(Command& command);
int run_resume(Command& command);
int run_study(Command& command);
int run_schema(Command& command);
int run_completion(Command& command);
int run_version(Command& command);

}  // namespace slalom::cli
