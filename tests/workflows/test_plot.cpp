// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <string>

#include "slalom/core/error.hpp"
#include "slalom/workflows/plot.hpp"
#include "support/plots.hpp"

using slalom::test::read_xml;
using slalom::test::TemporaryFolder;
using slalom::test::text_of;

namespace {

/// PATH without any program, until the end of the test.
class EmptyPath {
 public:
  explicit EmptyPath(const std::string& folder) : path_(std::getenv("PATH")) {
    setenv("PATH", folder.c_str(), 1);
  }
  ~EmptyPath() { setenv("PATH", path_.c_str(), 1); }
  EmptyPath(const EmptyPath&) = delete;
  EmptyPath& operator=(const EmptyPath&) = delete;

 private:
  std::string path_;
};

slalom::Picture a_picture() {
  return {300.0, 200.0,
          "set label 'text <&> id=\"x\"' at graph 0.5,0.5 noenhanced\n"
          "plot x with filledcurves y=0 fs pattern 4, 2*x with points\n",
          "Two lines & \"more\""};
}

}  // namespace

TEST_CASE("formats are known by their suffix", "[workflows][plot]") {
  CHECK_NOTHROW(slalom::check_plot_format("a.svg"));
  CHECK_NOTHROW(slalom::check_plot_format("a.b.png"));
  CHECK_NOTHROW(slalom::check_plot_format("folder/a.pdf"));
  CHECK_THROWS_AS(slalom::check_plot_format("a.eps"), slalom::Error);
  CHECK_THROWS_AS(slalom::check_plot_format("svg"), slalom::Error);
}

TEST_CASE("markup is taken out of names", "[workflows][plot]") {
  CHECK(slalom::without_markup("mu_SIG") == "mu\\_SIG");
  CHECK(slalom::without_markup("a^{b}@&~\\") == "a\\^\\{b\\}\\@\\&\\~\\\\");
  CHECK(slalom::without_markup("tt̄ + X") == "tt̄ + X");
}

TEST_CASE("gnuplot draws all formats", "[workflows][plot]") {
  if (!slalom::test::has_gnuplot()) {
    WARN("SKIPPED: gnuplot is not installed");
    SUCCEED("skipped");
    return;
  }
  const TemporaryFolder folder;
  slalom::draw(a_picture(), folder.path("plot.svg"));
  const auto svg = read_xml(text_of(folder.path("plot.svg")));
  CHECK(svg.error.empty());
  CHECK(svg.contains("text <&> id=\"x\""));
  slalom::draw(a_picture(), folder.path("plot.png"));
  CHECK(text_of(folder.path("plot.png")).substr(1, 3) == "PNG");
  slalom::draw(a_picture(), folder.path("plot.pdf"));
  CHECK(text_of(folder.path("plot.pdf")).substr(0, 4) == "%PDF");
  CHECK_THROWS_AS(slalom::draw(a_picture(), folder.path("no/folder.svg")), slalom::Error);
  slalom::Picture broken = a_picture();
  broken.script += "plot nonsense(\n";
  CHECK_THROWS_AS(slalom::draw(broken, folder.path("broken.svg")), slalom::Error);
  CHECK_FALSE(std::filesystem::exists(folder.path("broken.svg")));
}

TEST_CASE("pictures of one page have ids of their own", "[workflows][plot]") {
  if (!slalom::test::has_gnuplot()) return;
  const std::string first = slalom::inline_svg(a_picture(), "a_");
  const std::string second = slalom::inline_svg(a_picture(), "b_");
  const auto page = read_xml("<div>" + first + second + "</div>");
  INFO(page.error);
  CHECK(page.error.empty());
  CHECK(page.ids.contains("a_gpPt6"));
  CHECK(page.ids.contains("b_gpPt6"));
  CHECK(page.contains("text <&> id=\"x\""));  // texts are left alone
  CHECK(first.find("'#gp") == std::string::npos);
  CHECK(first.find("(#gp") == std::string::npos);
  CHECK(first.find("aria-label=\"Two lines &amp; &quot;more&quot;\"") != std::string::npos);
  CHECK(first == slalom::inline_svg(a_picture(), "a_"));
}

TEST_CASE("a missing gnuplot is an error that says what to install", "[workflows][plot]") {
  const TemporaryFolder folder;
  const EmptyPath nothing(folder.path(""));
  try {
    slalom::draw(a_picture(), folder.path("plot.svg"));
    FAIL("no error");
  } catch (const slalom::Error& error) {
    CHECK(error.kind() == slalom::ErrorKind::io);
    CHECK(error.message().find("gnuplot-nox") != std::string::npos);
  }
}
