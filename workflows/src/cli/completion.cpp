// SPDX-License-Identifier: Apache-2.0
#include "cli/completion.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace slalom::cli {

namespace {

bool is_file(const ArgumentInfo& argument) {
  return argument.value == "FILE" || argument.value == "WORKSPACE" ||
         argument.value == "PATCHSET" || argument.value == "OTHER";
}

bool is_option(const ArgumentInfo& argument) { return !argument.names.empty(); }

/// Names of the verbs one level below `path`.
std::vector<std::string> words_below(const std::vector<CompletionVerb>& verbs,
                                     const std::vector<std::string>& path) {
  std::vector<std::string> words;
  for (const CompletionVerb& verb : verbs) {
    if (verb.path.size() != path.size() + 1) continue;
    if (std::vector(verb.path.begin(), verb.path.end() - 1) == path) {
      words.push_back(verb.path.back());
    }
  }
  return words;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

/// Inside single quotes of a POSIX shell.
std::string quoted(const std::string& text) { return "'" + replaced(text, "'", "'\\''") + "'"; }

// bash

std::string bash_option_values(const CompletionVerb& verb) {
  std::string text;
  for (const ArgumentInfo& argument : verb.arguments) {
    if (!is_option(argument) || argument.value.empty()) continue;
    const std::string names = fmt::format("{}", fmt::join(argument.names, "|"));
    if (!argument.choices.empty()) {
      text += fmt::format("        {}) words='{}' ;;\n", names, fmt::join(argument.choices, " "));
    } else if (is_file(argument)) {
      text +=
          fmt::format("        {}) COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n", names);
    } else {
      text += fmt::format("        {}) return ;;\n", names);
    }
  }
  return text.empty() ? "" : "      case $previous in\n" + text + "      esac\n";
}

std::string bash_verb(const CompletionVerb& verb) {
  std::vector<std::string> options{"--help"};
  std::vector<std::string> words;
  for (const ArgumentInfo& argument : verb.arguments) {
    options.insert(options.end(), argument.names.begin(), argument.names.end());
    if (!is_option(argument)) {
      words.insert(words.end(), argument.choices.begin(), argument.choices.end());
    }
  }
  return fmt::format("    '{}')\n      options='{}'\n      words='{}'\n{}      ;;\n",
                     fmt::join(verb.path, " "), fmt::join(options, " "), fmt::join(words, " "),
                     bash_option_values(verb));
}

std::string bash_parents(const std::vector<CompletionVerb>& verbs) {
  std::string text;
  for (const CompletionVerb& verb : verbs) {
    const std::vector<std::string> children = words_below(verbs, verb.path);
    if (children.empty()) continue;
    text += fmt::format(
        "  if [[ $verb == '{}' ]]; then\n"
        "    if ((COMP_CWORD == 2)); then COMPREPLY=($(compgen -W '{}' -- \"$current\")); return; "
        "fi\n"
        "    verb+=\" ${{COMP_WORDS[2]}}\"\n  fi\n",
        verb.path[0], fmt::join(children, " "));
  }
  return text;
}

// zsh

std::string zsh_text(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string zsh_action(const ArgumentInfo& argument) {
  if (!argument.choices.empty()) return fmt::format("({})", fmt::join(argument.choices, " "));
  return is_file(argument) ? "_files" : " ";
}

std::string zsh_argument(const ArgumentInfo& argument) {
  const std::string value = zsh_text(argument.value);
  if (!is_option(argument)) return quoted(fmt::format("*:{}:{}", value, zsh_action(argument)));
  std::string specs;
  for (const std::string& name : argument.names) {
    std::string spec = fmt::format("*{}[{}]", name, zsh_text(argument.help));
    if (!argument.value.empty()) spec += fmt::format(":{}:{}", value, zsh_action(argument));
    specs += (specs.empty() ? "" : " ") + quoted(spec);
  }
  return specs;
}

std::string zsh_verb(const CompletionVerb& verb) {
  std::string text = fmt::format("    '{}')\n      _arguments", fmt::join(verb.path, " "));
  bool has_positional = false;
  for (const ArgumentInfo& argument : verb.arguments) {
    if (!is_option(argument) && has_positional) continue;  // '*:' already takes all of them
    has_positional = has_positional || !is_option(argument);
    text += " \\\n        " + zsh_argument(argument);
  }
  return text + "\n      ;;\n";
}

std::string zsh_list(const std::vector<CompletionVerb>& verbs,
                     const std::vector<std::string>& path) {
  std::string text;
  for (const CompletionVerb& verb : verbs) {
    if (verb.path.size() != path.size() + 1 ||
        std::vector(verb.path.begin(), verb.path.end() - 1) != path) {
      continue;
    }
    text += " " + quoted(verb.path.back() + ":" + zsh_text(verb.summary));
  }
  return text;
}

std::string zsh_parents(const std::vector<CompletionVerb>& verbs) {
  std::string text;
  for (const CompletionVerb& verb : verbs) {
    if (words_below(verbs, verb.path).empty()) continue;
    text += fmt::format(
        "  if [[ $verb == '{}' ]]; then\n"
        "    if ((CURRENT == 3)); then list=({}); _describe verb list; return; fi\n"
        "    verb+=\" $words[3]\"; shift words; ((CURRENT--))\n  fi\n",
        verb.path[0], zsh_list(verbs, verb.path).substr(1));
  }
  return text;
}

// fish

std::string fish_quoted(const std::string& text) {
  return "'" + replaced(replaced(text, "\\", "\\\\"), "'", "\\'") + "'";
}

/// True on a line whose first words are `path`, with no further verb required.
std::string fish_condition(const std::vector<std::string>& path) {
  std::string text = fmt::format("__fish_seen_subcommand_from {}", path[0]);
  if (path.size() > 1) text += fmt::format("; and __fish_seen_subcommand_from {}", path[1]);
  return fish_quoted(text);
}

std::string fish_argument(const ArgumentInfo& argument, const std::string& condition) {
  std::string line = fmt::format("complete -c slalom -n {}", condition);
  for (const std::string& name : argument.names) {
    line += name.size() == 2 ? " -s " + name.substr(1) : " -l " + name.substr(2);
  }
  if (!argument.choices.empty()) {
    line += fmt::format("{} -f -a {}", is_option(argument) ? " -r" : "",
                        fish_quoted(fmt::format("{}", fmt::join(argument.choices, " "))));
  } else if (is_file(argument)) {
    line += is_option(argument) ? " -r -F" : " -F";
  } else if (!argument.value.empty()) {
    line += " -x";
  } else {
    line += " -f";
  }
  return line + " -d " + fish_quoted(argument.help) + "\n";
}

std::string fish_child(const CompletionVerb& verb, const std::vector<std::string>& siblings) {
  std::string condition = "__fish_use_subcommand";
  if (verb.path.size() > 1) {
    condition =
        fmt::format("__fish_seen_subcommand_from {}; and not __fish_seen_subcommand_from {}",
                    verb.path[0], fmt::join(siblings, " "));
  }
  return fmt::format("complete -c slalom -n {} -f -a {} -d {}\n", fish_quoted(condition),
                     verb.path.back(), fish_quoted(verb.summary));
}

}  // namespace

std::string bash_completion(const std::vector<CompletionVerb>& verbs) {
  std::string cases;
  for (const CompletionVerb& verb : verbs) cases += bash_verb(verb);
  return fmt::format(
      "# bash completion of slalom; eval \"$(slalom completion bash)\" in ~/.bashrc\n"
      "_slalom() {{\n"
      "  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}}\n"
      "  local verb=${{COMP_WORDS[1]}} options= words=\n"
      "  COMPREPLY=()\n"
      "  if ((COMP_CWORD == 1)); then\n"
      "    COMPREPLY=($(compgen -W '{} --version --help' -- \"$current\"))\n    return\n  fi\n"
      "{}  case $verb in\n{}  esac\n"
      "  if [[ $current == -* ]]; then\n"
      "    COMPREPLY=($(compgen -W \"$options\" -- \"$current\"))\n"
      "  elif [[ -n $words ]]; then\n"
      "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
      "  else\n"
      "    COMPREPLY=($(compgen -f -- \"$current\"))\n"
      "  fi\n}}\ncomplete -o filenames -F _slalom slalom\n",
      fmt::join(words_below(verbs, {}), " "), bash_parents(verbs), cases);
}

std::string zsh_completion(const std::vector<CompletionVerb>& verbs) {
  std::string cases;
  for (const CompletionVerb& verb : verbs) {
    if (!verb.arguments.empty()) cases += zsh_verb(verb);
  }
  return fmt::format(
      "#compdef slalom\n"
      "# zsh completion of slalom; eval \"$(slalom completion zsh)\" in ~/.zshrc, or this text as\n"
      "# the file _slalom in a folder of $fpath\n"
      "_slalom() {{\n"
      "  local -a list\n  local verb=$words[2]\n"
      "  if ((CURRENT == 2)); then\n    list=({})\n    _describe verb list\n    return\n  fi\n"
      "{}  shift words\n  ((CURRENT--))\n"
      "  case $verb in\n{}  esac\n}}\n"
      "if [[ $funcstack[1] == _slalom ]]; then _slalom \"$@\"; else compdef _slalom slalom; fi\n",
      zsh_list(verbs, {}).substr(1), zsh_parents(verbs), cases);
}

std::string fish_completion(const std::vector<CompletionVerb>& verbs) {
  std::string text =
      "# fish completion of slalom; slalom completion fish | source in config.fish\n";
  for (const CompletionVerb& verb : verbs) {
    const std::vector<std::string> parent(verb.path.begin(), verb.path.end() - 1);
    text += fish_child(verb, words_below(verbs, parent));
    for (const ArgumentInfo& argument : verb.arguments) {
      text += fish_argument(argument, fish_condition(verb.path));
    }
  }
  return text;
}

}  // namespace slalom::cli
