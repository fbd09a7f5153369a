// SPDX-License-Identifier: Apache-2.0
#include "cli/levels.hpp"

#include <algorithm>
#include <fmt/format.h>

#include "cli/text.hpp"

namespace slalom::cli {

namespace {

/// Probabilities of a normal distribution within 1 and 2 standard deviations.
constexpr double k_one_sigma = 0.6826894921370859;
constexpr double k_two_sigma = 0.9544997361036416;

}  // namespace

void declare_levels(Command& command, std::vector<std::string>& levels) {
  command.arguments.texts("--level", levels, "LEVEL",
                          "Confidence level between 0 and 1, e.g. 0.95; repeatable; default 1 and "
                          "2 sigma (0.6827 and 0.9545)");
}

std::vector<double> parse_levels(const std::vector<std::string>& levels) {
  if (levels.empty()) return {k_one_sigma, k_two_sigma};
  std::vector<double> values;
  for (const std::string& text : levels) {
    values.push_back(parse_number(text, "--level"));
    if (values.back() > 0.0 && values.back() < 1.0) continue;
    throw Error(ErrorKind::usage, fmt::format("expected a level between 0 and 1, got '{}'", text),
                "--level");
  }
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

std::string percent(double level) { return brief(100.0 * level, 4) + " %"; }

}  // namespace slalom::cli
