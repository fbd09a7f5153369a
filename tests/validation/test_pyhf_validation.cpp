// SPDX-License-Identifier: Apache-2.0
/// \file
/// The models that pyhf compares with ROOT (pyhf/tests/test_validation.py), with its stored values,
/// and with exact ones of independent fits to rounding.
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/hypotest.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/workspace.hpp"
#include "support/catch.hpp"
#include "support/models.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::AsymptoticCalculator;
using slalom::Fitter;
using slalom::HypothesisTest;
using slalom::Model;
using slalom::TestStatistic;

namespace {

constexpr const char* k_mu = R"([{"name": "mu", "type": "normfactor", "data": null}])";

/// A sample as JSON; `modifiers` is a JSON array.
std::string sample(const std::string& name, const std::string& data, const std::string& modifiers) {
  return R"({"name": ")" + name + R"(", "data": )" + data + R"(, "modifiers": )" + modifiers + "}";
}

std::string normsys(const std::string& name, const std::string& hi, const std::string& lo) {
  return R"([{"name": ")" + name + R"(", "type": "normsys", "data": {"hi": )" + hi + R"(, "lo": )" +
         lo + "}}]";
}

std::string shapesys(const std::string& name, const std::string& data) {
  return R"([{"name": ")" + name + R"(", "type": "shapesys", "data": )" + data + "}]";
}

std::string shapefactor(const std::string& name) {
  return R"([{"name": ")" + name + R"(", "type": "shapefactor", "data": null}])";
}

struct Channel {
  std::string name, data;
  std::vector<std::string> samples;
};

slalom::ModelOptions codes_of(const std::string& family) {
  slalom::ModelOptions options;
  if (family == "code1/code0") {
    options.normsys_code = slalom::NormsysCode::code1;
    options.histosys_code = slalom::HistosysCode::code0;
  }
  return options;
}

Model model_of(const std::vector<Channel>& channels, const std::string& family,
               const std::string& parameters = "") {
  std::string text = R"({"channels": [)";
  std::string observations;
  for (const Channel& c : channels) {
    const std::string comma = observations.empty() ? "" : ", ";
    text += comma + R"({"name": ")" + c.name + R"(", "samples": [)";
    for (std::size_t i = 0; i < c.samples.size(); ++i) text += (i > 0 ? ", " : "") + c.samples[i];
    text += "]}";
    observations += comma + R"({"name": ")" + c.name + R"(", "data": )" + c.data + "}";
  }
  text += R"(], "observations": [)" + observations + R"(], "measurements": [{"name": "m",
            "config": {"poi": "mu", "parameters": [)" +
          parameters + R"(]}}], "version": "1.0.0"})";
  return Model(
      make_model_spec(slalom::parse_workspace(slalom::parse_json(text)), codes_of(family)));
}

/// One row of the table.
struct Case {
  std::string name;
  Model model;
  double exact;                      ///< CLs of independent fits to rounding
  std::array<double, 5> exact_band;  ///< of fits with pyhf's likelihood and a simplex, to 3e-7
  double stored;                     ///< pyhf's; 0 without one
  std::array<double, 5> stored_band;
  double tolerance;  ///< relative, of pyhf's stored values
};

std::vector<Case> cases() {
  const std::string linear = "code1/code0", smooth = "code4/code4p";
  const std::vector<Channel> norm = {
      {"singlechannel",
       "[120, 180]",
       {sample("signal", "[30, 95]", k_mu),
        sample("background", "[100, 150]", normsys("bkg_norm", "1.1", "0.9"))}}};
  const std::vector<Channel> histo = {
      {"singlechannel",
       "[120, 180]",
       {sample("signal", "[30, 95]", k_mu), sample("background", "[100, 150]",
                                                   R"([{"name": "bkg_norm", "type": "histosys",
                    "data": {"hi_data": [102, 190], "lo_data": [98, 100]}}])")}}};
  const std::vector<Channel> coupled_norm = {
      {"signal",
       "[105, 220]",
       {sample("signal", "[10, 35]", k_mu),
        sample("bkg1", "[100, 100]", normsys("coupled", "1.1", "0.9")),
        sample("bkg2", "[50, 100]", normsys("coupled", "1.5", "0.5"))}},
      {"control",
       "[110, 105]",
       {sample("background", "[100, 100]", normsys("coupled", "1.1", "0.9"))}}};
  const std::array<double, 5> norm_band = {7.47258140e-10, 5.74173827e-8, 3.69012095e-6,
                                           1.69668828e-4, 4.39293529e-3};
  const std::array<double, 5> histo_band = {7.13390424e-6, 1.25471006e-4, 1.88001067e-3,
                                            0.02078964908, 0.13692494524};
  const std::array<double, 5> coupled_band = {0.05522270454, 0.13613018808, 0.30686879632,
                                              0.58394379101, 0.85547082850};
  return {
      {"1bin_example1",
       model_of({{"singlechannel",
                  "[55]",
                  {sample("signal", "[10]", k_mu),
                   sample("background", "[50]", shapesys("uncorr", "[7]"))}}},
                linear),
       0.454186530216,
       {0.063717983004, 0.1509650152, 0.32796066893, 0.60460870526, 0.86626274773},
       0.45418892944576333,
       {0.06372011644, 0.15096866181, 0.32796574302, 0.60461356983, 0.86626523320},
       4e-5},
      {"1bin_lumi",
       model_of(
           {{"singlechannel",
             "[55]",
             {sample("signal", "[20]", k_mu),
              sample("background1", "[100]", R"([{"name": "lumi", "type": "lumi", "data": null}])"),
              sample("background2", "[0]",
                     R"([{"name": "lumi", "type": "lumi", "data": null}])")}}},
           linear,
           R"({"name": "lumi", "auxdata": [1], "inits": [1], "sigmas": [0.1], "bounds": [[0, 10]]})"),
       0.010472829227,
       {0.010603506403, 0.040223084833, 0.13614300594, 0.37078454403, 0.7110423255},
       0.010473144401519705,
       {0.01060400766, 0.04022451458, 0.13614632580, 0.37078985531, 0.71104685402},
       1e-4},
      {"1bin_normsys",
       model_of(norm, linear),
       0.000673534132,
       {7.4728022573e-10, 5.7418834994e-08, 3.6901986897e-06, 0.0001696716951, 0.0043929916453},
       0.0006735336290569807,
       norm_band,
       3e-4},
      {"1bin_normsys, code4",
       model_of(norm, smooth),
       0.000671880341,
       {7.4728022573e-10, 5.7418834994e-08, 3.6901986897e-06, 0.0001696716951, 0.0043929916453},
       0.0,
       {},
       0.0},
      {"2bin_histosys_example2",
       model_of(histo, linear),
       0.100146234712,
       {7.1339951784e-06, 0.00012546355136, 0.0018799233477, 0.020788944399, 0.13692191448},
       0.1001463460725534,
       histo_band,
       3e-4},
      {"2bin_histosys_example2, code4p",
       model_of(histo, smooth),
       0.100948560590,
       {7.2157893235e-06, 0.00012663915631, 0.001893678369, 0.020899830824, 0.13739831644},
       0.0,
       {},
       0.0},
      {"2bin_2channel_example1",
       model_of({{"signal",
                  "[110, 155]",
                  {sample("signal", "[10, 35]", k_mu),
                   sample("background", "[100, 150]", shapesys("uncorr_signal", "[10, 10]"))}},
                 {"control",
                  "[205, 345]",
                  {sample("background", "[200, 350]", shapesys("uncorr_control", "[5, 10]"))}}},
                linear),
       0.056332629234,
       {0.00043491387387, 0.0034223020704, 0.02337424286, 0.12186545805, 0.40382080832},
       0.0563327694384318,
       {4.34923460e-4, 3.42236154e-3, 0.02337454318, 0.12186650297, 0.40382274594},
       3e-4},
      {"2bin_2channel_couplednorm",
       model_of(coupled_norm, linear),
       0.590627644792,
       {0.055229264164, 0.13614195015, 0.3068858916, 0.58396091028, 0.85547996484},
       0.5906216823766879,
       coupled_band,
       3e-4},
      {"2bin_2channel_couplednorm, code4",
       model_of(coupled_norm, smooth),
       0.588740511520,
       {0.053161655376, 0.1324292991, 0.30145882415, 0.57849492825, 0.85254600706},
       0.0,
       {},
       0.0},
      {"2bin_2channel_coupledshapefactor",
       model_of({{"signal",
                  "[220, 230]",
                  {sample("signal", "[20, 20]", k_mu),
                   sample("bkg1", "[100, 70]", shapefactor("coupled"))}},
                 {"control",
                  "[200, 300]",
                  {sample("background", "[100, 100]", shapefactor("coupled"))}}},
                linear),
       0.542167914084,
       {0.013753300995, 0.048887402889, 0.15555296867, 0.40075614348, 0.73571697036},
       0.5421679124909312,
       {0.01375329993, 0.04888740006, 0.15555296254, 0.40075613433, 0.73571696310},
       1e-5},
  };
}

}  // namespace

TEST_CASE("pyhf's validation models have their CLs and bands", "[validation][pyhf_validation]") {
  for (const Case& c : cases()) {
    INFO(c.name);
    Fitter fitter(c.model);
    const HypothesisTest test = AsymptoticCalculator(fitter, {}, TestStatistic::q).test(1.0);
    INFO(test.message);
    REQUIRE(test.converged);
    CHECK_THAT(test.cls, WithinRel(c.exact, 1e-9));
    for (std::size_t i = 0; i < 5; ++i) {
      INFO(i);
      CHECK_THAT(test.cls_expected[i], WithinRel(c.exact_band[i], 3e-7));
    }
    if (c.stored == 0.0) continue;
    CHECK_THAT(test.cls, WithinRel(c.stored, c.tolerance));
    for (std::size_t i = 0; i < 5; ++i) {
      CHECK_THAT(test.cls_expected[i], WithinRel(c.stored_band[i], c.tolerance));
    }
  }
}

TEST_CASE("pyhf's validation model of a discovery", "[validation][pyhf_validation]") {
  const Model model = slalom::test::uncorrelated_background({25.0}, {50.0}, {7.0}, {80.0});
  Fitter fitter(model);
  const slalom::DiscoveryTest test = AsymptoticCalculator(fitter).discovery();
  REQUIRE(test.converged);
  CHECK_THAT(test.test_statistic, WithinRel(7.061965414, 1e-9));
  CHECK_THAT(test.p0, WithinRel(0.003936878440, 1e-9));
  CHECK_THAT(test.p0, WithinRel(0.003936883191585841, 3e-6));
  const double exact[] = {1.2208769823e-05, 0.00064069110025, 0.0132054081, 0.1112102337,
                          0.41288995855};
  const double stored[] = {1.22047147e-5, 6.4052374e-4, 0.01320286716, 0.11119604158,
                           0.41286079728};
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK_THAT(test.p0_band[i], WithinRel(exact[i], 3e-7));
    CHECK_THAT(test.p0_band[i], WithinRel(stored[i], 4e-4));
  }
}

TEST_CASE("pyhf's validation model with a bin that has no nuisance parameter",
          "[validation][pyhf_validation]") {
  const Model model =
      model_of({{"channel1",
                 "[100, 10]",
                 {sample("signal", "[20, 10]", k_mu),
                  sample("background1", "[100, 10]", shapesys("syst", "[10, 0]"))}}},
               "code4/code4p");
  Fitter fitter(model);
  const HypothesisTest test = AsymptoticCalculator(fitter).test(1.0);
  REQUIRE(test.converged);
  CHECK_THAT(test.cls, WithinRel(0.004360634405484502, 1e-6));
  const double band[] = {2.702197937866914e-05, 3.7099917612576155e-04, 4.360634386335687e-03,
                         0.03815031509701916, 0.20203027564155074};
  for (std::size_t i = 0; i < 5; ++i) CHECK_THAT(test.cls_expected[i], WithinRel(band[i], 1e-6));
}

// Where a likelihood has two minima, pyhf and ROOT store the value of the one their minimisers end
// in. It comes out if the fits begin on that side and look for no other.
TEST_CASE("pyhf's validation model with two minima: both branches",
          "[validation][pyhf_validation]") {
  struct Branches {
    std::string family;
    double global, branch;  // mpmath, 40 digits
    std::array<double, 5> global_band, branch_band;
  };
  for (const Branches& c : {Branches{"code1/code0",
                                     0.138305152364683,
                                     0.0796739907632497,
                                     {0.001783676606263, 0.01031172173631, 0.05226370164992,
                                      0.2060557086879, 0.5357296755556},
                                     {1.765374640681e-5, 0.00026265644648, 0.003340036112073,
                                      0.031522352918, 0.179077428766}},
                            Branches{"code4/code4p",
                                     0.114043421716646,
                                     0.0655250359118368,
                                     {0.001416856389351, 0.008625520992832, 0.04595217192306,
                                      0.1897745248063, 0.5133412188015},
                                     {3.465089368474e-5, 0.0004536764330573, 0.005090190310909,
                                      0.04258677915749, 0.2164110420899}}}) {
    INFO(c.family);
    const Model model = slalom::test::coupled_histosys(codes_of(c.family));
    Fitter fitter(model);
    slalom::FitOptions options;
    options.tolerance = 1e-12;  // Asimov data inherit the precision of their fit
    const HypothesisTest global = AsymptoticCalculator(fitter, options, TestStatistic::q).test(1.0);
    REQUIRE(global.converged);
    CHECK_THAT(global.cls, WithinRel(c.global, 1e-11));
    slalom::FitOptions on_branch = options;
    on_branch.init = {0.5, 0.5};  // alpha, mu
    on_branch.search_minima = false;
    on_branch.warm_start = true;  // the two careful first steps lead to the other side
    const HypothesisTest branch =
        AsymptoticCalculator(fitter, on_branch, TestStatistic::q).test(1.0);
    REQUIRE(branch.converged);
    CHECK_THAT(branch.cls, WithinRel(c.branch, 1e-11));
    for (std::size_t i = 0; i < 5; ++i) {
      CHECK_THAT(global.cls_expected[i], WithinRel(c.global_band[i], 1e-11));
      CHECK_THAT(branch.cls_expected[i], WithinRel(c.branch_band[i], 1e-11));
    }
    if (c.family != "code1/code0") continue;
    CHECK_THAT(branch.cls, WithinRel(0.07967400132261188, 3e-7));
    const double band[] = {1.76543789e-5, 2.62664094e-4, 3.34011138e-3, 0.03152286332,
                           0.17907927340};
    for (std::size_t i = 0; i < 5; ++i)
      CHECK_THAT(branch.cls_expected[i], WithinRel(band[i], 3e-4));
  }
}
