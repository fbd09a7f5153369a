// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/log.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <numbers>
#include <vector>

#include "slalom/core/random.hpp"
#include "slalom/modules/density_ratio.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/gradients.hpp"
#include "support/temporary_file.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::as_classifier;
using slalom::ErrorKind;
using slalom::FunctionClassifier;
using slalom::MlpOptions;
using slalom::ParameterInput;
using slalom::ParameterisedRatio;
using slalom::PolynomialRatio;
using slalom::RandomStream;
using slalom::RatioBatch;
using slalom::RatioBatches;
using slalom::SkipMlp;
using slalom::test::check_fails;
using slalom::test::check_gradients;
using slalom::test::distance;
using slalom::test::sequence;
using slalom::test::tensor;
using slalom::test::values;

namespace {

const std::vector<ParameterInput> k_one{{"mean", 0.5, 1.5}};
const std::vector<ParameterInput> k_two{{"a", 0.0, 1.0}, {"b", -1.0, 3.0}};

/// log r of N(theta, 1) over N(0, 1): theta x - theta^2 / 2.
Tensor exact(const Tensor& x, const Tensor& theta) {
  const Tensor t = theta.select(-1, 0);
  return x.select(1, 0).to(at::kDouble) * t - 0.5 * t * t;
}

Tensor normals(std::int64_t n, RandomStream& random) {
  Tensor result = at::zeros({n, 1}, at::kDouble);
  for (std::int64_t i = 0; i < n; ++i) result.data_ptr<double>()[i] = random.normal();
  return result;
}

RatioBatches batches(std::int64_t n, std::uint64_t seed) {
  return [=](std::int64_t step) {
    RandomStream random(seed, static_cast<std::uint64_t>(step));
    Tensor theta = at::zeros({n, 1}, at::kDouble);
    for (std::int64_t i = 0; i < n; ++i) theta.data_ptr<double>()[i] = 0.5 + random.uniform();
    const Tensor s = theta + normals(n, random);
    return RatioBatch{s, theta, normals(n, random)};
  };
}

/// A logit that is wrong by a scale and an offset which depend on theta: truth = a f + b.
ParameterisedRatio wrong_ratio(std::int64_t degree = 2) {
  const FunctionClassifier f([](const Tensor& x, const Tensor& theta) {
    const Tensor t = 2.0 * (theta.select(-1, 0) - 1.0);
    return (exact(x, theta) - (0.3 - 0.2 * t)) / (1.2 + 0.1 * t);
  });
  return ParameterisedRatio(as_classifier(f.ptr()), k_one, degree);
}

MlpOptions small_network(std::vector<ParameterInput> parameters, std::int64_t inputs = 2) {
  MlpOptions options;
  options.inputs = inputs;
  options.hidden = {5, 4};
  options.activation = slalom::Activation::silu;
  options.parameters = std::move(parameters);
  options.float64 = true;
  options.seed = 3;
  return options;
}

}  // namespace

TEST_CASE("polynomials up to a total degree", "[modules][density_ratio]") {
  using Exponents = std::vector<std::vector<std::int64_t>>;
  CHECK(slalom::polynomial_degrees(1, 3) == Exponents{{0}, {1}, {2}, {3}});
  CHECK(slalom::polynomial_degrees(2, 2) ==
        Exponents{{0, 0}, {1, 0}, {0, 1}, {2, 0}, {1, 1}, {0, 2}});
  CHECK(slalom::polynomial_degrees(3, 3).size() == 20);
  check_fails(ErrorKind::usage, "density_ratio", "a degree of at least 0",
              [] { slalom::polynomial_degrees(0, 2); });
}

TEST_CASE("networks of x and theta with a linear part", "[modules][density_ratio]") {
  SkipMlp network(small_network(k_two));
  const Tensor x = sequence(8).reshape({4, 2}), theta = tensor({0.3, 1.0});
  // The linear part begins at nothing.
  CHECK(distance(network->outputs(x, theta), network->network->outputs(x, theta)) == 0.0);
  for (Tensor& parameter : network->linear->parameters()) parameter.detach().fill_(0.7);
  // 0.7 (x_0 + x_1 + t_a + t_b + 1) with t = (-0.4, 0).
  const Tensor difference =
      network->outputs(x, theta) - network->network->outputs(x, theta) - 0.7 * x.sum(1, true);
  CHECK(distance(difference, at::full({4, 1}, 0.7 * 0.6, at::kDouble)) < 1e-14);
  check_gradients([&](const std::vector<Tensor>& in) { return network->outputs(in[0], in[1]); },
                  {x, theta.unsqueeze(0).repeat({4, 1})});
  CHECK_FALSE(network->piecewise_linear());
}

