// SPDX-License-Identifier: Apache-2.0
#include "experiment/stage_page.hpp"

#include <fmt/format.h>
#include <torch/version.h>
#include <vector>

#include "cli/report/html.hpp"
#include "experiment/documents.hpp"
#include "experiment/report.hpp"
#include "experiment/stage_files.hpp"
#include "slalom/core/version.hpp"

namespace slalom::experiment {

namespace {

using cli::html_element;
using cli::html_section;
using nlohmann::ordered_json;

std::string text_of(const StagePage& page, const ordered_json& result, cli::Pictures& pictures) {
  Warnings warnings;
  for (const auto& warning : result.at("warnings")) {
    warnings.push_back(
        {warning.at("message").get<std::string>(), warning.at("where").get<std::string>()});
  }
  std::string head = html_element("h1", page.name);
  if (!page.description.empty()) head += html_element("p", page.description, "source");
  if (!page.alarm.empty()) head += html_element("p", page.alarm, "bad");
  std::vector<std::vector<std::string>> rows{
      {"Page made by", fmt::format("slalom {}, LibTorch {}", version(), TORCH_VERSION)},
      {"Result made by", "slalom " + result.at("version").get<std::string>()}};
  if (!pictures.failure().empty()) {
    rows.push_back({"Pictures", "none: " + pictures.failure()});
    head += html_element("p", "This report has no pictures: " + pictures.failure(), "bad");
  }
  std::string sections = html_section("summary", "Summary", preformatted(page.summary));
  if (!warnings.empty()) {
    sections += html_section("warnings", "Warnings", cli::warnings_list(warnings));
  }
  sections += page.sections +
              html_section("document", "Document in full", preformatted(page.document.dump(2))) +
              html_section("provenance", "Provenance", cli::key_table(rows));
  return cli::html_page("slalom: " + page.name, head, sections);
}

}  // namespace

std::string write_stage_page(
    const std::filesystem::path& directory, const std::filesystem::path& page,
    const std::function<StagePage(const ordered_json&, cli::Pictures&)>& make) {
  const std::filesystem::path file = directory / k_stages_result;
  make_directory(directory / "plots");
  cli::Pictures pictures(directory / "plots");
  try {
    const auto result = ordered_json::parse(read_text(file));
    write_text(page.empty() ? directory / "report.html" : page,
               text_of(make(result, pictures), result, pictures));
  } catch (const ordered_json::exception& error) {
    throw Error(ErrorKind::json, fmt::format("not what was written there: {}", error.what()),
                file.string());
  }
  return pictures.failure();
}

}  // namespace slalom::experiment
