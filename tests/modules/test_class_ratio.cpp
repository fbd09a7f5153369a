// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <vector>

#include "slalom/core/random.hpp"
#include "slalom/modules/class_ratio.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/gradients.hpp"
#include "support/temporary_file.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using slalom::ClassNetwork;
using slalom::ClassNetworkOptions;
using slalom::ClassRatioFit;
using slalom::ClassRatios;
using slalom::ClassRatioTraining;
using slalom::ErrorKind;
using slalom::RandomStream;
using slalom::RatioCombination;
using slalom::test::check_fails;
using slalom::test::check_gradients;
using slalom::test::distance;
using slalom::test::sequence;
using slalom::test::tensor;
using slalom::test::values;

namespace {

/// Of each class, normal with variance 1.
const std::vector<double> k_means = {-0.6, 0.0, 0.9};

std::vector<Tensor> normal_events(const std::vector<std::int64_t>& counts, std::uint64_t seed) {
  std::vector<Tensor> result;
  for (std::size_t k = 0; k < counts.size(); ++k) {
    RandomStream random(seed, k);
    Tensor x = at::zeros({counts[k], 1}, at::kDouble);
    for (std::int64_t i = 0; i < counts[k]; ++i) {
      x.data_ptr<double>()[i] = k_means[k] + random.normal();
    }
    result.push_back(x);
  }
  return result;
}

/// log p_k / mean of all p_j [n, 3].
Tensor exact(const Tensor& x) {
  std::vector<Tensor> logs;
  for (const double mean : k_means) {
    const Tensor d = x.select(1, 0).to(at::kDouble) - mean;
    logs.push_back(-0.5 * d * d);
  }
  const Tensor l = at::stack(logs, 1);
  return l - at::logsumexp(l, {1}, true) + std::log(3.0);
}

Tensor labels_of(const std::vector<Tensor>& events) {
  std::vector<Tensor> result;
  for (std::size_t k = 0; k < events.size(); ++k) {
    result.push_back(at::full({events[k].size(0)}, static_cast<std::int64_t>(k), at::kLong));
  }
  return at::cat(result);
}

ClassNetworkOptions small_network() {
  ClassNetworkOptions o;
  o.hidden = {8};
  o.seed = 5;
  return o;
}

ClassRatioTraining short_training() {
  ClassRatioTraining o;
  o.members = 2;
  o.epochs = 6;
  o.batch_size = 256;
  o.learning_rate = 1e-2;
  o.warm_up = 10;
  return o;
}

double rms(const Tensor& difference) {
  return std::sqrt((difference * difference).mean().item<double>());
}

/// Sums of the slopes of the logistic loss by what is added to log r_k [C].
std::vector<double> offset_slopes(const Tensor& logs, const Tensor& labels) {
  std::vector<double> result;
  const std::int64_t classes = logs.size(1);
  for (std::int64_t k = 0; k < classes; ++k) {
    const Tensor p = at::sigmoid(logs.select(1, k));
    double outside = 0.0;
    for (std::int64_t j = 0; j < classes; ++j) {
      outside += p.masked_select(labels == j).mean().item<double>() / static_cast<double>(classes);
    }
    result.push_back(outside - (1.0 - p).masked_select(labels == k).mean().item<double>());
  }
  return result;
}

}  // namespace