TEST_CASE("polynomials in theta with a network's coefficients", "[modules][density_ratio]") {
  PolynomialRatio network(small_network(k_two), 2);
  const Tensor x = sequence(6).reshape({3, 2});
  const Tensor theta = tensor({0.25, 2.0, 0.9, -0.5, 0.5, 1.0}).reshape({3, 2});
  const Tensor f = network->coefficients(x);
  REQUIRE(f.size(1) == 6);
  const auto c = values(f), found = values(network->outputs(x, theta)), t = values(theta);
  for (std::size_t i = 0; i < 3; ++i) {
    const double a = 2.0 * t[2 * i] - 1.0, b = 0.5 * (t[2 * i + 1] - 1.0);
    const double* k = &c[6 * i];
    const double expected = k[0] + k[1] * a + k[2] * b + k[3] * (1.5 * a * a - 0.5) + k[4] * a * b +
                            k[5] * (1.5 * b * b - 0.5);
    CHECK_THAT(found[i], WithinAbs(expected, 1e-13));
  }
  // One theta for all is a row of them.
  const Tensor one = network->outputs(x, theta[1]);
  CHECK(distance(one[1], network->outputs(x, theta)[1]) < 1e-14);
  check_gradients([&](const std::vector<Tensor>& in) { return network->outputs(in[0], in[1]); },
                  {x, theta});
}

TEST_CASE("a ratio is its network with a calibration", "[modules][density_ratio]") {
  ParameterisedRatio ratio = wrong_ratio(1);
  const Tensor x = sequence(5).reshape({5, 1}), theta = tensor({0.8});
  CHECK(distance(ratio->log_ratio(x, theta), ratio->logit(x, theta)) == 0.0);
  CHECK(values(ratio->calibration(theta)) == std::vector<double>{1.0, 0.0});
  // What makes it right: a = 1.2 + 0.1 t, b = 0.3 - 0.2 t.
  ratio->set_calibration(tensor({1.2, 0.1}), tensor({0.3, -0.2}));
  CHECK(distance(ratio->log_ratio(x, theta), exact(x, theta)) < 1e-14);
  CHECK(distance(ratio->outputs(x, theta).squeeze(1), exact(x, theta)) < 1e-14);
  const Tensor each = tensor({0.5, 0.7, 0.9, 1.1, 1.5}).unsqueeze(1);
  CHECK(distance(ratio->log_ratio(x, each), exact(x, each)) < 1e-14);
  CHECK(ratio->calibration(each).sizes() == at::IntArrayRef({5, 2}));
  check_gradients([&](const std::vector<Tensor>& in) { return ratio->log_ratio(in[0], in[1]); },
                  {x, each});
  ratio->reset_calibration();
  CHECK(distance(ratio->log_ratio(x, theta), ratio->logit(x, theta)) == 0.0);
}

TEST_CASE("calibration on fresh events finds slope and offset", "[modules][density_ratio]") {
  ParameterisedRatio ratio = wrong_ratio(1);
  const double error = slalom::calibrate(*ratio, batches(20000, 5), 10);
  const auto slope = values(ratio->slope()), offset = values(ratio->offset());
  CHECK(error > 0.002);
  CHECK(error < 0.02);
  CHECK_THAT(slope[0], WithinAbs(1.2, 0.03));
  CHECK_THAT(slope[1], WithinAbs(0.1, 0.03));
  CHECK_THAT(offset[0], WithinAbs(0.3, 4.0 * error));
  CHECK_THAT(offset[1], WithinAbs(-0.2, 8.0 * error));
  // Applied to what is right already it changes nothing but by statistics.
  const FunctionClassifier f(exact);
  ParameterisedRatio right(as_classifier(f.ptr()), k_one, 1);
  slalom::calibrate(*right, batches(20000, 6), 10);
  CHECK_THAT(values(right->slope())[0], WithinAbs(1.0, 0.03));
  CHECK_THAT(values(right->offset())[0], WithinAbs(0.0, 4.0 * error));
}

TEST_CASE("calibration at one theta", "[modules][density_ratio]") {
  ParameterisedRatio ratio = wrong_ratio(2);
  RandomStream random(7, 0);
  const Tensor theta = tensor({1.25});
  // More events of one class than of the other do not matter.
  const Tensor s = 1.25 + normals(100000, random), b = normals(300000, random);
  const double error = slalom::calibrate_at(*ratio, theta, s, b);
  const auto slope = values(ratio->slope()), offset = values(ratio->offset());
  CHECK_THAT(slope[0], WithinAbs(1.25, 0.03));
  CHECK_THAT(offset[0], WithinAbs(0.2, 4.0 * error));
  CHECK(slope[1] == 0.0);
  CHECK(offset[2] == 0.0);
  CHECK(error < 0.02);
}

