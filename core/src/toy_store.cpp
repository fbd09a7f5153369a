// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/toy_store.hpp"

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"

namespace slalom {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int k_format = 1;
constexpr auto k_between_writes = 500ms;
constexpr std::size_t k_most_unwritten = 1 << 16;

/// Points that agree to this are the same: fits on another machine end elsewhere in the last digit.
constexpr double k_same = 1e-8;

constexpr FitStatus k_statuses[] = {FitStatus::converged, FitStatus::iteration_limit,
                                    FitStatus::stalled, FitStatus::infeasible};

bool same(double a, double b) { return std::abs(a - b) <= k_same * (1.0 + std::abs(a)); }

bool same(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!same(a[i], b[i])) return false;
  }
  return true;
}

bool same(const ToyEnsemble& a, const ToyEnsemble& b) {
  return a.model == b.model && a.parameter == b.parameter && a.seed == b.seed &&
         a.family == b.family && a.keep_parameters == b.keep_parameters && same(a.value, b.value) &&
         same(a.parameters, b.parameters) && same(a.auxiliary, b.auxiliary);
}

/// Numbers that are not finite (of fits without a feasible point) are null.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(); }

double number(const Json& value) {
  return value.is_null() ? std::numeric_limits<double>::infinity() : value.get<double>();
}

Json numbers(const std::vector<double>& values) {
  Json array = Json::array();
  for (const double value : values) array.push_back(number(value));
  return array;
}

std::vector<double> numbers(const Json& array) {
  std::vector<double> values;
  for (const Json& value : array) values.push_back(number(value));
  return values;
}

FitStatus status(const Json& text) {
  for (const FitStatus known : k_statuses) {
    if (text == to_string(known)) return known;
  }
  throw Error(ErrorKind::json, "there is no such status of a fit");
}

Json to_json(const ToyEnsemble& ensemble, std::size_t number_of_it) {
  return {{"ensemble", number_of_it},
          {"model", ensemble.model},
          {"parameters", numbers(ensemble.parameters)},
          {"parameter", ensemble.parameter},
          {"value", ensemble.value},
          {"seed", ensemble.seed},
          {"family", ensemble.family},
          {"auxiliary", numbers(ensemble.auxiliary)},
          {"keep_parameters", ensemble.keep_parameters}};
}

ToyEnsemble ensemble_of(const Json& line) {
  ToyEnsemble ensemble;
  ensemble.model = line.at("model").get<std::string>();
  ensemble.parameters = numbers(line.at("parameters"));
  ensemble.parameter = line.at("parameter").get<std::size_t>();
  ensemble.value = line.at("value").get<double>();
  ensemble.seed = line.at("seed").get<std::uint64_t>();
  ensemble.family = line.at("family").get<std::uint32_t>();
  ensemble.auxiliary = numbers(line.at("auxiliary"));
  ensemble.keep_parameters = line.at("keep_parameters").get<bool>();
  return ensemble;
}

Json to_json(const Toy& toy, std::size_t ensemble, std::size_t index) {
  Json line = {{"ensemble", ensemble},
               {"toy", index},
               {"status", {to_string(toy.free_status), to_string(toy.conditional_status)}},
               {"poi", number(toy.poi)},
               {"twice_nll", {number(toy.free_twice_nll), number(toy.conditional_twice_nll)}}};
  if (toy.parameters.empty()) return line;
  line["parameters"] = numbers(toy.parameters);
  line["errors"] = numbers(toy.errors);
  return line;
}

Toy toy_of(const Json& line) {
  Toy toy;
  toy.done = true;
  toy.free_status = status(line.at("status").at(0));
  toy.conditional_status = status(line.at("status").at(1));
  toy.poi = number(line.at("poi"));
  toy.free_twice_nll = number(line.at("twice_nll").at(0));
  toy.conditional_twice_nll = number(line.at("twice_nll").at(1));
  if (line.contains("parameters")) {
    toy.parameters = numbers(line.at("parameters"));
    toy.errors = numbers(line.at("errors"));
  }
  return toy;
}

}  // namespace

struct ToyFile::State {
  std::string path;
  int descriptor = -1;
  std::vector<std::pair<ToyEnsemble, std::map<std::size_t, Toy>>> ensembles;
  std::size_t current = 0;          ///< ensemble that keep() adds to
  std::vector<std::size_t> unused;  ///< toys of each ensemble that was read and not asked for yet
  std::size_t reused = 0;
  std::string unwritten;
  Clock::time_point last_write = Clock::now();

  ~State() {
    if (descriptor >= 0) ::close(descriptor);
  }