TEST_CASE("networks of classes with few functions and products", "[modules][class_ratio]") {
  ClassNetworkOptions o = small_network();
  o.features = 2;
  o.classes = 5;
  o.float64 = true;
  const Tensor x = sequence(24).reshape({12, 2}) * 3.0;
  for (const std::int64_t rank : {0, 2}) {
    o.rank = rank;
    o.degree = 0;
    ClassNetwork bare(o);
    bare->fit_normalisation(x);
    for (const std::int64_t degree : {1, 2}) {
      o.degree = degree;
      ClassNetwork network(o);
      network->fit_normalisation(x);
      // The weights of products begin at 0.
      CHECK(distance(network->outputs(x, {}), bare->outputs(x, {})) == 0.0);
      for (Tensor& parameter : network->parameters()) {
        if (parameter.abs().sum().item<double>() == 0.0) parameter.detach().fill_(0.2);
      }
      CHECK(distance(network->outputs(x, {}), bare->outputs(x, {})) > 0.1);
      check_gradients([&](const std::vector<Tensor>& in) { return network->outputs(in[0], {}); },
                      {x});
      const Tensor logits = network->outputs(x, {}).detach();
      REQUIRE(logits.sizes() == at::IntArrayRef({12, 5}));
      // Logits are combinations of `rank` functions, up to constants.
      const Tensor centred = logits - logits.mean({0}, true);
      const std::vector<double> sizes =
          values(std::get<0>(at::linalg_eigh(centred.t().matmul(centred))));
      const std::size_t zeros = rank == 0 ? 0 : 3;
      for (std::size_t i = 0; i < 5; ++i) {
        if (i < zeros) {
          CHECK_THAT(sizes[i], WithinAbs(0.0, 1e-10 * sizes[4]));
        } else {
          CHECK(sizes[i] > 1e-8 * sizes[4]);
        }
      }
    }
  }
  CHECK_FALSE(ClassNetwork(o)->piecewise_linear());
  check_fails(ErrorKind::usage, "class_ratio", "a degree of 0, 1 or 2", [&] {
    o.degree = 3;
    ClassNetwork refused(o);
  });
}

TEST_CASE("members give log ratios to the mean of all classes", "[modules][class_ratio]") {
  ClassNetworkOptions o = small_network();
  o.features = 1;
  o.classes = 3;
  ClassRatios ratios = slalom::make_class_ratios(o, 2);
  const Tensor x = sequence(7).reshape({7, 1});
  const Tensor each = ratios->member_log_ratios(x);
  REQUIRE(each.sizes() == at::IntArrayRef({2, 7, 3}));
  CHECK(each.scalar_type() == at::kDouble);
  CHECK(distance(each[0], each[1]) > 1e-3);
  CHECK(distance(at::exp(each).mean(2), at::full({2, 7}, 1.0, at::kDouble)) < 1e-12);
  CHECK(distance(ratios->log_ratios(x), each.mean(0)) < 1e-14);
  // Another combination.
  const RatioCombination c{tensor({1.0, 0.5, 0.2, 0.3, 0.0, 2.0}).reshape({3, 2}),
                           tensor({0.1, -0.2, 0.3})};
  ratios->set_combination(c);
  const std::vector<double> l = values(each), found = values(ratios->log_ratios(x));
  for (std::size_t i = 0; i < 7; ++i) {
    CHECK_THAT(found[3 * i + 1],
               WithinAbs(0.2 * l[3 * i + 1] + 0.3 * l[21 + 3 * i + 1] - 0.2, 1e-13));
    CHECK_THAT(found[3 * i + 2], WithinAbs(2.0 * l[21 + 3 * i + 2] + 0.3, 1e-13));
  }
  CHECK(distance(ratios->combination().weights, c.weights) == 0.0);
  check_fails(ErrorKind::usage, "class_ratio", "weights [3, 2]",
              [&] { ratios->set_combination(slalom::mean_combination(3, 4)); });
  check_fails(ErrorKind::usage, "class_ratio", "not finite", [&] {
    ratios->set_combination({c.weights, tensor({0.0, NAN, 0.0})});
  });
}

TEST_CASE("trained ratios are those of the densities", "[modules][class_ratio]") {
  // Three times as many events of one class change nothing.
  const std::vector<Tensor> events = normal_events({4000, 12000, 4000}, 3);
  const Tensor x = at::cat({events[0], events[1].slice(0, 0, 4000), events[2]});
  CHECK(rms(exact(x)) > 0.4);
  ClassRatioTraining training = short_training();
  training.epochs = 10;
  SECTION("a network") {
    ClassNetworkOptions o = small_network();
    o.rank = 2;
    o.degree = 1;
    const ClassRatioFit fit = slalom::train_class_ratios(events, o, training);
    REQUIRE(fit.members.size() == 2);
    const at::NoGradGuard no_graph;
    ClassRatios ratios = fit.ratios;
    CHECK(rms(ratios->log_ratios(x) - exact(x)) < 0.1);
    for (const auto& member : fit.members) {
      // log 3 without learning; the entropy of the exact posterior is 0.89.
      CHECK(member.best_loss < 0.95);
      REQUIRE(member.validation_loss.size() == 10);
      CHECK(member.best_loss ==
            member.validation_loss[static_cast<std::size_t>(member.best_epoch)]);
    }
    // Bootstrap samples differ.
    const Tensor each = ratios->member_log_ratios(x);
    CHECK(rms(each[0] - each[1]) > 5e-3);
  }
  SECTION("logistic regression") {
    // Two numbers of each class from 3,600 events: .024. The start is far away.
    training.epochs = 40;
    ClassNetworkOptions o = small_network();
    o.hidden = {};
    training.bootstrap = false;
    ClassRatios ratios = slalom::train_class_ratios(events, o, training).ratios;
    const at::NoGradGuard no_graph;
    CHECK(rms(ratios->log_ratios(x) - exact(x)) < 0.05);
  }
}

