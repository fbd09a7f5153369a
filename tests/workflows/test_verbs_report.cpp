// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom report`.
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "cli/report/html.hpp"
#include "support/catch.hpp"
#include "support/command_line.hpp"
#include "support/xml.hpp"

using slalom::test::has_gnuplot;
using slalom::test::Outcome;
using slalom::test::read_xml;
using slalom::test::small_workspace;
using slalom::test::TemporaryFolder;
using slalom::test::text_of;
using slalom::test::Xml;
using Words = std::vector<std::string>;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at)) {
    text.replace(at, from.size(), to);
    at += to.size();
  }
  return text;
}

/// An environment variable with another value, until the end of the test.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    setenv(name, value.c_str(), 1);
  }
  ~Environment() {
    if (old_.empty()) {
      unsetenv(name_);
    } else {
      setenv(name_, old_.c_str(), 1);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::string old_;
};

/// The page of a workspace, checked to be well-formed and to need nothing else.
Xml page_of(const std::string& html) {
  Xml page = read_xml(html);
  INFO(page.error);
  CHECK(page.error.empty());
  CHECK(page.elements.contains("html"));
  CHECK_FALSE(page.elements.contains("script"));
  CHECK_FALSE(page.elements.contains("link"));
  CHECK_FALSE(page.elements.contains("img"));
  CHECK_FALSE(contains(html, "src="));
  CHECK_FALSE(contains(html, "@import"));
  CHECK_FALSE(contains(html, "url(http"));
  return page;
}

Outcome report_to(const std::string& file, Words words, const std::string& workspace) {
  words.insert(words.begin(), {"report", "-", "-o", file});
  return slalom::test::slalom(words, workspace);
}

}  // namespace

TEST_CASE("a report has all of its parts", "[workflows][verbs_report]") {
  const TemporaryFolder folder;
  const std::string file = folder.path("report.html");
  const Outcome outcome = report_to(file, {"--toys", "20", "--no-date"}, small_workspace());
  CHECK(outcome.code == (has_gnuplot() ? slalom::exit_success : slalom::exit_failure));
  CHECK(contains(outcome.out, "report.html: fit converged, mu = "));
  const Xml page = page_of(text_of(file));
  for (const char* id :
       {"result", "fit", "goodness", "model", "distributions", "yields", "parameters", "pulls",
        "ranking", "breakdown", "correlation", "scan", "limit", "provenance"}) {
    INFO(id);
    CHECK((page.ids.contains(id) || !has_gnuplot()));
  }
  CHECK_FALSE(page.ids.contains("warnings"));
  for (const char* text :
       {"The fit converged, and so did all fits", "68.3 % interval", "95 % CL upper limit",
        "Significance, observed", "KKT residual", "Degrees of freedom", "signal_region", "scale",
        "statistics[0]", "SHA-256", "slalom report - --toys 20 --no-date", "normalisation"}) {
    INFO(text);
    CHECK(page.contains(text));
  }
  CHECK(page.elements.contains("svg") == has_gnuplot());
}

TEST_CASE("parts of a report can be left out", "[workflows][verbs_report]") {
  const TemporaryFolder folder;
  Words words;
  for (const char* part : {"distributions", "yields", "gof", "parameters", "pulls", "ranking",
                           "scan", "breakdown", "limit", "correlation"}) {
    words.insert(words.end(), {"--without", part});
  }
  const std::string file = folder.path("report.html");
  const Outcome outcome = report_to(file, words, small_workspace());
  CHECK(outcome.code == slalom::exit_success);  // without pictures gnuplot does not matter
  const Xml page = page_of(text_of(file));
  CHECK(page.ids == std::set<std::string>{"result", "fit", "model", "provenance"});
  CHECK_FALSE(page.elements.contains("svg"));
}

