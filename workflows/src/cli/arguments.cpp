// SPDX-License-Identifier: Apache-2.0
#include "cli/arguments.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "cli/suggest.hpp"
#include "cli/text.hpp"
#include "slalom/core/error.hpp"

namespace slalom::cli {

namespace {

constexpr std::size_t k_help_column = 30;
const std::string k_positionals = "Arguments";

std::vector<std::string> split_names(const std::string& names) {
  std::vector<std::string> result;
  std::istringstream stream(names);
  for (std::string name; std::getline(stream, name, ',');) result.push_back(name);
  return result;
}

/// One argument: its names on the left, its explanation wrapped on the right.
std::string help_entry(const ArgumentInfo& info) {
  std::string left = "  " + CLI::detail::join(info.names, ", ");
  if (!info.value.empty()) left += (info.names.empty() ? "" : " ") + info.value;
  std::string text = left;
  std::size_t column = display_width(left);
  if (column + 2 > k_help_column) {
    text += "\n";
    column = 0;
  }
  text.append(k_help_column - column, ' ');
  column = k_help_column;
  std::istringstream words(info.help);
  for (std::string word; words >> word;) {
    if (column > k_help_column && column + 1 + display_width(word) > k_page_width) {
      text += "\n" + std::string(k_help_column, ' ');
      column = k_help_column;
    }
    if (column > k_help_column) text += " ";
    text += word;
    column += 1 + display_width(word);
  }
  return text + "\n";
}

/// `--poi=` means an empty value; CLI11 would take the next word instead.
std::vector<std::string> split_empty_values(const std::vector<std::string>& words) {
  std::vector<std::string> result;
  bool options = true;
  for (const std::string& word : words) {
    options = options && word != "--";
    const bool long_option = options && word.size() > 3 && word.compare(0, 2, "--") == 0;
    if (long_option && word.find('=') == word.size() - 1) {
      result.push_back(word.substr(0, word.size() - 1));
      result.emplace_back();
    } else {
      result.push_back(word);
    }
  }
  return result;
}

/// CLI11 writes "NAME: what is wrong" or "NAME what is wrong"; the name is the place.
Error usage_error(const std::string& text, const std::string& command) {
  const std::size_t colon = text.find(": ");
  if (text.rfind('-', 0) == 0 && colon != std::string::npos) {
    return {ErrorKind::usage, text.substr(colon + 2), text.substr(0, colon)};
  }
  return {ErrorKind::usage, text, command};
}

void check_choice(const std::string& text, const std::vector<std::string>& choices,
                  const std::string& where) {
  if (std::find(choices.begin(), choices.end(), text) != choices.end()) return;
  throw Error(
      ErrorKind::usage,
      "'" + text + "' is none of " + CLI::detail::join(choices, ", ") + did_you_mean(text, choices),
      where);
}

}  // namespace

double parse_number(const std::string& text, const std::string& where) {
  const char* begin = text.data() + (!text.empty() && text.front() == '+' ? 1 : 0);
  const char* end = text.data() + text.size();
  double value = 0.0;
  const auto [stop, error] = std::from_chars(begin, end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value)) {
    throw Error(ErrorKind::usage, "expected a finite number, got '" + text + "'", where);
  }
  return value;
}

long parse_integer(const std::string& text, const std::string& where, long lowest) {
  long value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < lowest) {
    throw Error(ErrorKind::usage,
                "expected an integer >= " + std::to_string(lowest) + ", got '" + text + "'", where);
  }
  return value;
}

struct Arguments::Parser {
  using Texts = std::vector<std::string>;

  /// An option with one value per occurrence.
  CLI::Option* add(const std::string& names, const std::function<void(const Texts&)>& use,
                   const std::string& value, const std::string& help) {
    return app.add_option_function<Texts>(names, use, help)
        ->type_name(value)
        ->type_size(1)
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::Throw)
        ->allow_extra_args(false);  // or it takes a positional that follows
  }

  CLI::App app;
};

