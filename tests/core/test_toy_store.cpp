// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "slalom/core/toy_store.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/models.hpp"

using slalom::ErrorKind;
using slalom::fingerprint;
using slalom::Fitter;
using slalom::Model;
using slalom::ModelSpec;
using slalom::run_toys;
using slalom::Toy;
using slalom::ToyFile;
using slalom::ToyOptions;
using slalom::test::check_fails;
using slalom::test::coupled_histosys;
using slalom::test::uncorrelated_background;

namespace {

/// A file that is not there, and is not there afterwards.
class Scratch {
 public:
  explicit Scratch(const char* name)
      : path_(std::filesystem::temp_directory_path() /
              (std::string("slalom_toys_") + name + std::to_string(std::random_device{}()))) {}
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string path() const { return path_.string(); }
  std::string text() const {
    std::ifstream stream(path_);
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  }
  void write(const std::string& text) const { std::ofstream(path_) << text; }

 private:
  std::filesystem::path path_;
};

Model two_bins() {
  return uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {51.0, 48.0});
}

ToyOptions options_with(slalom::ToyStore* store, std::size_t n = 100) {
  ToyOptions options;
  options.n_toys = n;
  options.seed = 7;
  options.threads = 2;
  options.store = store;
  options.keep_parameters = true;
  return options;
}

void check_same(const std::vector<Toy>& a, const std::vector<Toy>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CAPTURE(i);
    REQUIRE(a[i].done == b[i].done);
    REQUIRE(a[i].free_status == b[i].free_status);
    REQUIRE(a[i].conditional_status == b[i].conditional_status);
    REQUIRE(a[i].poi == b[i].poi);
    REQUIRE(a[i].free_twice_nll == b[i].free_twice_nll);
    REQUIRE(a[i].conditional_twice_nll == b[i].conditional_twice_nll);
    REQUIRE(a[i].parameters == b[i].parameters);
    REQUIRE(a[i].errors == b[i].errors);
  }
}

}  // namespace

TEST_CASE("a run goes on where it was stopped, and ends the same", "[core][toy_store]") {
  const Model model = two_bins();
  const std::vector<double> truth = {0.5, 1.1, 0.9};
  const std::vector<Toy> whole = run_toys(model, truth, 1.0, options_with(nullptr));
  const Scratch scratch("resume");
  {
    ToyFile file(scratch.path(), ToyFile::Mode::create);
    ToyOptions options = options_with(&file);
    options.progress = [](std::size_t done, std::size_t) { return done < 30; };
    const std::vector<Toy> part = run_toys(model, truth, 1.0, options);
    std::size_t done = 0;
    for (const Toy& toy : part) done += toy.done ? 1 : 0;
    CHECK(done >= 30);
    CHECK(done <= 32);
    CHECK(file.reused() == 0);
  }
  {
    // More toys than before, and a progress that starts with those that are there.
    ToyFile file(scratch.path(), ToyFile::Mode::resume);
    ToyOptions options = options_with(&file);
    std::size_t first = 0;
    options.progress = [&](std::size_t done, std::size_t total) {
      CHECK(total == 100);
      if (first == 0) first = done;
      return true;
    };
    check_same(run_toys(model, truth, 1.0, options), whole);
    CHECK(file.reused() >= 30);
    CHECK(first == file.reused());
  }
  ToyFile file(scratch.path(), ToyFile::Mode::resume);
  ToyOptions options = options_with(&file, 150);
  std::size_t made = 0;
  options.progress = [&](std::size_t, std::size_t) { return ++made > 0; };
  check_same(run_toys(model, truth, 1.0, options),
             run_toys(model, truth, 1.0, options_with(nullptr, 150)));
  CHECK(made == 51);  // and once for those that were there
}

TEST_CASE("what was cut off is made again", "[core][toy_store]") {
  const Model model = two_bins();
  const std::vector<double> truth = model.spec().initial();
  const Scratch scratch("cut");
  std::vector<Toy> whole;
  {
    ToyFile file(scratch.path(), ToyFile::Mode::create);
    whole = run_toys(model, truth, 1.0, options_with(&file, 20));
  }
  const std::string text = scratch.text();
  for (const std::size_t length : {text.size() - 1, text.size() / 2, text.find('\n') + 40,
                                   text.find('\n') + 1, std::size_t{0}}) {
    CAPTURE(length);
    scratch.write(text.substr(0, length));
    ToyFile file(scratch.path(), ToyFile::Mode::resume);
    check_same(run_toys(model, truth, 1.0, options_with(&file, 20)), whole);
    CHECK(file.reused() < 20);
  }
  const std::string again = scratch.text();
  CHECK(std::count(again.begin(), again.end(), '\n') == 22);
}

TEST_CASE("ensembles of one run share a file", "[core][toy_store]") {
  const Model model = two_bins();
  Fitter fitter(model);
  ToyOptions options = options_with(nullptr, 200);
  options.keep_parameters = false;
  const auto expected = slalom::ToyCalculator(fitter, options).test(1.0);
  const Scratch scratch("ensembles");
  for (int i = 0; i < 2; ++i) {
    ToyFile file(scratch.path(), ToyFile::Mode::resume);
    options.store = &file;
    const auto test = slalom::ToyCalculator(fitter, options).test(1.0);
    CHECK(test.cls.value == expected.cls.value);
    CHECK(test.signal_samples == expected.signal_samples);
    CHECK(test.background_samples == expected.background_samples);
    CHECK(file.reused() == (i == 0 ? 0U : 400U));
  }
}

