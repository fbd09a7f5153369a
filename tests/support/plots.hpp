// SPDX-License-Identifier: Apache-2.0
/// \file
/// Draws pictures and looks at them.
#pragma once

#include <string>

#include "slalom/workflows/plot.hpp"
#include "support/catch.hpp"
#include "support/command_line.hpp"
#include "support/xml.hpp"

namespace slalom::test {

/// Draws as SVG and as part of a page, and checks that both are well-formed.
/// \return the text in it; everything is empty where gnuplot is missing
inline Xml drawn(const Picture& picture) {
  CHECK(picture.width > 100.0);
  CHECK(picture.height > 80.0);
  CHECK_FALSE(picture.alternative.empty());
  if (!has_gnuplot()) {
    WARN("SKIPPED: gnuplot is not installed");
    return {};
  }
  const TemporaryFolder folder;
  draw(picture, folder.path("plot.svg"));
  const Xml xml = read_xml(text_of(folder.path("plot.svg")));
  INFO(xml.error);
  CHECK(xml.error.empty());
  CHECK(xml.elements.contains("svg"));
  const Xml part = read_xml(inline_svg(picture, "p1_"));
  INFO(part.error);
  CHECK(part.error.empty());
  for (const std::string& id : part.ids) CHECK(id.rfind("p1_", 0) == 0);
  return xml;
}

/// Whether the drawn text has a part; true where gnuplot is missing.
inline bool shows(const Xml& xml, const std::string& part) {
  return xml.elements.empty() || xml.contains(part);
}

}  // namespace slalom::test
