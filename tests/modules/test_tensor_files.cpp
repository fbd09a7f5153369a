// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <fstream>
#include <iterator>

#include "slalom/modules/classifier.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/temporary_file.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using slalom::ErrorKind;
using slalom::Mlp;
using slalom::MlpOptions;
using slalom::NamedTensors;
using slalom::test::check_fails;
using slalom::test::distance;
using slalom::test::sequence;
using slalom::test::TemporaryFile;
using slalom::test::tensor;
using slalom::test::values;
using Vector = std::vector<double>;

namespace {

// numpy 2.4: savez_compressed(x=[[1.5, 2, 3], [4, 5, 6.25]] float32, w=[0.5, -1], p=[1, 0] int32,
// f=arange(6).reshape(2, 3) in the order of Fortran)
const unsigned char k_npz[] = {
    80,  75,  3,   4,   45,  0,   0,   0,   8,   0,   0,   0,   33,  0,   179, 53,  73,  160, 255,
    255, 255, 255, 255, 255, 255, 255, 5,   0,   20,  0,   120, 46,  110, 112, 121, 1,   0,   16,
    0,   152, 0,   0,   0,   0,   0,   0,   0,   89,  0,   0,   0,   0,   0,   0,   0,   155, 236,
    23,  234, 27,  16,  201, 200, 80,  198, 80,  173, 158, 146, 90,  156, 92,  164, 110, 165, 160,
    110, 147, 102, 162, 174, 163, 160, 158, 150, 95,  84,  82,  148, 152, 23,  159, 95,  148, 146,
    10,  18,  119, 75,  204, 41,  78,  5,   138, 23,  103, 36,  22,  164, 2,   249, 26,  70,  58,
    10,  198, 154, 58,  10,  181, 10,  100, 3,   46,  6,   134, 3,   246, 12,  12,  12,  14,  64,
    4,   196, 13,  64,  188, 0,   136, 79,  56,  0,   0,   80,  75,  3,   4,   45,  0,   0,   0,
    8,   0,   0,   0,   33,  0,   188, 212, 186, 161, 255, 255, 255, 255, 255, 255, 255, 255, 5,
    0,   20,  0,   119, 46,  110, 112, 121, 1,   0,   16,  0,   144, 0,   0,   0,   0,   0,   0,
    0,   77,  0,   0,   0,   0,   0,   0,   0,   155, 236, 23,  234, 27,  16,  201, 200, 80,  198,
    80,  173, 158, 146, 90,  156, 92,  164, 110, 165, 160, 110, 147, 102, 161, 174, 163, 160, 158,
    150, 95,  84,  82,  148, 152, 23,  159, 95,  148, 146, 10,  18,  119, 75,  204, 41,  78,  5,
    138, 23,  103, 36,  22,  164, 2,   249, 26,  70,  58,  154, 58,  10,  181, 10,  20,  0,   46,
    6,   48,  120, 96,  15,  161, 63,  236, 7,   0,   80,  75,  3,   4,   45,  0,   0,   0,   8,
    0,   0,   0,   33,  0,   128, 49,  163, 135, 255, 255, 255, 255, 255, 255, 255, 255, 5,   0,
    20,  0,   112, 46,  110, 112, 121, 1,   0,   16,  0,   136, 0,   0,   0,   0,   0,   0,   0,
    72,  0,   0,   0,   0,   0,   0,   0,   155, 236, 23,  234, 27,  16,  201, 200, 80,  198, 80,
    173, 158, 146, 90,  156, 92,  164, 110, 165, 160, 110, 147, 105, 162, 174, 163, 160, 158, 150,
    95,  84,  82,  148, 152, 23,  159, 95,  148, 146, 10,  18,  119, 75,  204, 41,  78,  5,   138,
    23,  103, 36,  22,  164, 2,   249, 26,  70,  58,  154, 58,  10,  181, 10,  20,  0,   46,  70,
    6,   8,   0,   0,   80,  75,  3,   4,   45,  0,   0,   0,   8,   0,   0,   0,   33,  0,   228,
    200, 6,   96,  255, 255, 255, 255, 255, 255, 255, 255, 5,   0,   20,  0,   102, 46,  110, 112,
    121, 1,   0,   16,  0,   176, 0,   0,   0,   0,   0,   0,   0,   87,  0,   0,   0,   0,   0,
    0,   0,   155, 236, 23,  234, 27,  16,  201, 200, 80,  198, 80,  173, 158, 146, 90,  156, 92,
    164, 110, 165, 160, 110, 147, 102, 161, 174, 163, 160, 158, 150, 95,  84,  82,  148, 152, 23,
    159, 95,  148, 146, 10,  18,  15,  41,  42,  77,  5,   10,  23,  103, 36,  22,  164, 2,   185,
    26,  70,  58,  10,  198, 154, 58,  10,  181, 10,  228, 3,   46,  6,   20,  192, 225, 0,   161,
    63,  216, 67,  104, 1,   40,  159, 1,   74,  139, 56,  0,   0,   80,  75,  1,   2,   45,  3,
    45,  0,   0,   0,   8,   0,   0,   0,   33,  0,   179, 53,  73,  160, 89,  0,   0,   0,   152,
    0,   0,   0,   5,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   128, 1,   0,   0,
    0,   0,   120, 46,  110, 112, 121, 80,  75,  1,   2,   45,  3,   45,  0,   0,   0,   8,   0,
    0,   0,   33,  0,   188, 212, 186, 161, 77,  0,   0,   0,   144, 0,   0,   0,   5,   0,   0,
    0,   0,   0,   0,   0,   0,   0,   0,   0,   128, 1,   144, 0,   0,   0,   119, 46,  110, 112,
    121, 80,  75,  1,   2,   45,  3,   45,  0,   0,   0,   8,   0,   0,   0,   33,  0,   128, 49,
    163, 135, 72,  0,   0,   0,   136, 0,   0,   0,   5,   0,   0,   0,   0,   0,   0,   0,   0,
    0,   0,   0,   128, 1,   20,  1,   0,   0,   112, 46,  110, 112, 121, 80,  75,  1,   2,   45,
    3,   45,  0,   0,   0,   8,   0,   0,   0,   33,  0,   228, 200, 6,   96,  87,  0,   0,   0,
    176, 0,   0,   0,   5,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   128, 1,   147,
    1,   0,   0,   102, 46,  110, 112, 121, 80,  75,  5,   6,   0,   0,   0,   0,   4,   0,   4,
    0,   204, 0,   0,   0,   33,  2,   0,   0,   0,   0};

// numpy 2.4: save(arange(24).reshape(2, 3, 4)) of int16 in the order of Fortran
const unsigned char k_npy[] = {
    147, 78, 85,  77, 80, 89,  1,   0,   118, 0,   123, 39,  100, 101, 115, 99,  114, 39,  58,  32,
    39,  60, 105, 50, 39, 44,  32,  39,  102, 111, 114, 116, 114, 97,  110, 95,  111, 114, 100, 101,
    114, 39, 58,  32, 84, 114, 117, 101, 44,  32,  39,  115, 104, 97,  112, 101, 39,  58,  32,  40,
    50,  44, 32,  51, 44, 32,  52,  41,  44,  32,  125, 32,  32,  32,  32,  32,  32,  32,  32,  32,
    32,  32, 32,  32, 32, 32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,
    32,  32, 32,  32, 32, 32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,
    32,  32, 32,  32, 32, 32,  32,  10,  0,   0,   12,  0,   4,   0,   16,  0,   8,   0,   20,  0,
    1,   0,  13,  0,  5,  0,   17,  0,   9,   0,   21,  0,   2,   0,   14,  0,   6,   0,   18,  0,
    10,  0,  22,  0,  3,  0,   15,  0,   7,   0,   19,  0,   11,  0,   23,  0};

template <std::size_t n>
std::string text(const unsigned char (&bytes)[n]) {
  return {std::begin(bytes), std::end(bytes)};
}

}  // namespace