TEST_CASE("a report has regions of two parameters if asked for", "[workflows][verbs_report]") {
  const TemporaryFolder folder;
  const std::string file = folder.path("report.html");
  const Words words{"--contour", "--contour", "scale", "--no-date"};
  const Outcome outcome = report_to(file, words, small_workspace());
  CHECK(outcome.code == (has_gnuplot() ? slalom::exit_success : slalom::exit_failure));
  const Xml page = page_of(text_of(file));
  CHECK(page.ids.contains("contour"));
  CHECK(page.contains("68.27 %"));
  CHECK(page.contains("95.45 %"));
  CHECK(page.contains("scale from"));
  CHECK(report_to(file, {"--contour", "nobody"}, small_workspace()).code == slalom::exit_usage);
  CHECK(report_to(file, {"--contour", "mu"}, small_workspace()).code == slalom::exit_usage);
  // A model with one parameter has none: a warning, and a page.
  const std::string h4l = SLALOM_SOURCE_DIR "/workflows/examples/h4l/workspace.json";
  const Outcome one = slalom::test::slalom({"report", h4l, "-o", file, "--contour"});
  CHECK(contains(one.err, "no other parameter floats"));
  CHECK_FALSE(page_of(text_of(file)).ids.contains("contour"));
}

TEST_CASE("a report is the same every time", "[workflows][verbs_report]") {
  const TemporaryFolder folder;
  const auto html = [&folder](const char* name, Words words) {
    report_to(folder.path(name), words, small_workspace());
    return text_of(folder.path(name));
  };
  const std::string first = html("a.html", {"--no-date", "--toys", "10", "--quiet"});
  CHECK(first == html("b.html", {"--no-date", "--toys", "10"}));
  CHECK_FALSE(contains(first, ">Date<"));
  CHECK(html("c.html", {"--no-date", "--threads", "1"}).size() > 1000);
  const Environment epoch("SOURCE_DATE_EPOCH", "1700000000");
  const std::string dated = html("d.html", {"--without", "scan"});
  CHECK(contains(dated, "2023-11-14 22:13 UTC"));
  CHECK(dated == html("e.html", {"--without", "scan"}));
  const Environment wrong("SOURCE_DATE_EPOCH", "yesterday");
  const Outcome outcome = report_to(folder.path("f.html"), {"--json"}, small_workspace());
  CHECK(outcome.code == slalom::exit_usage);
  CHECK(outcome.error("where") == "SOURCE_DATE_EPOCH");
}

TEST_CASE("names are seen as they are", "[workflows][verbs_report]") {
  const TemporaryFolder folder;
  const std::string file = folder.path("report.html");
  std::string workspace = replaced(small_workspace(), "\"signal_region\"", "\"<b>&amp;'x'_{y}%s\"");
  workspace = replaced(workspace, "\"scale\"", "\"</td><script>alert(1)</script>\"");
  workspace = replaced(workspace, "\"background\"", "\"\\\\n `ls` $x @y \\\"q\\\"\"");
  workspace = replaced(workspace, "\"nominal\"", "\"<!-- \\u0001 -->\"");
  const Outcome outcome = report_to(file, {"--no-date"}, workspace);
  CHECK(outcome.code == (has_gnuplot() ? slalom::exit_success : slalom::exit_failure));
  const std::string html = text_of(file);
  const Xml page = page_of(html);
  CHECK(page.contains("<b>&amp;'x'_{y}%s"));
  CHECK(page.contains("</td><script>alert(1)</script>"));
  CHECK(page.contains("\\n `ls` $x @y \"q\""));
  CHECK_FALSE(contains(html, "<script"));
  CHECK_FALSE(contains(html, "<b>"));
}

TEST_CASE("a model without a parameter of interest has a report", "[workflows][verbs_report]") {
  const TemporaryFolder folder;
  const std::string file = folder.path("report.html");
  Outcome outcome = report_to(file, {"--poi", "none"}, small_workspace());
  CHECK(outcome.code == (has_gnuplot() ? slalom::exit_success : slalom::exit_failure));
  Xml page = page_of(text_of(file));
  CHECK(page.contains("The model has no parameter of interest"));
  CHECK_FALSE(page.ids.contains("limit"));
  CHECK_FALSE(page.ids.contains("ranking"));
  CHECK(page.ids.contains("yields"));
  outcome = report_to(file, {"--fix", "mu=1"}, small_workspace());
  page = page_of(text_of(file));
  CHECK(page.contains("The parameter of interest mu is held at 1"));
  CHECK_FALSE(page.ids.contains("scan"));
}

