// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <fmt/format.h>

#include "cli/result.hpp"
#include "cli/text.hpp"
#include "resonance/resonance_report.hpp"

namespace slalom::resonance {

namespace {

using nlohmann::ordered_json;

std::string number(const ordered_json& figures, const char* key, int digits = 3) {
  const auto found = figures.find(key);
  if (found == figures.end() || !found->is_number()) return "-";
  return cli::brief(found->get<double>(), digits);
}

std::string interval(const ordered_json& figures) {
  if (!figures.contains("lower") || !figures.contains("upper")) return "-";
  return fmt::format("[{}, {}]", number(figures, "lower"), number(figures, "upper"));
}

std::string best_improvement(const ordered_json& figures) {
  const auto found = figures.find("sic");
  return found == figures.end() || found->is_null() ? "-" : number(*found, "max");
}

void fraction_row(cli::Table& table, const std::string& name, const ordered_json& figures,
                  const std::string& sic) {
  table.row({name, number(figures, "fraction"), interval(figures), number(figures, "q0", 4),
             number(figures, "z"), sic});
}

}  // namespace

std::string result_text(const ordered_json& result) {
  const ordered_json& events = result.at("events");
  std::string text =
      fmt::format("  {}: {} events in the signal region, {} in the sidebands\n",
                  result.at("name").get<std::string>(), events.at("region").get<std::int64_t>(),
                  events.at("sidebands").get<std::int64_t>());
  if (events.contains("signal")) {
    text += fmt::format("  true signal: {} events, fraction {}, S/sqrt(B) {}\n",
                        events.at("signal").get<std::int64_t>(), number(events, "signal_fraction"),
                        number(events, "s_over_sqrt_b"));
  }
  if (result.contains("guard")) {
    const ordered_json& guard = result.at("guard");
    text += fmt::format("  guard of the background: {}; q0 {}, AUC {}\n",
                        guard.at("passed").get<bool>() ? "passed" : "FAILED", number(guard, "q0"),
                        number(guard, "auc", 4));
  }
  cli::Table table("lrrrrr");
  table.row({"method", "fraction", "68 %", "q0", "Z", "SIC"});
  for (const auto& [name, figures] : result.at("methods").items()) {
    const std::string sic = best_improvement(figures);
    if (name == "ranode") {
      if (figures.contains("scan")) fraction_row(table, "RANODE, scan", figures.at("scan"), sic);
      fraction_row(table, "RANODE, joint fit", figures.at("joint"), sic);
    } else {
      fraction_row(table, name, figures, sic);
      if (figures.contains("fit")) fraction_row(table, name + ", fit", figures.at("fit"), "-");
    }
  }
  return text + "\n" + table.str();
}

}  // namespace slalom::resonance
