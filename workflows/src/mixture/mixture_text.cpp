// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "cli/text.hpp"
#include "mixture/mixture_report.hpp"

namespace slalom::mixture {

namespace {

using nlohmann::ordered_json;

std::string number(const ordered_json& figures, const char* key, int digits = 3) {
  const auto found = figures.find(key);
  if (found == figures.end() || !found->is_number()) return "-";
  return cli::brief(found->get<double>(), digits);
}

std::string fit_text(const ordered_json& fit) {
  if (!fit.at("converged").get<bool>()) {
    return fmt::format("  no estimate: {}\n", fit.at("message").get<std::string>());
  }
  const ordered_json& interval = fit.at("interval");
  std::string text = fmt::format("  signal fraction {} +- {}, 68 % [{}, {}], 95 % [{}, {}]",
                                 number(interval, "kappa"), number(interval, "error"),
                                 number(interval, "lower"), number(interval, "upper"),
                                 number(interval, "lower_95"), number(interval, "upper_95"));
  if (fit.contains("truth")) text += fmt::format("; true {}", number(fit, "truth"));
  text += fmt::format("\n  best fit {}, Laplace error {}, sandwich error {}\n",
                      number(fit, "best_fit"), number(fit, "laplace"), number(fit, "sandwich"));
  if (fit.contains("pulls")) {
    const ordered_json& pulls = fit.at("pulls");
    text += fmt::format("  shapes against their prior: chi2 {} of {}, p = {}\n",
                        number(pulls, "chi2"), number(pulls, "degrees"), number(pulls, "p_value"));
  }
  if (fit.contains("hmc")) {
    const ordered_json& hmc = fit.at("hmc");
    text += fmt::format("  chains: R-hat {}, {} effective draws, {} divergences\n",
                        number(hmc, "r_hat", 4), number(hmc, "ess"), number(hmc, "divergences"));
  }
  return text;
}

std::string leave_one_out_text(const ordered_json& figures) {
  cli::Table table("rrrrrr");
  table.row({"left out: K", "strength", "68 %", "95 %", "half-width", "bias"});
  for (const auto& row : figures.at("rows")) {
    table.row(
        {number(row, "simulations"), number(row, "strength"),
         fmt::format("{} +- {}", number(row, "coverage_68"), number(row, "coverage_68_error", 2)),
         number(row, "coverage_95"), number(row, "half_width"), number(row, "bias", 2)});
  }
  const ordered_json& chosen = figures.at("chosen");
  return table.str() +
         (chosen.is_null()
              ? std::string("  none of them covers what it claims\n")
              : fmt::format("  shortest that cover: K = {}, strength {}\n",
                            number(chosen, "simulations"), number(chosen, "strength")));
}

std::string toys_text(const ordered_json& toys) {
  std::string text = fmt::format(
      "  {} draws of simulations, {} data sets each: mean {}, bias {} +- {}, scatter of draws "
      "{}\n\n",
      number(toys, "draws"), number(toys, "toys"), number(toys, "mean"), number(toys, "bias", 2),
      number(toys, "bias_error", 2), number(toys, "scatter", 2));
  cli::Table table("lrrrrr");
  table.row({"error", "mean", "pull mean", "width", "68 %", "95 %"});
  const auto row = [&](const char* name, const ordered_json& figures, const char* size) {
    table.row({name, number(figures, size), number(figures, "pull_mean", 2),
               number(figures, "pull_width", 2), number(figures, "coverage_68"),
               number(figures, "coverage_95")});
  };
  row("quoted", toys, "error");
  row("Laplace", toys.at("laplace"), "mean");
  row("sandwich", toys.at("sandwich"), "mean");
  text += table.str();
  if (toys.contains("flagged")) {
    text += fmt::format("  flagged by their pulls (p < 0.05): {}\n", number(toys, "flagged"));
  }
  return text;
}

}  // namespace

std::string result_text(const ordered_json& result) {
  const ordered_json& data = result.at("data");
  std::string text =
      fmt::format("  {}: {} events in {} bins, {} simulations of each process\n",
                  result.at("name").get<std::string>(), number(result.at("fit"), "events", 7),
                  number(data, "bins", 7), number(data, "simulations", 7));
  text += fit_text(result.at("fit"));
  if (result.contains("leave_one_out")) {
    text += "\n" + leave_one_out_text(result.at("leave_one_out"));
  }
  if (result.contains("toys")) text += "\n" + toys_text(result.at("toys"));
  return text;
}

}  // namespace slalom::mixture
