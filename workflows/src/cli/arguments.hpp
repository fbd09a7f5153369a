// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

/// \file
/// The arguments of one verb: declared once, then parsed, printed as help or turned into a
/// completion script. CLI11 does the work; only arguments.cpp includes it.
namespace slalom::cli {

/// One argument as the help and the completion scripts show it.
struct ArgumentInfo {
  std::vector<std::string> names;    ///< "-o", "--output"; empty for a positional argument
  std::string value;                 ///< placeholder of its value; "" for a flag
  std::vector<std::string> choices;  ///< the values it takes, if these are a fixed list
  std::string help;                  ///< one sentence
  std::string group{};               ///< title in the help
};

/// Reads one finite number. \throws Error (usage) at `where`
double parse_number(const std::string& text, const std::string& where);
/// Reads one integer >= `lowest`. \throws Error (usage) at `where`
long parse_integer(const std::string& text, const std::string& where, long lowest);

/// The arguments of one verb. References given to the declarations must outlive parse().
class Arguments {
 public:
  /// \param command what the user typed so far, e.g. "slalom fit"
  /// \param description one sentence for the help
  Arguments(std::string command, std::string description);
  ~Arguments();
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  /// Title in the help for what is declared from here on.
  void group(const std::string& title);
  /// A line below the help that can be run as it stands.
  void example(const std::string& line);

  /// A required argument without a name; `value` is its placeholder in capitals.
  void positional(const std::string& value, std::string& target, const std::string& help);
  /// The same, but one of a list of words.
  void positional_choice(const std::string& value, std::string& target,
                         const std::vector<std::string>& choices, const std::string& help);
  /// One or more arguments without a name.
  void positionals(const std::string& value, std::vector<std::string>& target,
                   const std::string& help);
  /// `names` is "-o,--output" or "--output".
  void flag(const std::string& names, bool& target, const std::string& help);
  /// One text.
  void text(const std::string& names, std::string& target, const std::string& value,
            const std::string& help);
  /// One text that may be absent.
  void text(const std::string& names, std::optional<std::string>& target, const std::string& value,
            const std::string& help);
  /// A text that may be left out after the name; `missing` then stands for it. Repeatable.
  void optional_texts(const std::string& names, std::vector<std::string>& target,
                      const std::string& missing, const std::string& value,
                      const std::string& help);
  /// Texts of an option that may be repeated.
  void texts(const std::string& names, std::vector<std::string>& target, const std::string& value,
             const std::string& help);
  /// Pairs of texts of an option that may be repeated.
  void pairs(const std::string& names, std::vector<std::pair<std::string, std::string>>& target,
             const std::string& value, const std::string& help);
  /// One of a list of words.
  void choice(const std::string& names, std::string& target,
              const std::vector<std::string>& choices, const std::string& help);
  /// Words of a list, of an option that may be repeated.
  void choices(const std::string& names, std::vector<std::string>& target,
               const std::vector<std::string>& choices, const std::string& help);
  /// One finite number.
  void number(const std::string& names, std::optional<double>& target, const std::string& value,
              const std::string& help);
  /// Two finite numbers.
  void range(const std::string& names, std::optional<std::array<double, 2>>& target,
             const std::string& help);
  /// Any number of finite numbers.
  void numbers(const std::string& names, std::vector<double>& target, const std::string& value,
               const std::string& help);
  /// One integer >= `lowest`.
  void integer(const std::string& names, std::optional<long>& target, long lowest,
               const std::string& value, const std::string& help);

  /// Reads the words after the verb. \return false if help was asked for
  /// \throws Error (usage) with the nearest name for an option that does not exist
  bool parse(const std::vector<std::string>& words);
  /// The help text.
  std::string help() const;
  /// What was declared.
  const std::vector<ArgumentInfo>& declared() const { return declared_; }

 private:
  struct Parser;
  void record(const std::string& names, const std::string& value, const std::string& help,
              const std::vector<std::string>& choices = {});

  std::unique_ptr<Parser> parser_;
  std::string command_;
  std::string description_;
  std::string group_ = "Options";
  std::vector<std::string> examples_;
  std::vector<ArgumentInfo> declared_;
};

}  // namespace slalom::cli