TEST_CASE("normalisation makes the mean of r one", "[modules][density_ratio]") {
  ParameterisedRatio ratio = wrong_ratio(3);
  // A quadrature: weights are the density.
  const Tensor x = at::linspace(-9.0, 9.0, 2001, at::kDouble).unsqueeze(1);
  const Tensor w = at::exp(-0.5 * x.squeeze(1) * x.squeeze(1));
  slalom::normalise(*ratio, x, w);
  for (const double theta : {0.5, 0.77, 1.0, 1.5}) {
    const Tensor r = at::exp(ratio->log_ratio(x, tensor({theta})));
    CHECK_THAT(((w * r).sum() / w.sum()).item<double>(), WithinAbs(1.0, 2e-4));
  }
  CHECK(values(ratio->slope()) == std::vector<double>{1.0, 0.0, 0.0, 0.0});
  // Its error on events: E_B[r^2] = exp(theta^2) at theta = 1.5, less than that of steeper ones.
  RandomStream random(8, 0);
  const FunctionClassifier f(exact);
  ParameterisedRatio right(as_classifier(f.ptr()), k_one, 3);
  const double error = slalom::normalise(*right, normals(100000, random));
  CHECK_THAT(error, WithinRel(std::sqrt(std::expm1(1.485 * 1.485) / 1e5), 0.3));
}

TEST_CASE("trained ratios are near the exact one", "[modules][density_ratio]") {
  MlpOptions options = small_network(k_one, 1);
  options.float64 = false;
  options.hidden = {16};
  const Tensor x = at::linspace(-2.0, 3.5, 12, at::kDouble).unsqueeze(1);
  slalom::RatioTraining training;
  training.steps = 400;
  std::vector<std::int64_t> reports;
  training.report_every = 100;
  training.progress = [&](std::int64_t step, double loss) {
    reports.push_back(step);
    CHECK(loss < 0.75);
    return true;
  };
  PolynomialRatio polynomial(options, 2);
  const double loss = slalom::train_ratio(*polynomial, batches(512, 9), training);
  CHECK(loss < 0.62);
  CHECK(loss > 0.5);
  CHECK(reports == std::vector<std::int64_t>{100, 200, 300, 400});
  CHECK(polynomial->coefficients(x).scalar_type() == at::kDouble);
  for (const double theta : {0.6, 1.0, 1.4}) {
    CHECK(distance(polynomial->outputs(x, tensor({theta})).squeeze(1), exact(x, tensor({theta}))) <
          0.35);
  }
  // The same once more, to the last bit.
  PolynomialRatio again(options, 2);
  training.progress = {};
  CHECK(slalom::train_ratio(*again, batches(512, 9), training) == loss);
  SkipMlp skip(options);
  CHECK(slalom::train_ratio(*skip, batches(512, 9), training) < 0.62);
  CHECK(distance(skip->outputs(x, tensor({1.0})).squeeze(1), exact(x, tensor({1.0}))) < 0.5);
}

TEST_CASE("batches are drawn from samples", "[modules][density_ratio]") {
  const Tensor s = at::linspace(0.0, 9.0, 10, at::kDouble).unsqueeze(1), theta = s * 10.0,
               b = -at::ones({3, 1}, at::kDouble);
  const auto draw = slalom::batches_from_samples(s, theta, b, 500, 4);
  const RatioBatch batch = draw(0);
  CHECK(batch.signal.size(0) == 500);
  // Events keep their theta.
  CHECK(distance(batch.theta, batch.signal * 10.0) == 0.0);
  CHECK_THAT(batch.signal.mean().item<double>(), WithinAbs(4.5, 0.5));
  CHECK(batch.background.sum().item<double>() == -500.0);
  CHECK(distance(draw(0).signal, batch.signal) == 0.0);
  CHECK(distance(draw(1).signal, batch.signal) > 0.0);
}