TEST_CASE("arrays that numpy compressed are read", "[modules][tensor_files]") {
  const TemporaryFile file("numpy.npz", text(k_npz));
  const NamedTensors found = slalom::read_npz(file.path());
  REQUIRE(found.size() == 4);
  CHECK(found.at("x").scalar_type() == at::kFloat);
  CHECK(found.at("x").sizes() == at::IntArrayRef({2, 3}));
  CHECK(values(found.at("x")) == Vector{1.5, 2, 3, 4, 5, 6.25});
  CHECK(found.at("w").scalar_type() == at::kDouble);
  CHECK(values(found.at("w")) == Vector{0.5, -1});
  CHECK(found.at("p").scalar_type() == at::kInt);
  CHECK(values(found.at("f")) == Vector{0, 1, 2, 3, 4, 5});
}

TEST_CASE("arrays in the order of Fortran are read in that of C", "[modules][tensor_files]") {
  const TemporaryFile file("numpy.npy", text(k_npy));
  const Tensor found = slalom::read_npy(file.path());
  CHECK(found.sizes() == at::IntArrayRef({2, 3, 4}));
  CHECK(distance(found, at::arange(24, at::kDouble)) == 0.0);
}

TEST_CASE("what is written is read back, byte for byte the same", "[modules][tensor_files]") {
  const TemporaryFile file("out.npz", ""), again("again.npz", "");
  const NamedTensors tensors = {{"a.b", sequence(6).reshape({2, 3})},
                                {"scalar", at::full({}, 3.0, at::kFloat)},
                                {"none", tensor({})},
                                {"mask", tensor({1, 0}) > 0.5},
                                {"cube", at::arange(8, at::kLong).reshape({2, 2, 2})}};
  slalom::write_npz(file.path(), tensors);
  const NamedTensors found = slalom::read_npz(file.path());
  REQUIRE(found.size() == tensors.size());
  for (const auto& [name, expected] : tensors) {
    INFO(name);
    CHECK(found.at(name).sizes() == expected.sizes());
    CHECK(found.at(name).scalar_type() == expected.scalar_type());
    CHECK(distance(found.at(name), expected) == 0.0);
  }
  slalom::write_npz(again.path(), found);
  CHECK(again.content() == file.content());
}

