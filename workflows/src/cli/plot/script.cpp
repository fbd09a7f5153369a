// SPDX-License-Identifier: Apache-2.0
#include "cli/plot/script.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fmt/format.h>

#include "cli/text.hpp"

namespace slalom::cli {

namespace {

constexpr double k_title_size = 1.15;
constexpr double k_line = 24.0;

std::string bold(const std::string& title) {
  return title.empty() ? "" : fmt::format("{{/:Bold*{} {}}}", k_title_size, title);
}

/// About the width in Helvetica, in units of the size of the font.
double character_width(char c) {
  const auto code = static_cast<unsigned char>(c);
  if ((code & 0xC0U) == 0x80U) return 0.0;  // goes on with a character that was counted
  if (std::strchr("iljtfI.,:;|'![]() ", c) != nullptr) return 0.31;
  if (std::strchr("mwMW@%", c) != nullptr) return 0.88;
  return c >= 'A' && c <= 'Z' ? 0.7 : 0.56;
}

bool heading_fits(const PlotStyle& style, double width) {
  const double title = text_width(style.title, k_font_size * k_title_size * 1.1);
  return title + text_width(style.note) + 2.0 * k_character < width;
}

}  // namespace

std::string number(double value) { return std::isfinite(value) ? exact(value) : "NaN"; }

std::string gnuplot_text(const std::string& text) {
  std::string quoted = "'";
  for (const char c : one_line(text)) {
    if (c == '\'') quoted += '\'';
    quoted += c;
  }
  return quoted + "'";
}

std::string label_of(const PlotStyle& style, const std::string& name, std::size_t width) {
  const auto label = style.labels.find(name);
  return label != style.labels.end() ? label->second : without_markup(shorten(name, width));
}

double text_width(const std::string& markup, double size) {
  double width = 0.0;  // in units of the size of the font
  bool font = false;   // between "{/" and the blank after the font's name
  for (std::size_t i = 0; i < markup.size(); ++i) {
    const char c = markup[i];
    if (font) {
      font = c != ' ';
    } else if (c == '\\' && i + 1 < markup.size()) {
      width += character_width(markup[++i]);
    } else if (c == '{') {
      font = i + 1 < markup.size() && markup[i + 1] == '/';
    } else if (c != '}' && c != '^' && c != '_') {
      width += character_width(c);
    }
  }
  return width * size;
}

std::string sized(const std::string& markup, double factor) {
  return markup.empty() ? markup : fmt::format("{{/*{:.3g} {}}}", factor, markup);
}

std::string data_block(const std::string& name, const std::vector<std::vector<double>>& rows) {
  std::string text = fmt::format("${} << EOD\n", name);
  for (const std::vector<double>& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) text += (i == 0 ? "" : " ") + number(row[i]);
    text += '\n';
  }
  return text + "EOD\n";
}

std::string margins(const Picture& page, const Frame& frame) {
  return fmt::format(
      "set lmargin at screen {:.6f}; set rmargin at screen {:.6f}\n"
      "set tmargin at screen {:.6f}; set bmargin at screen {:.6f}\n",
      frame.left / page.width, frame.right / page.width, 1.0 - frame.top / page.height,
      1.0 - frame.bottom / page.height);
}

std::string text_at(const Picture& page, double x, double y, const std::string& markup,
                    const std::string& options) {
  if (markup.empty()) return "";
  return fmt::format("set label {} at screen {:.6f},{:.6f} {} front\n", gnuplot_text(markup),
                     x / page.width, 1.0 - y / page.height, options);
}

std::string heading(const Picture& page, const Frame& frame, const PlotStyle& style) {
  const double base = frame.top - 0.75 * k_line;
  const bool fits = heading_fits(style, frame.width());
  return text_at(page, frame.left, fits ? base : base - k_line, bold(style.title)) +
         (fits ? text_at(page, frame.right, base, style.note, "right")
               : text_at(page, frame.left, base, style.note));
}

double heading_width(const PlotStyle& style) {
  return std::max(text_width(style.title, k_font_size * k_title_size * 1.1),
                  text_width(style.note));
}

double heading_height(const PlotStyle& style, double width) {
  if (style.title.empty() && style.note.empty()) return 0.6 * k_line;
  return heading_fits(style, width) ? 1.5 * k_line : 2.5 * k_line;
}

std::string inner_lines(const Picture& page, const Frame& frame,
                        const std::vector<std::string>& markup, double below) {
  std::string text;
  for (std::size_t i = 0; i < markup.size(); ++i) {
    text += text_at(page, frame.left + 18.0,
                    frame.top + below + 0.9 * k_line + k_line * static_cast<double>(i), markup[i]);
  }
  return text;
}

double tick_step(double range, double count) {
  const double wanted = range / count;
  if (!(wanted > 0.0) || !std::isfinite(wanted)) return 1.0;
  const double power = std::pow(10.0, std::floor(std::log10(wanted)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= wanted) return factor * power;
  }
  return 10.0 * power;
}

}  // namespace slalom::cli
