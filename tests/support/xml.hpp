// SPDX-License-Identifier: Apache-2.0
/// \file
/// A check that text is well-formed XML (elements, attributes, character references), and what is
/// in it.
#pragma once

#include <cstdlib>
#include <set>
#include <string>
#include <vector>

namespace slalom::test {

/// What was found in an XML document.
struct Xml {
  std::string error;               ///< empty if the document is well-formed
  std::set<std::string> elements;  ///< names
  std::set<std::string> ids;       ///< values of id
  std::string text;                ///< between the tags, references resolved

  /// Whether the text between the tags has a part.
  bool contains(const std::string& part) const { return text.find(part) != std::string::npos; }
};

namespace detail {

/// Resolves the predefined references; a bare '&' is an error.
inline std::string resolved(const std::string& text, std::string& error) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '&') {
      result += text[i];
      continue;
    }
    const std::size_t end = text.find(';', i);
    const std::string name = end == std::string::npos ? "" : text.substr(i + 1, end - i - 1);
    if (name == "amp") {
      result += '&';
    } else if (name == "lt") {
      result += '<';
    } else if (name == "gt") {
      result += '>';
    } else if (name == "quot") {
      result += '"';
    } else if (name.size() > 1 && name[0] == '#') {
      result += '?';
    } else {
      error = "bare & in: " + text.substr(i, 30);
      return result;
    }
    i = end;
  }
  return result;
}

/// Attributes of a tag, after the element's name.
inline void read_attributes(const std::string& tag, std::size_t at, Xml& xml) {
  std::set<std::string> seen;
  while (true) {
    at = tag.find_first_not_of(" \t\n/?", at);
    if (at == std::string::npos) return;
    const std::size_t equal = tag.find('=', at);
    if (equal == std::string::npos) {
      xml.error = "attribute without a value in <" + tag + ">";
      return;
    }
    const std::string name = tag.substr(at, tag.find_last_not_of(" \n", equal - 1) + 1 - at);
    const std::size_t open = tag.find_first_not_of(" \n", equal + 1);
    const bool quoted = open != std::string::npos && (tag[open] == '"' || tag[open] == '\'');
    const std::size_t close = quoted ? tag.find(tag[open], open + 1) : std::string::npos;
    if (close == std::string::npos || !seen.insert(name).second) {
      xml.error = "bad attribute '" + name + "' in <" + tag + ">";
      return;
    }
    const std::string value = tag.substr(open + 1, close - open - 1);
    if (value.find('<') != std::string::npos) xml.error = "< in an attribute: " + value;
    resolved(value, xml.error);
    if (name == "id" && !xml.ids.insert(value).second) xml.error = "two ids '" + value + "'";
    at = close + 1;
  }
}

}  // namespace detail

/// Reads a document; `error` says what is wrong with it, if anything is.
inline Xml read_xml(const std::string& document) {
  Xml xml;
  std::vector<std::string> open;
  std::size_t at = 0;
  while (xml.error.empty()) {
    const std::size_t begin = document.find('<', at);
    const std::string between = document.substr(at, begin - at);
    // Style sheets are text for our purposes; '>' is allowed in it.
    xml.text += detail::resolved(between, xml.error);
    if (begin == std::string::npos) break;
    const bool comment = document.compare(begin, 4, "<!--") == 0;
    const std::size_t end = comment ? document.find("-->", begin) : document.find('>', begin);
    if (end == std::string::npos) {
      xml.error = "open tag at the end";
      break;
    }
    at = end + (comment ? 3 : 1);
    const std::string tag = document.substr(begin + 1, end - begin - 1);
    if (comment || tag[0] == '!' || tag[0] == '?') continue;
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1)) {
        xml.error = "unexpected <" + tag + ">";
        break;
      }
      open.pop_back();
      continue;
    }
    const std::string name = tag.substr(0, tag.find_first_of(" \t\n/"));
    xml.elements.insert(name);
    detail::read_attributes(tag, name.size(), xml);
    if (tag.back() != '/') open.push_back(name);
  }
  if (xml.error.empty() && !open.empty()) xml.error = "<" + open.back() + "> is not closed";
  return xml;
}

/// Whether plots can be drawn here.
inline bool has_gnuplot() { return std::system("gnuplot --version > /dev/null 2>&1") == 0; }

}  // namespace slalom::test