TEST_CASE("damaged archives are refused, wherever they are cut", "[modules][tensor_files]") {
  const std::string whole = text(k_npz);
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    const TemporaryFile file("cut.npz", whole.substr(0, size));
    CHECK(slalom::test::error_of([&] { slalom::read_npz(file.path()); }).has_value());
  }
  // Every byte of the first array counts: a checksum stands behind it.
  int silent = 0;
  for (std::size_t i = 55; i < 144; ++i) {
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 0x15);
    const TemporaryFile file("changed.npz", changed);
    if (!slalom::test::error_of([&] { slalom::read_npz(file.path()); })) ++silent;
  }
  CHECK(silent == 0);
}

TEST_CASE("arrays that are not understood are refused", "[modules][tensor_files]") {
  const auto fails = [](const std::string& content, const std::string& message) {
    const TemporaryFile file("bad.npy", content);
    check_fails(ErrorKind::io, file.path(), message, [&] { slalom::read_npy(file.path()); });
  };
  const std::string npy = text(k_npy);
  fails("", "not an NPY file");
  fails(npy.substr(0, 100), "cut off");
  fails(npy.substr(0, npy.size() - 1), "has 47 bytes, its shape 48");
  std::string big = npy;
  big.replace(big.find("<i2"), 3, ">i2");
  fails(big, "arrays of type '>i2' are not read");
  check_fails(ErrorKind::io, "/nowhere/a.npz", "cannot be read",
              [] { slalom::read_npz("/nowhere/a.npz"); });
  check_fails(ErrorKind::io, "/nowhere/a.npz", "cannot be written", [] {
    slalom::write_npz("/nowhere/a.npz", {{"a", tensor({1})}});
  });
}

TEST_CASE("networks go to a file and come back", "[modules][tensor_files]") {
  const MlpOptions options{.inputs = 2, .hidden = {5}, .seed = 1};
  Mlp net(options);
  const Tensor x = (3.0 * sequence(40)).reshape({20, 2});
  net->fit_normalisation(x);
  const TemporaryFile file("net.npz", "");
  slalom::write_npz(file.path(), slalom::named_tensors(*net));
  MlpOptions other = options;
  other.seed = 2;
  Mlp loaded(other);
  CHECK(distance(loaded->forward(x), net->forward(x)) > 0.0);
  slalom::load_tensors(*loaded, slalom::read_npz(file.path()));
  CHECK(distance(loaded->forward(x), net->forward(x)) == 0.0);
  CHECK(loaded->parameters()[0].requires_grad());
}

TEST_CASE("tensors of another network are refused, and nothing is changed",
          "[modules][tensor_files]") {
  Mlp net(MlpOptions{.inputs = 2, .hidden = {5}});
  NamedTensors tensors = slalom::named_tensors(*net);
  const Tensor before = tensors.at("bias0").clone();
  tensors["bias0"] = at::ones({5});
  const auto fails = [&](const std::string& message) {
    check_fails(ErrorKind::usage, "tensors", message, [&] { slalom::load_tensors(*net, tensors); });
    CHECK(distance(slalom::named_tensors(*net).at("bias0"), before) == 0.0);
  };
  tensors["more"] = tensor({1});
  fails("'more' is not part of the module");
  tensors.erase("more");
  tensors["weight1"] = at::ones({5, 1});
  fails("'weight1' has the shape [5, 1] instead of [1, 5]");
  tensors.erase("weight1");
  fails("'weight1' is missing");
}
