// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "slalom/workflows/plot.hpp"

/// \file
/// Pieces of gnuplot scripts and the look that all pictures share. Lengths are pixels, counted from
/// the left upper corner of the page.
namespace slalom::cli {

/// Colours that stay apart for people with colour vision deficiencies (M. Petroff,
/// arXiv:2107.02270), without the red, which is the signal's.
constexpr std::array<const char*, 9> k_palette{"#3f90da", "#ffa90e", "#94a4a2",
                                               "#832db6", "#a96b59", "#e76300",
                                               "#b9ac70", "#717581", "#92dadd"};
/// The signal, the best fit, and what deserves attention.
constexpr const char* k_signal_colour = "#bd1f01";
/// One and two standard deviations: green and yellow that stay apart.
constexpr const char* k_one_sigma_colour = "#85ab4b";
constexpr const char* k_two_sigma_colour = "#ffd67a";
/// Variations up and down.
constexpr const char* k_up_colour = "#3f90da";
constexpr const char* k_down_colour = "#ffa90e";
/// Size of the font, and the mean width of its characters.
constexpr double k_font_size = 15.0;
constexpr double k_character = 7.6;

/// A rectangle on the page.
struct Frame {
  double left, top, right, bottom;
  double width() const { return right - left; }
  double height() const { return bottom - top; }
};

/// A number that gnuplot reads back exactly; `NaN` for what it is to leave out.
std::string number(double value);
/// A literal for gnuplot: nothing in it is expanded or executed.
std::string gnuplot_text(const std::string& text);
/// The label of a name as markup: that of the style, or the name without markup.
std::string label_of(const PlotStyle& style, const std::string& name, std::size_t width = 60);
/// About how wide a text with markup is. \param size of its font
double text_width(const std::string& markup, double size = k_font_size);
/// The text with markup in a font of another size.
std::string sized(const std::string& markup, double factor);

/// A block of data: `$name << EOD`, one line per row.
std::string data_block(const std::string& name, const std::vector<std::vector<double>>& rows);
/// Puts the axes of the next plot there.
std::string margins(const Picture& page, const Frame& frame);
/// A text at a place. \param options e.g. "right", "center rotate by 90"
std::string text_at(const Picture& page, double x, double y, const std::string& markup,
                    const std::string& options = "left");
/// Title and note above a frame, on two lines if they do not fit beside each other.
std::string heading(const Picture& page, const Frame& frame, const PlotStyle& style);
/// Width of the wider line of the heading if they are above each other.
double heading_width(const PlotStyle& style);
/// What heading() needs above a frame of that width.
double heading_height(const PlotStyle& style, double width);
/// Lines of text inside a frame, from its left upper corner down.
/// \param below distance of the first one from the upper edge
std::string inner_lines(const Picture& page, const Frame& frame,
                        const std::vector<std::string>& markup, double below = 0.0);
/// 1, 2 or 5 times a power of ten so that `range` has about `count` steps.
double tick_step(double range, double count);

}  // namespace slalom::cli
