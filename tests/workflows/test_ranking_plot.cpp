// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/core/workspace.hpp"
#include "slalom/workflows/ranking_plot.hpp"
#include "support/plots.hpp"

namespace {

slalom::Model small_model() {
  return slalom::Model(slalom::make_model_spec(
      slalom::parse_workspace(slalom::parse_json(slalom::test::small_workspace()))));
}

slalom::RankingPlot ranking(bool refit, std::size_t most) {
  const slalom::Model model = small_model();
  slalom::Fitter fitter(model);
  const std::size_t poi = *model.spec().poi;
  const auto impacts = slalom::impacts(fitter, poi, {}, {refit, 1});
  const auto pulls = slalom::pulls(model, impacts.best, fitter.errors(impacts.best), poi);
  return slalom::ranking_plot(model.spec(), impacts, pulls, most);
}

}  // namespace

TEST_CASE("impacts are drawn, the largest on top", "[workflows][ranking_plot]") {
  const auto plot = ranking(true, 2);
  CHECK(plot.target == "mu");
  CHECK(plot.error > 0.0);
  CHECK(plot.prefit);
  REQUIRE(plot.parameters.size() == 2);
  CHECK(plot.hidden == 1);
  CHECK(std::abs(plot.parameters[0].postfit_up) >= std::abs(plot.parameters[1].postfit_up));
  const auto svg = slalom::test::drawn(slalom::picture(plot));
  CHECK(slalom::test::shows(svg, plot.parameters[0].name));
  CHECK(slalom::test::shows(svg, "Impact on mu"));
  CHECK(slalom::test::shows(svg, "1 smaller: not shown"));
}

TEST_CASE("linear impacts stand for re-fits", "[workflows][ranking_plot]") {
  const auto plot = ranking(false, 20);
  CHECK_FALSE(plot.prefit);
  REQUIRE(plot.parameters.size() == 3);
  for (const auto& parameter : plot.parameters) {
    CHECK(parameter.postfit_up == -parameter.postfit_down);
    CHECK(parameter.postfit_up != 0.0);
  }
  slalom::test::drawn(slalom::picture(plot));
}

TEST_CASE("parameters without a constraint show their value", "[workflows][ranking_plot]") {
  slalom::RankingPlot plot{"mu", 1.0, 0.2, {}, 0, true};
  slalom::RankedParameter free;
  free.name = "norm_{x}";
  free.constrained = false;
  free.value = 1.234;
  free.error = 0.05;
  free.postfit_up = 0.1;
  free.postfit_down = -0.1;
  plot.parameters = {free};
  const auto svg = slalom::test::drawn(slalom::picture(plot));
  CHECK(slalom::test::shows(svg, "1.2340 ± 0.0500"));
  CHECK(slalom::test::shows(svg, "norm_{x}"));
  slalom::test::drawn(slalom::picture(slalom::RankingPlot{}));
}