Arguments::Arguments(std::string command, std::string description)
    : parser_(std::make_unique<Parser>()),
      command_(std::move(command)),
      description_(std::move(description)) {
  parser_->app.set_help_flag();
  parser_->app.allow_extras();
}

Arguments::~Arguments() = default;

void Arguments::group(const std::string& title) { group_ = title; }

void Arguments::example(const std::string& line) { examples_.push_back(line); }

void Arguments::record(const std::string& names, const std::string& value, const std::string& help,
                       const std::vector<std::string>& choices) {
  declared_.push_back({split_names(names), value, choices, help, group_});
}

void Arguments::positional(const std::string& value, std::string& target, const std::string& help) {
  parser_->app.add_option(value, target, help)->required()->type_name("");
  record("", value, help);
}

void Arguments::positional_choice(const std::string& value, std::string& target,
                                  const std::vector<std::string>& choices,
                                  const std::string& help) {
  const auto use = [&target, choices, value](const Parser::Texts& texts) {
    check_choice(texts.at(0), choices, value);
    target = texts[0];
  };
  parser_->app.add_option_function<Parser::Texts>(value, use, help)
      ->required()
      ->type_name("")
      ->type_size(1)
      ->expected(1);
  record("", value, help, choices);
}

void Arguments::positionals(const std::string& value, std::vector<std::string>& target,
                            const std::string& help) {
  parser_->app.add_option(value, target, help)->required()->type_name("");
  record("", value, help);
}

void Arguments::flag(const std::string& names, bool& target, const std::string& help) {
  parser_->app.add_flag(names, target, help);
  record(names, "", help);
}

void Arguments::text(const std::string& names, std::string& target, const std::string& value,
                     const std::string& help) {
  const auto use = [&target](const auto& texts) { target = texts.at(0); };
  parser_->add(names, use, value, help);
  record(names, value, help);
}

void Arguments::text(const std::string& names, std::optional<std::string>& target,
                     const std::string& value, const std::string& help) {
  const auto use = [&target](const auto& texts) { target = texts.at(0); };
  parser_->add(names, use, value, help);
  record(names, value, help);
}

