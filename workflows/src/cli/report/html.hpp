// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

/// \file
/// HTML that is also well-formed XML. Texts are escaped in one place: here.
namespace slalom::cli {

/// Text as it is to be seen, whatever characters it has; control characters become blanks.
std::string html_text(std::string_view text);
/// `<tag class="...">text</tag>`; the text is escaped. \param css class; empty for none
std::string html_element(const std::string& tag, std::string_view text,
                         const std::string& css = "");
/// A section with a heading; empty if the body is. \param id for links
std::string html_section(const std::string& id, const std::string& title, const std::string& body);

/// A table whose cells are escaped.
class HtmlTable {
 public:
  /// \param alignment one character per column: 'l' left, 'r' right
  /// \param header titles of the columns; may be empty
  explicit HtmlTable(std::string alignment, std::vector<std::string> header = {});
  /// Adds a row; missing cells are empty. \param css class of the row; empty for none
  void row(const std::vector<std::string>& cells, const std::string& css = "");
  /// Adds a row with one cell over all columns.
  void title(const std::string& text);
  /// True if there is no row.
  bool empty() const { return body_.empty(); }
  /// The table.
  std::string str() const;

 private:
  std::string cell(const std::string& tag, std::size_t column, const std::string& text) const;

  std::string alignment_;
  std::string head_;
  std::string body_;
};

}  // namespace slalom::cli