TEST_CASE("fits that failed are kept with their status", "[core][toy_store]") {
  const Model model = two_bins();
  slalom::FitOptions short_of_breath;
  short_of_breath.max_iterations = 1;
  const Scratch scratch("failed");
  std::vector<Toy> first;
  {
    ToyFile file(scratch.path(), ToyFile::Mode::create);
    first = run_toys(model, model.spec().initial(), 1.0, options_with(&file, 20), short_of_breath);
    // A toy without a feasible point has numbers that JSON has not.
    Toy lost;
    lost.done = true;
    lost.free_twice_nll = std::numeric_limits<double>::infinity();
    lost.conditional_twice_nll = std::numeric_limits<double>::infinity();
    lost.parameters = {1.0, 1.0, 1.0};
    lost.errors = {0.0, 0.0, 0.0};
    file.keep(20, lost);
    first.push_back(lost);
  }
  ToyFile file(scratch.path(), ToyFile::Mode::resume);
  check_same(run_toys(model, model.spec().initial(), 1.0, options_with(&file, 21), short_of_breath),
             first);
  CHECK(file.reused() == 21);
}

TEST_CASE("toys of something else are refused", "[core][toy_store]") {
  const Model model = two_bins();
  const std::vector<double> truth = model.spec().initial();
  const Scratch scratch("other");
  {
    ToyFile file(scratch.path(), ToyFile::Mode::create);
    run_toys(model, truth, 1.0, options_with(&file, 5));
    check_fails(ErrorKind::io, scratch.path(), "another run",
                [&] { ToyFile second(scratch.path(), ToyFile::Mode::resume); });
  }
  check_fails(ErrorKind::usage, scratch.path(), "exists already",
              [&] { ToyFile file(scratch.path(), ToyFile::Mode::create); });
  ToyFile file(scratch.path(), ToyFile::Mode::resume);
  ToyOptions options = options_with(&file, 5);
  options.seed = 8;
  check_fails(ErrorKind::usage, scratch.path(), "another seed",
              [&] { run_toys(model, truth, 1.0, options); });
  const Model other = coupled_histosys();
  check_fails(ErrorKind::usage, scratch.path(), "another model",
              [&] { run_toys(other, other.spec().initial(), 1.0, options_with(&file, 5)); });
  // Another point of the same model is another ensemble.
  run_toys(model, std::vector<double>{0.0, 1.0, 1.0}, 1.0, options_with(&file, 5));
  CHECK(file.reused() == 0);
}

TEST_CASE("files that hold no toys are refused with the line", "[core][toy_store]") {
  const Scratch scratch("damaged");
  const auto fails_at = [&](const std::string& text, const std::string& line) {
    CAPTURE(text);
    scratch.write(text);
    check_fails(ErrorKind::json, scratch.path() + line, "not a",
                [&] { ToyFile file(scratch.path(), ToyFile::Mode::resume); });
    CHECK(scratch.text() == text);  // it may be somebody else's
  };
  fails_at("{\"channels\": []}", "");
  fails_at("{\"channels\": []}\n", ":1");
  fails_at("{\"slalom_toys\": 2}\n", ":1");
  fails_at("{\"slalom_toys\": 1}\nnonsense\n", ":2");
  fails_at("{\"slalom_toys\": 1}\n{\"ensemble\": 0, \"toy\": 3}\n", ":2");
  fails_at("{\"slalom_toys\": 1}\n{\"ensemble\": 4}\n", ":2");
  fails_at("{\"slalom_toys\": 1}\n[1]\n", ":2");
  check_fails(ErrorKind::io, "/no/such/folder/toys", "cannot be written",
              [&] { ToyFile file("/no/such/folder/toys", ToyFile::Mode::resume); });
}

TEST_CASE("a fingerprint changes with everything that matters", "[core][toy_store]") {
  const ModelSpec spec = two_bins().spec();
  const std::string reference = fingerprint(spec);
  CHECK(reference.size() == 16);
  CHECK(fingerprint(two_bins().spec()) == reference);
  const auto changed = [&](auto&& change) {
    ModelSpec other = spec;
    change(other);
    return fingerprint(other) != reference;
  };
  CHECK(changed([](ModelSpec& s) { s.parameters[0].upper = 11.0; }));
  CHECK(changed([](ModelSpec& s) { s.parameters[0].fixed = true; }));
  CHECK(changed([](ModelSpec& s) { s.parameters[1].name = "other"; }));
  CHECK(changed([](ModelSpec& s) { s.channels[0].samples[0].nominal[1] += 1e-9; }));
  CHECK(changed([](ModelSpec& s) { s.normsys_code = slalom::NormsysCode::code1; }));
  slalom::FitOptions held;
  held.fixed.emplace_back(1, 1.0);
  CHECK(fingerprint(spec, held) != reference);
  // Toys do not depend on the observed data but through the point that they are thrown at.
  CHECK_FALSE(changed([](ModelSpec& s) { s.observed[0] += 1.0; }));
}