TEST_CASE("the same ratios for any number of threads", "[modules][class_ratio]") {
  const std::vector<Tensor> events = normal_events({600, 700, 500}, 3);
  const Tensor x = sequence(9).reshape({9, 1});
  const auto train = [&](int threads, std::uint64_t seed) {
    const int before = at::get_num_threads();
    at::set_num_threads(threads);
    ClassRatioTraining training = short_training();
    training.seed = seed;
    ClassRatios ratios = slalom::train_class_ratios(events, small_network(), training).ratios;
    at::set_num_threads(before);
    const at::NoGradGuard no_graph;
    return ratios->member_log_ratios(x);
  };
  const Tensor one = train(1, 1);
  CHECK(distance(one, train(2, 1)) == 0.0);
  CHECK(distance(one, train(1, 2)) > 1e-4);
}

TEST_CASE("the weights of the best epoch are kept", "[modules][class_ratio]") {
  // Few events and many weights: the validation loss rises again.
  const std::vector<Tensor> events = normal_events({40, 40, 40}, 8);
  ClassNetworkOptions o = small_network();
  o.hidden = {64, 64};
  ClassRatioTraining training = short_training();
  training.members = 1;
  training.batch_size = 16;
  training.learning_rate = 2e-2;
  training.rate = slalom::ScheduleShape::constant;
  training.epochs = 60;
  training.patience = 8;
  training.validation_share = 0.4;
  const ClassRatioFit longer = slalom::train_class_ratios(events, o, training);
  const auto& member = longer.members[0];
  REQUIRE(member.stopped_early);
  REQUIRE(member.validation_loss.size() == static_cast<std::size_t>(member.best_epoch + 9));
  CHECK(member.validation_loss.back() > member.best_loss);
  const Tensor x = sequence(9).reshape({9, 1});
  const auto at_x = [&](const ClassRatioFit& fit) {
    const at::NoGradGuard no_graph;
    return fit.ratios.ptr()->log_ratios(x);
  };
  const std::int64_t best = member.best_epoch;
  training.progress = [&](std::int64_t, std::int64_t epoch, double) { return epoch < best; };
  const ClassRatioFit shorter = slalom::train_class_ratios(events, o, training);
  CHECK(distance(at_x(longer), at_x(shorter)) == 0.0);
}

TEST_CASE("weights of members that belong together are found", "[modules][class_ratio]") {
  const std::vector<Tensor> events = normal_events({20000, 10000, 20000}, 4);
  const Tensor x = at::cat(events), labels = labels_of(events), f = exact(x);
  // Neither of both alone is any good: their sum, less .1, is.
  const Tensor other = at::sin(2.0 * x);
  const Tensor members = at::stack({0.5 * f + other + 0.1, 0.5 * f - other});
  const RatioCombination c = slalom::fit_combination(members, labels);
  for (std::int64_t k = 0; k < 3; ++k) {
    CHECK_THAT(c.weights[k][0].item<double>(), WithinAbs(1.0, 0.08));
    CHECK_THAT(c.weights[k][1].item<double>(), WithinAbs(1.0, 0.08));
    CHECK_THAT(c.offsets[k].item<double>(), WithinAbs(-0.1, 0.04));
  }
  const Tensor combined = (members * c.weights.t().unsqueeze(1)).sum(0) + c.offsets;
  CHECK(rms(combined - f) < 0.04);
  for (const double slope : offset_slopes(combined, labels))
    CHECK_THAT(slope, WithinAbs(0.0, 1e-8));
  check_fails(ErrorKind::numerical, "class_ratio", "no events of class 1", [&] {
    slalom::fit_combination(members, at::where(labels == 1, 0, labels).to(at::kLong));
  });
  check_fails(ErrorKind::numerical, "class_ratio", "class 0", [&] {
    const Tensor sign = at::where(labels == 0, 1.0, -1.0).to(at::kDouble).unsqueeze(1);
    slalom::fit_combination(at::stack({sign.repeat({1, 3})}), labels);
  });
}

