// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>

/// \file
/// The command line of `slalom` as a function, so that tests and other programs can call it.
namespace slalom {

/// Exit codes of run_command_line and of the program.
enum ExitCode : int {
  exit_success = 0,        ///< the result was printed or written
  exit_failure = 1,        ///< anything that is neither of the two below
  exit_usage = 2,          ///< wrong arguments or wrong input
  exit_not_converged = 3,  ///< a fit did not converge; the result is printed nevertheless
};

/// Runs one command, `argv[1]` being the verb. Never throws.
///
/// A failure is one line `slalom: error: WHERE: MESSAGE` on `err`, or with `--json` among the
/// arguments the document `{"error": {"type", "message", "where"}}` on `out`.
/// \param argc number of arguments, the program's name included
/// \param argv the arguments
/// \param in what the file name `-` reads
/// \param out results
/// \param err warnings and errors
/// \return an ExitCode
int run_command_line(int argc, const char* const* argv, std::istream& in, std::ostream& out,
                     std::ostream& err);

}  // namespace slalom
