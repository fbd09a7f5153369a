// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/plot.hpp"

#include <fmt/format.h>

#include "cli/plot/gnuplot.hpp"
#include "cli/plot/script.hpp"
#include "cli/report/html.hpp"
#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"

namespace slalom {

namespace {

/// Line and point styles, the distance of rows of a legend (SVG makes it wider than the others),
/// and the filling of bands of uncertainty: hatches come out too coarse in PDF.
std::string preamble(const std::string& suffix) {
  return fmt::format(
      "set encoding utf8\n"
      "SPACING = {}\n"
      "UNCERTAINTY = \"fc rgb '#303030' fs transparent {} noborder\"\n"
      "set style line 1 lc rgb 'black' lw 1.4 pt 7 ps 0.6\n"
      "set style line 2 lc rgb '#202020' lw 1.2\n"
      "set style line 4 lc rgb 'black' pt 9 ps 0.9\n"
      "set style line 5 lc rgb 'black' pt 11 ps 0.9\n"
      "set tics front\nset border front lw 1.2\n",
      suffix == ".svg" ? 0.9 : 1.15, suffix == ".pdf" ? "solid 0.4" : "pattern 4");
}

std::string terminal(const std::string& suffix, const Picture& picture) {
  if (suffix == ".svg") {
    return fmt::format(
        "set terminal svg enhanced size {:.0f},{:.0f} font 'Helvetica,Arial,sans-serif,15' "
        "background rgb 'white'\n",
        picture.width, picture.height);
  }
  if (suffix == ".png") {
    return fmt::format(
        "set terminal pngcairo enhanced size {:.0f},{:.0f} font 'Helvetica,11' "
        "fontscale 2 linewidth 2 pointscale 2\n",
        2.0 * picture.width, 2.0 * picture.height);
  }
  return fmt::format(
      "set terminal pdfcairo enhanced size {:.3f}in,{:.3f}in font 'Helvetica,15' "
      "fontscale 0.75 linewidth 2 pointscale 1.4\n",
      picture.width / 72.0, picture.height / 72.0);
}

/// What gnuplot makes of a picture in the format of a suffix.
std::string drawn(const Picture& picture, const std::string& suffix) {
  const cli::TemporaryFolder folder;
  const std::string file = (folder.path() / ("plot" + suffix)).string();
  cli::run_gnuplot(folder.path(), terminal(suffix, picture) + preamble(suffix) + "set output " +
                                      cli::gnuplot_text(file) + "\n" + picture.script +
                                      "unset output\n");
  return read_text(file);
}

/// A tag with `prefix` before the ids that it has and refers to.
std::string prefixed_tag(const std::string& tag, const std::string& prefix) {
  std::string text;
  for (std::size_t i = 0; i < tag.size(); ++i) {
    text += tag[i];
    const bool id = text.ends_with(" id='") || text.ends_with(" id=\"");
    const bool reference = text.ends_with("href='#") || text.ends_with("url(#");
    if (id || reference) text += prefix;
  }
  return text;
}

/// All tags, but not the text between them.
std::string prefixed(const std::string& svg, const std::string& prefix) {
  std::string text;
  for (std::size_t at = 0; at < svg.size();) {
    const std::size_t open = svg.find('<', at);
    const std::size_t close = open == std::string::npos ? open : svg.find('>', open);
    if (close == std::string::npos) return text + svg.substr(at);
    text += svg.substr(at, open - at) + prefixed_tag(svg.substr(open, close + 1 - open), prefix);
    at = close + 1;
  }
  return text;
}

/// gnuplot names every element after its place in the script, which browsers show as tooltips.
std::string without_titles(std::string svg) {
  for (std::size_t open = svg.find("<title>"); open != std::string::npos;
       open = svg.find("<title>", open)) {
    const std::size_t close = svg.find("</title>", open);
    if (close == std::string::npos) break;
    svg.erase(open, close + 8 - open);
  }
  return svg;
}

}  // namespace

std::string without_markup(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (std::string("_^{}@&~\\").find(c) != std::string::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

void check_plot_format(const std::filesystem::path& file) {
  const std::string suffix = file.extension().string();
  if (suffix == ".svg" || suffix == ".png" || suffix == ".pdf") return;
  throw Error(ErrorKind::usage, "the name must end in .svg, .png or .pdf", file.string());
}

void draw(const Picture& picture, const std::filesystem::path& file) {
  check_plot_format(file);
  write_text(file, drawn(picture, file.extension().string()));
}

std::string inline_svg(const Picture& picture, const std::string& prefix) {
  const std::string svg = without_titles(drawn(picture, ".svg"));
  // Everything up to the end of the opening tag is replaced: declaration, sizes, namespaces.
  const std::size_t open = svg.find("<svg");
  const std::size_t close = open == std::string::npos ? open : svg.find('>', open);
  if (close == std::string::npos) {
    throw Error(ErrorKind::io, "wrote something that is no SVG", "gnuplot");
  }
  return fmt::format(
             "<svg viewBox=\"0 0 {0:.0f} {1:.0f}\" style=\"max-width:{0:.0f}px\" role=\"img\" "
             "aria-label=\"{2}\" xmlns=\"http://www.w3.org/2000/svg\" "
             "xmlns:xlink=\"http://www.w3.org/1999/xlink\">",
             picture.width, picture.height, cli::html_text(picture.alternative)) +
         prefixed(svg.substr(close + 1), prefix);
}

}  // namespace slalom