TEST_CASE("calibrations of ratios", "[modules][class_ratio]") {
  const std::vector<Tensor> events = normal_events({20000, 10000, 20000}, 4);
  const Tensor x = at::cat(events), labels = labels_of(events), f = exact(x);
  // Too sure of itself, and not normalised.
  const Tensor wrong = at::stack({1.3 * f + 0.2, 1.3 * f + 0.4});
  const RatioCombination mean = slalom::mean_combination(3, 2);
  const RatioCombination platt = slalom::calibrate_combination(mean, wrong, labels);
  for (std::int64_t k = 0; k < 3; ++k) {
    CHECK_THAT(platt.weights[k][0].item<double>(), WithinAbs(0.5 / 1.3, 0.02));
    CHECK_THAT(platt.weights[k][1].item<double>(), WithinAbs(0.5 / 1.3, 0.02));
    CHECK_THAT(platt.offsets[k].item<double>(), WithinAbs(-0.3 / 1.3, 0.02));
  }
  const auto combined = [&](const RatioCombination& c) {
    return (wrong * c.weights.t().unsqueeze(1)).sum(0) + c.offsets;
  };
  for (const double s : offset_slopes(combined(platt), labels)) CHECK_THAT(s, WithinAbs(0.0, 1e-8));
  const RatioCombination norm = slalom::normalise_combination(mean, wrong, labels);
  CHECK(distance(norm.weights, mean.weights) == 0.0);
  Tensor reference = at::zeros({3}, at::kDouble);
  for (std::int64_t j = 0; j < 3; ++j) {
    const Tensor inside =
        at::exp(combined(norm)).index_select(0, (labels == j).nonzero().squeeze(1));
    reference = reference + inside.mean(0) / 3.0;
  }
  CHECK(distance(reference, at::full({3}, 1.0, at::kDouble)) < 1e-12);
  const RatioCombination cut = slalom::cut_combination(norm, tensor({0.9, 0.6, 0.3}));
  CHECK(distance(cut.offsets - norm.offsets,
                 tensor({std::log(0.6 / 0.9), 0.0, std::log(0.6 / 0.3)})) < 1e-14);
  check_fails(ErrorKind::usage, "class_ratio", "an efficiency above 0", [&] {
    slalom::cut_combination(norm, tensor({0.9, 0.0, 0.3}));
  });
}

TEST_CASE("ratios in a window are those of what passes", "[modules][class_ratio]") {
  const std::vector<Tensor> events = normal_events({20000, 20000, 20000}, 6);
  const Tensor x = at::cat(events).select(1, 0), inside = (x > -0.5).logical_and(x < 1.0);
  // Of each class, from the normal distribution.
  std::vector<double> efficiencies;
  for (const double mean : k_means) {
    efficiencies.push_back(
        0.5 * (std::erf((1.0 - mean) / std::sqrt(2.0)) - std::erf((-0.5 - mean) / std::sqrt(2.0))));
  }
  const RatioCombination cut =
      slalom::cut_combination(slalom::mean_combination(3, 1), tensor(efficiencies));
  const Tensor passed = x.masked_select(inside).unsqueeze(1);
  const Tensor r = at::exp(exact(passed) + cut.offsets);
  // The mean of a ratio over its reference is 1: .004 of statistics.
  CHECK(distance(r.mean(0), at::full({3}, 1.0, at::kDouble)) < 0.016);
  CHECK(distance(at::exp(exact(passed)).mean(0), at::full({3}, 1.0, at::kDouble)) > 0.05);
}

