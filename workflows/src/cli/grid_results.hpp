// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/result.hpp"
#include "slalom/core/patchset.hpp"
#include "slalom/core/signal_grid.hpp"

/// \file
/// Results of a signal grid: one row per signal, with a header that says what they belong to. As a
/// document, as a file of lines that grows while the work goes on, and as a table.
namespace slalom::cli {

/// What all rows of a grid have in common. Rows with equal headers belong together.
struct GridHeader {
  std::string workspace;            ///< digest of the background, "sha256:..."
  std::string signals;              ///< digest of the signals, "sha256:..."
  std::size_t n_signals = 0;        ///< of the whole grid, all shards together
  std::vector<std::string> labels;  ///< what the values of the signals mean
  OrderedJson options;              ///< object: what was computed, and how
};

/// Member of an object, or null.
const OrderedJson& member(const OrderedJson& object, const char* key);
/// Element of an array, or null.
const OrderedJson& element(const OrderedJson& array, std::size_t i);

/// The difference between two headers in words; empty if there is none.
std::string difference(const GridHeader& a, const GridHeader& b);

/// A row: {"index", "name", "values", "status", "message", ...}; no numbers if the signal failed,
/// null for a number that is not defined.
OrderedJson grid_row(const SignalResult& result, const std::string& name,
                     const std::vector<PatchValue>& values);

/// Header and rows, in the order of the grid.
struct GridResults {
  GridHeader header;
  std::vector<OrderedJson> rows;
};

/// Sorts the rows by the number of their signal.
void sort_rows(GridResults& results);
/// Takes warnings that all rows have (failed ones aside) out of them. Those of one row stay there.
Warnings take_common_warnings(GridResults& results);
/// How many rows have that status.
std::size_t count_status(const GridResults& results, const std::string& status);
/// Exit code: 1 if a signal failed, else 3 if one did not converge, else 0.
int exit_code(const GridResults& results);

/// As one document.
OrderedJson grid_json(const GridResults& results);
/// As comma-separated values, one line per signal.
std::string grid_csv(const GridResults& results);
/// As a table for people, with a summary.
std::string grid_text(const GridResults& results);

/// Reads a document or a file of lines. \throws Error (json, usage) with the place
GridResults read_grid_results(const std::string& text, const std::string& path);

/// A file of results that is written while the work goes on: a line with the header, then one line
/// per row. Every line is written at once, so a program that is killed leaves complete lines, and
/// at most one that is not, which is dropped when the file is opened again.
class GridJournal {
 public:
  /// Opens or makes the file and reads what is in it.
  /// \throws Error (io), or Error (usage) if it belongs to other work or another program uses it
  GridJournal(const std::string& path, const GridHeader& header);
  ~GridJournal();
  GridJournal(const GridJournal&) = delete;
  GridJournal& operator=(const GridJournal&) = delete;

  /// Rows that were in the file; the last one of each signal.
  const std::vector<OrderedJson>& rows() const { return rows_; }
  /// Appends a row. \throws Error (io)
  void append(const OrderedJson& row);

 private:
  void write_line(const OrderedJson& line);

  std::string path_;
  int descriptor_ = -1;
  std::vector<OrderedJson> rows_;
};

}  // namespace slalom::cli