TEST_CASE("two decay modes", "[modules][density_ratio]") {
  const FunctionClassifier one(exact),
      two([](const Tensor&x, const Tensor&theta) { return -exact(x, theta); });
  const ParameterisedRatio first(as_classifier(one.ptr()), k_one, 0),
      second(as_classifier(two.ptr()), k_one, 0);
  slalom::TwoModes modes(first, second);
  REQUIRE(modes->parameters().size() == 2);
  CHECK(modes->parameters()[1].name == "alpha");
  ParameterisedRatio ratio(as_classifier(modes.ptr()), modes->parameters(), 0);
  const Tensor x = tensor({-1.0, 0.4, 2.0}).unsqueeze(1);
  const Tensor l = exact(x, tensor({0.9}));
  const Tensor expected = at::log(0.3 * at::exp(l) + 0.7 * at::exp(-l));
  CHECK(distance(ratio->log_ratio(x, tensor({0.9, 0.3})), expected) < 1e-14);
  CHECK(distance(ratio->log_ratio(x, tensor({0.9, 1.0})), l) < 1e-14);
  check_gradients([&](const std::vector<Tensor>& in) { return ratio->log_ratio(x, in[0]); },
                  {tensor({0.9, 0.3, 1.1, 0.5, 0.7, 0.8}).reshape({3, 2})});
}

TEST_CASE("ratios are kept in files", "[modules][density_ratio]") {
  const auto make = [](std::uint64_t seed) {
    MlpOptions options = small_network(k_two);
    options.seed = seed;
    const PolynomialRatio network(options, 3);
    return ParameterisedRatio(as_classifier(network.ptr()), k_two, 2);
  };
  ParameterisedRatio a = make(1), b = make(2);
  a->set_calibration(sequence(6), sequence(6, 0.1));
  const slalom::test::TemporaryFile file("ratio.npz", "");
  slalom::write_npz(file.path(), slalom::named_tensors(*a));
  slalom::load_tensors(*b, slalom::read_npz(file.path()));
  const Tensor x = sequence(6).reshape({3, 2}), theta = tensor({0.4, 2.2});
  CHECK(distance(a->log_ratio(x, theta), b->log_ratio(x, theta)) == 0.0);
}

TEST_CASE("ratios that cannot be are refused", "[modules][density_ratio]") {
  const FunctionClassifier f(exact);
  const auto ratio_of = [&](std::vector<ParameterInput> parameters) {
    return ParameterisedRatio(as_classifier(f.ptr()), std::move(parameters), 1);
  };
  check_fails(ErrorKind::usage, "density_ratio", "without parameters", [&] { ratio_of({}); });
  check_fails(ErrorKind::usage, "density_ratio", "empty range of parameter 'm'", [&] {
    ratio_of({{"m", 1.0, 1.0}});
  });
  ParameterisedRatio ratio = ratio_of(k_one);
  const Tensor x = tensor({1.0, 2.0}).unsqueeze(1);
  check_fails(ErrorKind::usage, "density_ratio", "theta [1] or [2, 1] expected, found [2]", [&] {
    ratio->log_ratio(x, tensor({1.0, 1.0}));
  });
  check_fails(ErrorKind::usage, "density_ratio", "coefficients [2] expected",
              [&] { ratio->set_calibration(tensor({1.0}), tensor({1.0})); });
  check_fails(ErrorKind::usage, "density_ratio", "more points than the degree",
              [&] { slalom::normalise(*ratio, x, {}, 1); });
  check_fails(ErrorKind::usage, "density_ratio", "as many signal events", [&] {
    slalom::calibrate(
        *ratio,
        [&](std::int64_t) {
          return RatioBatch{x, x, x.slice(0, 0, 1)};
        },
        1);
  });
  // Classes that do not overlap.
  check_fails(ErrorKind::numerical, "density_ratio", "the classes are separated",
              [&] { slalom::calibrate_at(*ratio, tensor({1.0}), x + 50.0, x - 50.0); });
  // A logit that is not one number.
  const FunctionClassifier wide([](const Tensor& events, const Tensor&) {
    return at::cat({events, events}, 1);
  });
  ParameterisedRatio two(as_classifier(wide.ptr()), k_one, 1);
  check_fails(ErrorKind::usage, "density_ratio", "one logit per event",
              [&] { two->log_ratio(x, tensor({1.0})); });
  MlpOptions options = small_network(k_one, 1);
  PolynomialRatio network(options, 1);
  slalom::RatioTraining training;
  training.steps = 3;
  check_fails(ErrorKind::numerical, "density_ratio", "not finite at step 1", [&] {
    slalom::train_ratio(
        *network,
        [&](std::int64_t step) {
          RatioBatch batch = batches(10, 1)(step);
          if (step == 1) batch.signal = batch.signal * NAN;
          return batch;
        },
        training);
  });
}