TEST_CASE("a best fit at a bound has a report", "[workflows][verbs_report]") {
  const TemporaryFolder folder;
  const std::string file = folder.path("report.html");
  const std::string deficit = replaced(small_workspace(), "[53, 65]", "[30, 35]");
  const Outcome outcome = report_to(file, {}, deficit);
  CHECK(outcome.code == (has_gnuplot() ? slalom::exit_success : slalom::exit_failure));
  const Xml page = page_of(text_of(file));
  CHECK(page.contains("ends at a bound"));
  CHECK(page.contains("The best fit is at a bound"));
}

TEST_CASE("a fit that does not converge is said on top", "[workflows][verbs_report]") {
  const TemporaryFolder folder;
  const std::string file = folder.path("report.html");
  // Events in a bin that the model cannot fill: no parameters give a finite likelihood.
  std::string workspace = replaced(small_workspace(), "\"data\": [100]", "\"data\": [0]");
  const Outcome outcome = report_to(file, {"--json"}, workspace);
  CHECK(outcome.code == slalom::exit_not_converged);
  const auto document = outcome.json();
  CHECK(document.at("fit_converged") == false);
  CHECK(document.at("converged") == false);
  const std::string html = text_of(file);
  const Xml page = page_of(html);
  CHECK(page.contains("THE FIT DID NOT CONVERGE"));
  CHECK(page.ids.contains("warnings"));
  CHECK_FALSE(page.ids.contains("limit"));
  CHECK(html.find("THE FIT DID NOT CONVERGE") < html.find("<section"));
}

TEST_CASE("without gnuplot a report has no pictures", "[workflows][verbs_report]") {
  const TemporaryFolder folder;
  const Environment nothing("PATH", folder.path(""));
  const std::string file = folder.path("report.html");
  const Outcome outcome = report_to(file, {}, small_workspace());
  CHECK(outcome.code == slalom::exit_failure);
  CHECK(contains(outcome.err, "there are no pictures: gnuplot is needed"));
  const Xml page = page_of(text_of(file));
  CHECK(page.contains("This report has no pictures: gnuplot is needed"));
  CHECK(page.contains("95 % CL upper limit"));
  CHECK_FALSE(page.elements.contains("svg"));
}

TEST_CASE("a report goes to a page or to standard output", "[workflows][verbs_report]") {
  const Words few{"--without", "distributions", "--without", "pulls",       "--without", "ranking",
                  "--without", "scan",          "--without", "correlation", "--without", "limit"};
  Outcome outcome = report_to("-", few, small_workspace());
  CHECK(outcome.code == slalom::exit_success);
  page_of(outcome.out);
  outcome = report_to("report.pdf", {"--json"}, small_workspace());
  CHECK(outcome.code == slalom::exit_usage);
  CHECK(outcome.error("where") == "report.pdf");
  outcome = report_to("a.html", {"--without", "everything", "--json"}, small_workspace());
  CHECK(outcome.code == slalom::exit_usage);
}

TEST_CASE("html is escaped", "[workflows][verbs_report]") {
  using namespace slalom::cli;
  CHECK(html_text("<a href='x'>&\"\x01") == "&lt;a href=&#39;x&#39;&gt;&amp;&quot; ");
  CHECK(html_element("p", "<", "note") == "<p class=\"note\">&lt;</p>\n");
  CHECK(html_section("a", "A", "").empty());
  HtmlTable table("lr", {"<", "n"});
  CHECK(table.empty());
  table.title("&");
  table.row({"a"}, "sum");
  const Xml xml = read_xml(table.str());
  CHECK(xml.error.empty());
  CHECK(contains(table.str(), "<tr class=\"sum\"><td>a</td><td class=\"n\"></td></tr>"));
  CHECK(contains(table.str(), "colspan=\"2\">&amp;"));
}