TEST_CASE("noise outside of the directions of the classes goes", "[modules][class_ratio]") {
  // Three means on a line: one direction.
  const Tensor x = at::cat(normal_events({500, 500, 500}, 9)), f = exact(x);
  const slalom::RatioSubspace own = slalom::ratio_subspace(f, 1);
  REQUIRE(own.vectors.sizes() == at::IntArrayRef({3, 1}));
  const std::vector<double> spread = values(own.spread);
  REQUIRE(spread.size() == 3);
  CHECK(spread[0] > 0.5);
  CHECK(spread[1] < 1e-6);
  CHECK(distance(slalom::projected(f, own), f) < 1e-9);
  // A wave that only one class has is mostly outside.
  Tensor noisy = f.clone();
  noisy.select(1, 1).add_(at::sin(7.0 * x.select(1, 0)), 0.05);
  const slalom::RatioSubspace found = slalom::ratio_subspace(noisy, 1);
  const Tensor kept = slalom::projected(noisy, found);
  CHECK(rms(kept - f) < 0.5 * rms(noisy - f));
  CHECK(distance(at::exp(kept).mean(1), at::full({1500}, 1.0, at::kDouble)) < 1e-12);
  // Weights count events.
  const Tensor some = f.slice(0, 0, 900);
  Tensor weights = at::full({1500}, 1.0, at::kDouble);
  weights.slice(0, 900).fill_(0.0);
  CHECK(distance(slalom::ratio_subspace(f, 1, weights).mean, slalom::ratio_subspace(some, 1).mean) <
        1e-12);
  check_gradients([&](const std::vector<Tensor>& in) { return slalom::projected(in[0], found); },
                  {noisy.slice(0, 0, 4)});
  check_fails(ErrorKind::usage, "class_ratio", "a rank from 1 to less than 3",
              [&] { slalom::ratio_subspace(f, 3); });
}

TEST_CASE("ratios from a file", "[modules][class_ratio]") {
  const std::vector<Tensor> events = normal_events({300, 300, 300}, 3);
  ClassNetworkOptions o = small_network();
  o.rank = 2;
  o.degree = 2;
  ClassRatios ratios = slalom::train_class_ratios(events, o, short_training()).ratios;
  RatioCombination c = ratios->combination();
  c.offsets.add_(0.25);
  ratios->set_combination(c);
  const slalom::test::TemporaryFile file("ratios.npz", "");
  slalom::write_npz(file.path(), slalom::named_tensors(*ratios));
  o.features = 1;
  o.classes = 3;
  ClassRatios read = slalom::make_class_ratios(o, 2);
  read->to(at::kDouble);
  slalom::load_tensors(*read, slalom::read_npz(file.path()));
  const at::NoGradGuard no_graph;
  const Tensor x = sequence(9).reshape({9, 1});
  CHECK(distance(read->log_ratios(x), ratios->log_ratios(x)) == 0.0);
}

TEST_CASE("what class ratios refuse", "[modules][class_ratio]") {
  std::vector<Tensor> events = normal_events({30, 30, 30}, 3);
  const auto refuses = [&](ErrorKind kind, const char* text, auto&& change) {
    ClassRatioTraining training = short_training();
    change(training);
    check_fails(kind, "class_ratio", text,
                [&] { slalom::train_class_ratios(events, small_network(), training); });
  };
  refuses(ErrorKind::usage, "share of validation", [](auto& t) { t.validation_share = 1.0; });
  refuses(ErrorKind::usage, "learning rate", [](auto& t) { t.learning_rate = 0.0; });
  refuses(ErrorKind::usage, "constant or a cosine",
          [](auto& t) { t.rate = slalom::ScheduleShape::linear; });
  refuses(ErrorKind::usage, "epochs", [](auto& t) { t.epochs = 0; });
  refuses(ErrorKind::numerical, "is not finite", [](auto& t) { t.learning_rate = 1e30; });
  events[1][3][0] = NAN;
  refuses(ErrorKind::numerical, "class 1 are not finite", [](auto&) {});
  events[1] = sequence(8).reshape({4, 2});
  refuses(ErrorKind::usage, "class 1", [](auto&) {});
  events.resize(1);
  refuses(ErrorKind::usage, "two classes", [](auto&) {});
}