void Arguments::optional_texts(const std::string& names, std::vector<std::string>& target,
                               const std::string& missing, const std::string& value,
                               const std::string& help) {
  const auto use = [&target, missing](const auto& texts) {
    for (const std::string& text : texts) target.push_back(text == "true" ? missing : text);
  };
  parser_->add(names, use, "[" + value + "]", help)
      ->expected(0, 1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  record(names, value, help);
}

void Arguments::texts(const std::string& names, std::vector<std::string>& target,
                      const std::string& value, const std::string& help) {
  const auto use = [&target](const auto& texts) { target = texts; };
  parser_->add(names, use, value, help)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  record(names, value, help);
}

void Arguments::pairs(const std::string& names,
                      std::vector<std::pair<std::string, std::string>>& target,
                      const std::string& value, const std::string& help) {
  const auto use = [&target, names](const auto& texts) {
    for (std::size_t i = 0; i + 1 < texts.size(); i += 2) {
      target.emplace_back(texts[i], texts[i + 1]);
    }
  };
  parser_->add(names, use, value, help)
      ->type_size(2)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  record(names, value, help);
}

void Arguments::choice(const std::string& names, std::string& target,
                       const std::vector<std::string>& choices, const std::string& help) {
  const std::string where = split_names(names).back();
  const auto use = [&target, choices, where](const auto& texts) {
    check_choice(texts.at(0), choices, where);
    target = texts[0];
  };
  parser_->add(names, use, CLI::detail::join(choices, "|"), help);
  record(names, CLI::detail::join(choices, "|"), help, choices);
}

void Arguments::choices(const std::string& names, std::vector<std::string>& target,
                        const std::vector<std::string>& choices, const std::string& help) {
  const std::string where = split_names(names).back();
  const auto use = [&target, choices, where](const auto& texts) {
    for (const std::string& text : texts) check_choice(text, choices, where);
    target = texts;
  };
  parser_->add(names, use, CLI::detail::join(choices, "|"), help)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  record(names, CLI::detail::join(choices, "|"), help, choices);
}

void Arguments::number(const std::string& names, std::optional<double>& target,
                       const std::string& value, const std::string& help) {
  const std::string where = split_names(names).back();
  const auto use = [&target, where](const auto& texts) {
    target = parse_number(texts.at(0), where);
  };
  parser_->add(names, use, value, help);
  record(names, value, help);
}

void Arguments::range(const std::string& names, std::optional<std::array<double, 2>>& target,
                      const std::string& help) {
  const std::string where = split_names(names).back();
  const auto use = [&target, where](const auto& texts) {
    target = {parse_number(texts.at(0), where), parse_number(texts.at(1), where)};
  };
  parser_->add(names, use, "LOW HIGH", help)->type_size(2);
  record(names, "LOW HIGH", help);
}

void Arguments::numbers(const std::string& names, std::vector<double>& target,
                        const std::string& value, const std::string& help) {
  const std::string where = split_names(names).back();
  const auto use = [&target, where](const auto& texts) {
    for (const std::string& text : texts) target.push_back(parse_number(text, where));
  };
  parser_->add(names, use, value + "...", help)
      ->expected(1, 1 << 20)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  record(names, value, help);
}

void Arguments::integer(const std::string& names, std::optional<long>& target, long lowest,
                        const std::string& value, const std::string& help) {
  const std::string where = split_names(names).back();
  const auto use = [&target, where, lowest](const auto& texts) {
    target = parse_integer(texts.at(0), where, lowest);
  };
  parser_->add(names, use, value, help);
  record(names, value, help);
}

bool Arguments::parse(const std::vector<std::string>& words) {
  CLI::App& app = parser_->app;
  std::vector<std::string> reversed = split_empty_values(words);
  std::reverse(reversed.begin(), reversed.end());
  const auto end_of_options = std::find(words.begin(), words.end(), "--");
  const auto asks = [](const std::string& word) { return word == "-h" || word == "--help"; };
  if (std::any_of(words.begin(), end_of_options, asks)) return false;
  try {
    app.parse(std::move(reversed));
  } catch (const CLI::ParseError& error) {
    throw usage_error(error.what(), command_);
  }
  const std::vector<std::string> extras = app.remaining();
  if (extras.empty()) return true;
  const std::string& first = extras.front();
  if (first.size() < 2 || first.front() != '-') {
    throw Error(ErrorKind::usage, "one argument too many: '" + first + "'", command_);
  }
  std::vector<std::string> names{"--help"};
  for (const ArgumentInfo& info : declared_) {
    names.insert(names.end(), info.names.begin(), info.names.end());
  }
  const std::string name = first.substr(0, first.find('='));
  throw Error(ErrorKind::usage, "there is no option '" + name + "'" + did_you_mean(name, names),
              command_);
}

std::string Arguments::help() const {
  std::string usage = "Usage: " + command_ + " [OPTIONS]";
  std::vector<std::string> groups;
  for (const ArgumentInfo& info : declared_) {
    if (info.names.empty()) usage += " " + info.value;
    const std::string& title = info.names.empty() ? k_positionals : info.group;
    if (std::find(groups.begin(), groups.end(), title) == groups.end()) groups.push_back(title);
  }
  std::string text = description_ + "\n\n" + usage + "\n";
  for (const std::string& title : groups) {
    text += "\n" + title + ":\n";
    for (const ArgumentInfo& info : declared_) {
      if ((info.names.empty() ? k_positionals : info.group) == title) text += help_entry(info);
    }
  }
  text += help_entry({{"-h", "--help"}, "", {}, "Print this help and stop"});
  if (!examples_.empty()) text += "\nExample:\n";
  for (const std::string& line : examples_) text += "  " + line + "\n";
  return text;
}

}  // namespace slalom::cli
