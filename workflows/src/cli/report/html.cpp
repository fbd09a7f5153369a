// SPDX-License-Identifier: Apache-2.0
#include "cli/report/html.hpp"

#include <fmt/format.h>

namespace slalom::cli {

std::string html_text(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += static_cast<unsigned char>(c) < 0x20U || c == 0x7F ? ' ' : c;
    }
  }
  return escaped;
}

std::string html_element(const std::string& tag, std::string_view text, const std::string& css) {
  const std::string attribute = css.empty() ? "" : fmt::format(" class=\"{}\"", css);
  return fmt::format("<{0}{1}>{2}</{0}>\n", tag, attribute, html_text(text));
}

std::string html_section(const std::string& id, const std::string& title, const std::string& body) {
  if (body.empty()) return "";
  return fmt::format("<section id=\"{}\">\n{}{}</section>\n", id, html_element("h2", title), body);
}

HtmlTable::HtmlTable(std::string alignment, std::vector<std::string> header)
    : alignment_(std::move(alignment)) {
  if (header.empty()) return;
  for (std::size_t i = 0; i < header.size(); ++i) head_ += cell("th", i, header[i]);
  head_ = "<thead><tr>" + head_ + "</tr></thead>\n";
}

std::string HtmlTable::cell(const std::string& tag, std::size_t column,
                            const std::string& text) const {
  const bool right = column < alignment_.size() && alignment_[column] == 'r';
  return fmt::format("<{0}{1}>{2}</{0}>", tag, right ? " class=\"n\"" : "", html_text(text));
}

void HtmlTable::row(const std::vector<std::string>& cells, const std::string& css) {
  body_ += css.empty() ? "<tr>" : fmt::format("<tr class=\"{}\">", css);
  for (std::size_t i = 0; i < alignment_.size(); ++i) {
    body_ += cell("td", i, i < cells.size() ? cells[i] : "");
  }
  body_ += "</tr>\n";
}

void HtmlTable::title(const std::string& text) {
  body_ += fmt::format("<tr class=\"title\"><td colspan=\"{}\">{}</td></tr>\n", alignment_.size(),
                       html_text(text));
}

std::string HtmlTable::str() const {
  return "<table>\n" + head_ + "<tbody>\n" + body_ + "</tbody>\n</table>\n";
}

}  // namespace slalom::cli
