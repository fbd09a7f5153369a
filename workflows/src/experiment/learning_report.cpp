// SPDX-License-Identifier: Apache-2.0
#include "experiment/learning_report.hpp"

#include <fmt/format.h>

#include "cli/report/html.hpp"
#include "cli/report/page.hpp"
#include "cli/text.hpp"

namespace slalom::experiment {

namespace {

using cli::brief;
using cli::html_element;
using cli::HtmlTable;

std::string significant(const Json& value, int digits = 4) {
  return cli::typeset(brief(value.get<double>(), digits));
}

std::string separation(const Json& result) {
  if (!result.contains("auc")) return "";
  HtmlTable table("rrr", {"θ", "Area under the curve", "Network at θ = 0"});
  for (const Json& point : result.at("auc")) {
    table.row({significant(point.at("theta"), 3), significant(point.at("auc"), 5),
               point.contains("frozen") ? significant(point.at("frozen"), 5) : "the same"});
  }
  return table.str();
}

std::string uncertainties(const Json& result, const std::string& poi) {
  if (!result.contains("at")) return "";
  HtmlTable table("lrr", {"Parameter", "θ", fmt::format("σ({}) there", poi)});
  for (const Json& point : result.at("at")) {
    table.row({point.at("parameter").get<std::string>(), significant(point.at("theta"), 3),
               significant(point.at("sigma"))});
  }
  return table.str();
}

std::string adversary(const Json& result) {
  if (!result.contains("adversary")) return "";
  const Json& game = result.at("adversary");
  return cli::key_table({{"Loss of the adversary", significant(game.at("loss"))},
                         {"Without information", significant(game.at("blind"))},
                         {"Entropy of θ", significant(game.at("entropy"))}});
}

std::string closure(const Json& result) {
  if (!result.contains("closure")) return "";
  HtmlTable table("rlrr", {"θ", "Feature", "χ² before", "χ² after"});
  HtmlTable told("rrr", {"θ", "Told apart before", "Told apart after"});
  for (const Json& point : result.at("closure")) {
    const Json& before = point.at("before");
    const Json& after = point.at("after");
    const std::string theta = significant(point.at("theta"), 3);
    for (std::size_t k = 0; k < after.at("features").size(); ++k) {
      const Json& feature = after.at("features").at(k);
      table.row({theta, feature.at("name").get<std::string>(),
                 significant(before.at("features").at(k).at("chi2"), 3),
                 fmt::format("{} / {}", significant(feature.at("chi2"), 3),
                             feature.at("ndf").get<std::int64_t>())});
    }
    told.row({theta, significant(before.at("auc")),
              fmt::format("{} ± {}", significant(after.at("auc")),
                          significant(after.at("auc_error"), 2))});
  }
  return html_element("h3", "Closure") + table.str() + told.str() +
         html_element("p",
                      "Told apart: area under the curve of a classifier of both samples; 0.5 is "
                      "closure.",
                      "note");
}

}  // namespace

std::string learning_section(const Json& result, const std::string& poi) {
  if (!result.is_object()) return "";
  const std::string text =
      separation(result) + uncertainties(result, poi) + adversary(result) + closure(result);
  return text.empty() ? "" : cli::html_section("learning", "Learning", text);
}

}  // namespace slalom::experiment
