// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

/// \file
/// What all pictures have in common: their texts, and how they become a file or part of a page.
///
/// Each kind of picture has a header of its own with its content as plain data and a function
/// `picture` that turns the content into a Picture. gnuplot, started as a program, draws it.
namespace slalom {

/// Texts of a picture. Title, note and labels may use gnuplot's markup: `m_{T}`, `10^{-3}`,
/// `{/:Italic x}`. Names of a workspace are printed as they are, as are the lines.
struct PlotStyle {
  std::string title{};                          ///< above the frame on the left, in bold
  std::string note{};                           ///< above the frame on the right: luminosity
  std::vector<std::string> lines{};             ///< inside or below the heading, as they are
  std::map<std::string, std::string> labels{};  ///< for a name of a sample, channel or parameter
};

/// A picture before it is drawn.
struct Picture {
  double width = 720.0;     ///< pixels; 72 of them are an inch in PDF
  double height = 540.0;    ///< pixels
  std::string script{};     ///< for gnuplot, without terminal and output; data included
  std::string alternative;  ///< what is seen, in one sentence, for those who cannot see it
};

/// Text that gnuplot's markup leaves as it is.
std::string without_markup(const std::string& text);

/// Whether draw() knows the format of a file: svg, png or pdf. \throws Error (usage) if not
void check_plot_format(const std::filesystem::path& file);

/// Draws into a file, which is written completely or not at all.
/// \param picture what to draw
/// \param file its suffix is the format: svg, png or pdf
/// \throws Error (usage) for other formats
/// \throws Error (io) if gnuplot is missing or fails, with what it said
void draw(const Picture& picture, const std::filesystem::path& file);

/// Draws as an `svg` element for an HTML page: without the XML declaration, scaled by its view box,
/// and with every id starting with `prefix`, so that several fit into one page.
/// \param picture what to draw
/// \param prefix letters, digits and `_`
/// \throws Error (io) if gnuplot is missing or fails
std::string inline_svg(const Picture& picture, const std::string& prefix);

}  // namespace slalom