  [[noreturn]] void fail(const std::string& message) const {
    throw Error(ErrorKind::io, message + ": " + std::generic_category().message(errno), path);
  }

  void open(Mode mode) {
    const int only_new = mode == Mode::create ? O_EXCL : 0;
    descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | only_new, 0666);
    if (descriptor < 0 && errno == EEXIST) {
      throw Error(ErrorKind::usage, "the file of toys exists already; resume it or remove it",
                  path);
    }
    if (descriptor < 0) fail("cannot be written");
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) fail("cannot be locked");
      throw Error(ErrorKind::io, "another run writes to this file of toys", path);
    }
  }

  void take(const Json& line) {
    const auto ensemble = line.at("ensemble").get<std::size_t>();
    if (!line.contains("toy")) {
      if (ensemble != ensembles.size()) throw Error(ErrorKind::json, "an ensemble is missing");
      ensembles.push_back({ensemble_of(line), {}});
    } else {
      ensembles.at(ensemble).second.insert_or_assign(line.at("toy").get<std::size_t>(),
                                                     toy_of(line));
    }
  }

  /// Reads all complete lines. \return the length of what is complete
  std::size_t read(const std::string& text) {
    std::size_t begin = 0, n = 0;
    for (std::size_t end = 0; (end = text.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
      const std::string where = path + ":" + std::to_string(++n);
      try {
        const Json line = parse_json(std::string_view(text).substr(begin, end - begin), where);
        if (n > 1) {
          take(line);
        } else if (line.at("slalom_toys") != k_format) {
          throw Error(ErrorKind::json, "this version of the format is not known");
        }
      } catch (const Error& error) {
        throw Error(ErrorKind::json, "not a file of toys: " + error.message(), where);
      } catch (const std::exception&) {
        throw Error(ErrorKind::json, "not a line of a file of toys", where);
      }
    }
    if (n == 0 && !text.empty()) throw Error(ErrorKind::json, "not a file of toys", path);
    return begin;
  }

  void write() {
    std::string_view text = unwritten;
    while (!text.empty()) {
      const ssize_t count = ::write(descriptor, text.data(), text.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail("cannot be written");
      text.remove_prefix(static_cast<std::size_t>(count));
    }
    unwritten.clear();
    last_write = Clock::now();
  }

  void append(const Json& line) {
    unwritten += line.dump();
    unwritten += '\n';
  }
};

ToyFile::ToyFile(const std::filesystem::path& path, Mode mode) : state_(std::make_unique<State>()) {
  state_->path = path.string();
  state_->open(mode);
  const std::size_t complete = state_->read(mode == Mode::create ? "" : read_text(path));
  for (const auto& [ensemble, toys] : state_->ensembles) state_->unused.push_back(toys.size());
  if (::ftruncate(state_->descriptor, static_cast<off_t>(complete)) != 0 ||
      ::lseek(state_->descriptor, 0, SEEK_END) < 0) {
    state_->fail("cannot be written");
  }
  if (complete == 0) state_->append({{"slalom_toys", k_format}});
  state_->write();
}

ToyFile::~ToyFile() {
  try {
    state_->write();
  } catch (const Error&) {
    // The toys that are not on disk are made again by the next run.
  }
}

std::map<std::size_t, Toy> ToyFile::begin(const ToyEnsemble& ensemble) {
  auto& ensembles = state_->ensembles;
  for (std::size_t i = 0; i < ensembles.size(); ++i) {
    const ToyEnsemble& other = ensembles[i].first;
    if (other.model != ensemble.model || other.seed != ensemble.seed) {
      throw Error(ErrorKind::usage,
                  std::string("the file of toys is of another ") +
                      (other.model != ensemble.model ? "model, or of other fits" : "seed"),
                  state_->path);
    }
    if (!same(other, ensemble)) continue;
    state_->current = i;
    if (i < state_->unused.size()) state_->reused += std::exchange(state_->unused[i], 0);
    return ensembles[i].second;
  }
  state_->current = ensembles.size();
  ensembles.push_back({ensemble, {}});
  state_->append(to_json(ensemble, state_->current));
  state_->write();
  return {};
}

void ToyFile::keep(std::size_t index, const Toy& toy) {
  state_->append(to_json(toy, state_->current, index));
  const bool time = Clock::now() - state_->last_write > k_between_writes;
  if (time || state_->unwritten.size() > k_most_unwritten) state_->write();
  // Later ensembles of the same run may ask for them again.
  state_->ensembles[state_->current].second.emplace(index, toy);
}

void ToyFile::end() { state_->write(); }

std::size_t ToyFile::reused() const { return state_->reused; }

}  // namespace slalom
