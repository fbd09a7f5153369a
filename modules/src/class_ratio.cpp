// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/class_ratio.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>
#include <string>
#include <torch/csrc/autograd/autograd.h>
#include <utility>

#include "check.hpp"
#include "slalom/core/minimize.hpp"
#include "slalom/core/random.hpp"
#include "to_tensor.hpp"
#include "training.hpp"

namespace slalom {

using detail::require;
using detail::shape_of;
using detail::to_tensor;

namespace {

constexpr const char* k_where = "class_ratio";
constexpr std::int64_t k_chunk = 16384;  ///< events that a network sees at a time, without a graph
constexpr std::uint64_t k_seed_step = 0x10000;  ///< between members
// Families of random numbers of the seed.
constexpr std::uint32_t k_split_family = 0x0c1a5001, k_order_family = 0x0c1a5002,
                        k_bootstrap_family = 0x0c1a5003;

// ------------------------------------------------------------------------------------------------
// Combinations

/// [events] -> weight of each event in the reference, in which all classes have the same.
Tensor reference_weights(const Tensor& labels, std::int64_t classes) {
  const Tensor counts = labels.bincount({}, classes).to(at::kDouble);
  require(counts.size(0) == classes, "labels from 0 to less than the number of classes expected",
          k_where);
  if (!(counts.min().item<double>() > 0.0)) {
    throw Error(
        ErrorKind::numerical,
        "there are no events of class " + std::to_string(counts.argmin().item<std::int64_t>()),
        k_where);
  }
  return (1.0 / (static_cast<double>(classes) * counts)).index_select(0, labels);
}

void check_labelled(const Tensor& logs, const Tensor& labels) {
  require(logs.dim() == 3 && labels.dim() == 1 && labels.scalar_type() == at::kLong &&
              labels.size(0) == logs.size(1) && labels.size(0) > 0,
          "log ratios [members, events, classes] and integer labels [events] expected, found " +
              shape_of(logs) + " and " + shape_of(labels),
          k_where);
  require(labels.min().item<std::int64_t>() >= 0, "a negative label", k_where);
  if (at::isfinite(logs).all().item<bool>()) return;
  throw Error(ErrorKind::numerical, "log ratios that are not finite", k_where);
}

void check_combination(const RatioCombination& c, std::int64_t classes, std::int64_t members) {
  require(c.weights.defined() && c.offsets.defined() && c.weights.dim() == 2 &&
              c.weights.size(0) == classes && c.weights.size(1) == members &&
              c.offsets.dim() == 1 && c.offsets.size(0) == classes,
          "weights [" + std::to_string(classes) + ", " + std::to_string(members) +
              "] and as many offsets expected",
          k_where);
  require(at::isfinite(c.weights).all().item<bool>() && at::isfinite(c.offsets).all().item<bool>(),
          "a combination with numbers that are not finite", k_where);
}

/// Where the events' numbers are, in float64.
RatioCombination moved(const RatioCombination& c, const Tensor& numbers) {
  return {c.weights.to(numbers.device(), at::kDouble), c.offsets.to(numbers.device(), at::kDouble)};
}

/// [M, n, C] -> [n, C].
Tensor combine(const RatioCombination& c, const Tensor& logs) {
  return (logs * c.weights.t().unsqueeze(1)).sum(0) + c.offsets;
}

/// Parameters [p] of least mean of softplus(-t) over a class + mean of softplus(t) over the
/// reference, t = design parameters. \param design [n, p] \param inside, outside weights [n]
std::vector<double> logistic_fit(const Tensor& design, const Tensor& inside, const Tensor& outside,
                                 std::vector<double> start, std::int64_t number) {
  const Tensor columns = design.contiguous(), rows = columns.t();
  const Objective loss = [&](std::span<const double> x, std::span<double> gradient,
                             std::span<double> hessian) {
    const Tensor a = to_tensor(std::vector<double>(x.begin(), x.end())).to(columns.device());
    const Tensor t = columns.matmul(a), p = at::sigmoid(t);
    if (!gradient.empty()) {
      const Tensor g = rows.matmul(outside * p - inside * (1.0 - p)).to(at::kCPU);
      std::copy_n(g.data_ptr<double>(), g.numel(), gradient.data());
    }
    if (!hessian.empty()) {
      const Tensor h = rows.matmul(columns * ((inside + outside) * p * (1.0 - p)).unsqueeze(1))
                           .to(at::kCPU)
                           .contiguous();
      std::copy_n(h.data_ptr<double>(), h.numel(), hessian.data());
    }
    // log_sigmoid(t) - t is log_sigmoid(-t).
    const Tensor log_p = at::log_sigmoid(t);
    return -(inside * log_p + outside * (log_p - t)).sum().item<double>();
  };
  // The loss is a mean: errors of the parameters are 1 / sqrt(n) of its units.
  MinimizeOptions options;
  options.tolerance = 1e-9;
  const MinimizeResult best = minimize(loss, std::move(start), options);
  // The reference holds the class as well, with a share of 1 / C: the least that there can be.
  const double share = outside.masked_select(inside > 0.0).sum().item<double>();
  const double least = std::log1p(share) + share * std::log1p(1.0 / share);
  const bool separated = best.value < least + 1e-6;
  if (!best.converged() || separated) {
    throw Error(ErrorKind::numerical,
                "the logistic regression of class " + std::to_string(number) +
                    (separated ? ": it is separated from all others"
                               : " does not converge: " + best.message),
                k_where);
  }
  return best.x;
}

}  // namespace

RatioCombination mean_combination(std::int64_t classes, std::int64_t members) {
  require(classes > 1 && members > 0, "two or more classes and a member expected", k_where);
  return {at::full({classes, members}, 1.0 / static_cast<double>(members), at::kDouble),
          at::zeros({classes}, at::kDouble)};
}

RatioCombination fit_combination(const Tensor& member_log_ratios, const Tensor& labels) {
  const at::NoGradGuard no_graph;
  check_labelled(member_log_ratios, labels);
  const Tensor logs = member_log_ratios.to(at::kDouble);
  const std::int64_t members = logs.size(0), n = logs.size(1), classes = logs.size(2);
  const Tensor outside = reference_weights(labels, classes);
  RatioCombination result = moved(mean_combination(classes, members), logs);
  for (std::int64_t k = 0; k < classes; ++k) {
    const Tensor inside = (labels == k).to(at::kDouble) * outside * static_cast<double>(classes);
    const Tensor design = at::cat({logs.select(2, k), at::ones({1, n}, logs.options())}, 0).t();
    std::vector<double> start(static_cast<std::size_t>(members),
                              1.0 / static_cast<double>(members));
    start.push_back(0.0);
    const Tensor best = to_tensor(logistic_fit(design, inside, outside, start, k));
    result.weights[k].copy_(best.slice(0, 0, members));
    result.offsets[k].copy_(best[members]);
  }
  return result;
}

RatioCombination calibrate_combination(const RatioCombination& combination,
                                       const Tensor& member_log_ratios, const Tensor& labels) {
  const at::NoGradGuard no_graph;
  check_labelled(member_log_ratios, labels);
  const std::int64_t classes = member_log_ratios.size(2);
  check_combination(combination, classes, member_log_ratios.size(0));
  const RatioCombination before = moved(combination, member_log_ratios);
  const Tensor logs = combine(before, member_log_ratios.to(at::kDouble));
  const Tensor outside = reference_weights(labels, classes);
  RatioCombination result{before.weights.clone(), before.offsets.clone()};
  for (std::int64_t k = 0; k < classes; ++k) {
    const Tensor inside = (labels == k).to(at::kDouble) * outside * static_cast<double>(classes);
    const Tensor t = logs.select(1, k);
    const std::vector<double> best =
        logistic_fit(at::stack({t, at::ones_like(t)}, 1), inside, outside, {1.0, 0.0}, k);
    result.weights[k].mul_(best[0]);
    result.offsets[k].mul_(best[0]).add_(best[1]);
  }
  return result;
}

RatioCombination normalise_combination(const RatioCombination& combination,
                                       const Tensor& member_log_ratios, const Tensor& labels) {
  const at::NoGradGuard no_graph;
  check_labelled(member_log_ratios, labels);
  const std::int64_t classes = member_log_ratios.size(2);
  check_combination(combination, classes, member_log_ratios.size(0));
  const Tensor weights = at::log(reference_weights(labels, classes)).unsqueeze(1);
  const RatioCombination before = moved(combination, member_log_ratios);
  const Tensor logs = combine(before, member_log_ratios.to(at::kDouble));
  return {before.weights.clone(), before.offsets - at::logsumexp(logs + weights, {0})};
}

RatioCombination cut_combination(const RatioCombination& combination, const Tensor& efficiencies) {
  const at::NoGradGuard no_graph;
  require(efficiencies.dim() == 1 && efficiencies.sizes() == combination.offsets.sizes() &&
              (efficiencies > 0.0).all().item<bool>() &&
              at::isfinite(efficiencies).all().item<bool>(),
          "an efficiency above 0 for each class expected", k_where);
  const Tensor e = efficiencies.to(at::kDouble);
  const RatioCombination before = moved(combination, e);
  return {before.weights.clone(), before.offsets + at::log(e.mean() / e)};
}

RatioSubspace ratio_subspace(const Tensor& log_ratios, std::int64_t rank, const Tensor& weights) {
  const at::NoGradGuard no_graph;
  require(log_ratios.dim() == 2 && log_ratios.size(0) > 0 &&
              (!weights.defined() || (weights.dim() == 1 && weights.size(0) == log_ratios.size(0))),
          "log ratios [events, classes] and a weight of each event expected", k_where);
  const std::int64_t classes = log_ratios.size(1);
  require(rank > 0 && rank < classes,
          "a rank from 1 to less than " + std::to_string(classes) + " expected", k_where);
  const Tensor l = log_ratios.to(at::kDouble);
  const Tensor w = weights.defined() ? weights.to(at::kDouble) : at::ones({l.size(0)}, l.options());
  const Tensor share = w / w.sum(), u = l - l.mean({1}, true), mean = share.matmul(u);
  const Tensor centred = u - mean;
  const auto [variances, vectors] =
      at::linalg_eigh(centred.t().matmul(centred * share.unsqueeze(1)));
  return {mean, vectors.slice(1, classes - rank).contiguous(),
          at::sqrt(variances.clamp_min(0.0)).flip({0})};
}

Tensor projected(const Tensor& log_ratios, const RatioSubspace& subspace) {
  require(log_ratios.dim() == 2 && subspace.mean.defined() &&
              log_ratios.size(1) == subspace.mean.size(0),
          "log ratios [events, classes] and their subspace expected", k_where);
  const Tensor l = log_ratios.to(at::kDouble), centred = l - l.mean({1}, true) - subspace.mean;
  const Tensor inside =
      subspace.mean + centred.matmul(subspace.vectors).matmul(subspace.vectors.t());
  return inside - at::logsumexp(inside, {1}, true) + std::log(static_cast<double>(l.size(1)));
}

// ------------------------------------------------------------------------------------------------
// Networks

namespace {

/// Number of products of one and up to `degree` features.
std::int64_t products_of(const ClassNetworkOptions& o) {
  const std::int64_t f = o.features;
  return o.degree == 0 ? 0 : o.degree == 1 ? f : f + f * (f + 1) / 2;
}

MlpOptions layers(std::int64_t inputs, std::vector<std::int64_t> hidden, std::int64_t outputs,
                  const ClassNetworkOptions& o, std::uint64_t number) {
  return {.inputs = inputs,
          .hidden = std::move(hidden),
          .outputs = outputs,
          .activation = o.activation,
          .seed = o.seed + (number << 48),
          .score = Score::linear,
          .float64 = o.float64};
}

}  // namespace

ClassNetworkImpl::ClassNetworkImpl(const ClassNetworkOptions& options) : options_(options) {
  require(options.features > 0 && options.classes > 1,
          "a feature and two classes at least expected", k_where);
  require(options.rank >= 0 && options.degree >= 0 && options.degree <= 2,
          "a rank of at least 0 and a degree of 0, 1 or 2 expected", k_where);
  score = Score::softmax;
  const std::int64_t functions = options.rank > 0 ? options.rank : options.classes;
  network_ = register_module("network",
                             Mlp(layers(options.features, options.hidden, functions, options, 0)));
  const auto buffers = network_->named_buffers();
  mean_ = buffers["mean"];
  scale_ = buffers["scale"];
  if (options.degree > 0) {
    products_ =
        register_module("products", Mlp(layers(products_of(options), {}, functions, options, 1)));
    const at::NoGradGuard no_graph;
    for (Tensor& parameter : products_->parameters()) parameter.zero_();
  }
  if (options.rank > 0) {
    head_ = register_module("head", Mlp(layers(options.rank, {}, options.classes, options, 2)));
  }
}

Tensor ClassNetworkImpl::products(const Tensor& features) const {
  const Tensor x = (features.to(mean_.scalar_type()) - mean_) / scale_;
  std::vector<Tensor> columns = {x};
  if (options_.degree > 1) {
    for (std::int64_t i = 0; i < options_.features; ++i) {
      columns.push_back(x.slice(1, i) * x.slice(1, i, i + 1));
    }
  }
  return at::cat(columns, 1);
}

Tensor ClassNetworkImpl::outputs(const Tensor& features, const Tensor& theta) {
  Tensor functions = network_->outputs(features, theta);
  if (!products_.is_empty()) {
    functions = functions + products_->outputs(products(features), theta);
  }
  return head_.is_empty() ? functions : head_->outputs(functions, theta);
}

bool ClassNetworkImpl::piecewise_linear() const {
  return network_->piecewise_linear() && options_.degree < 2;
}

void ClassNetworkImpl::fit_normalisation(const Tensor& features, const Tensor& weights) {
  network_->fit_normalisation(features, weights);
  if (products_.is_empty()) return;
  const at::NoGradGuard no_graph;
  products_->fit_normalisation(products(features), weights);
}

ClassRatiosImpl::ClassRatiosImpl(std::vector<Classifier> members, std::int64_t classes)
    : members_(std::move(members)) {
  const RatioCombination mean =
      mean_combination(classes, static_cast<std::int64_t>(members_.size()));
  weights_ = register_buffer("weights", mean.weights);
  offsets_ = register_buffer("offsets", mean.offsets);
  for (std::size_t i = 0; i < members_.size(); ++i) {
    register_module("member" + std::to_string(i), members_[i]);
  }
}

Tensor ClassRatiosImpl::member_log_ratios(const Tensor& features) {
  require(features.dim() == 2, "features [events, columns] expected, found " + shape_of(features),
          k_where);
  std::vector<Tensor> all;
  const std::int64_t n = features.size(0);
  for (const Classifier& member : members_) {
    std::vector<Tensor> pieces;
    for (std::int64_t begin = 0; begin == 0 || begin < n; begin += k_chunk) {
      const Tensor logits =
          member.ptr()->outputs(features.slice(0, begin, std::min(begin + k_chunk, n)), {});
      require(
          logits.dim() == 2 && logits.size(1) == classes(),
          "outputs [events, " + std::to_string(classes()) + "] expected, found " + shape_of(logits),
          k_where);
      const Tensor l = logits.to(at::kDouble);
      pieces.push_back(l - at::logsumexp(l, {1}, true) + std::log(static_cast<double>(classes())));
    }
    all.push_back(at::cat(pieces, 0));
  }
  return at::stack(all);
}

Tensor ClassRatiosImpl::combined(const Tensor& member_log_ratios) const {
  require(member_log_ratios.dim() == 3 && member_log_ratios.size(0) == size() &&
              member_log_ratios.size(2) == classes(),
          "log ratios [members, events, classes] expected, found " + shape_of(member_log_ratios),
          k_where);
  return combine({weights_, offsets_}, member_log_ratios);
}

Tensor ClassRatiosImpl::log_ratios(const Tensor& features) {
  return combined(member_log_ratios(features));
}

RatioCombination ClassRatiosImpl::combination() const {
  return {weights_.clone(), offsets_.clone()};
}

void ClassRatiosImpl::set_combination(const RatioCombination& combination) {
  check_combination(combination, classes(), size());
  const at::NoGradGuard no_graph;
  weights_.copy_(combination.weights);
  offsets_.copy_(combination.offsets);
}

// ------------------------------------------------------------------------------------------------
// Training

namespace {

std::vector<ClassNetwork> untrained(const ClassNetworkOptions& network, std::int64_t members) {
  require(members > 0, "at least one member expected", k_where);
  std::vector<ClassNetwork> result;
  for (std::int64_t i = 0; i < members; ++i) {
    ClassNetworkOptions own = network;
    own.seed += k_seed_step * static_cast<std::uint64_t>(i);
    result.emplace_back(own);
  }
  return result;
}

ClassRatios ratios_of(const std::vector<ClassNetwork>& networks, std::int64_t classes) {
  std::vector<Classifier> members;
  for (const ClassNetwork& network : networks) members.push_back(as_classifier(network.ptr()));
  return ClassRatios(std::move(members), classes);
}

void check(const ClassRatioTraining& o) {
  require(o.members > 0 && o.epochs > 0 && o.batch_size > 0,
          "members, epochs and a batch size above 0 expected", k_where);
  require(o.learning_rate > 0.0 && std::isfinite(o.learning_rate),
          "the learning rate must be positive", k_where);
  require(o.rate == ScheduleShape::cosine || o.rate == ScheduleShape::constant,
          "a rate that is constant or a cosine expected", k_where);
  require(o.warm_up >= 0 && o.weight_decay >= 0.0 && o.patience >= 0,
          "options must not be negative", k_where);
  require(o.validation_share > 0.0 && o.validation_share < 1.0,
          "the share of validation events must lie in (0, 1)", k_where);
}

/// Events of all classes. \throws Error (usage, numerical)
void check(const std::vector<Tensor>& events) {
  require(events.size() > 1, "events of two classes at least expected", k_where);
  for (std::size_t k = 0; k < events.size(); ++k) {
    const Tensor& x = events[k];
    require(x.defined() && x.dim() == 2 && x.size(0) > 1 && x.size(1) == events[0].size(1),
            "two or more events [n, " +
                std::to_string(events[0].dim() == 2 ? events[0].size(1) : 0) + "] of class " +
                std::to_string(k) + " expected",
            k_where);
    if (at::isfinite(x).all().item<bool>()) continue;
    throw Error(ErrorKind::numerical, "events of class " + std::to_string(k) + " are not finite",
                k_where);
  }
}

/// Events with labels, and places in them of those to train or to validate with, by class.
struct Classes {
  Tensor x, labels, weights;                      ///< [N, f], [N], [N] of mean 1
  std::vector<std::vector<std::int64_t>> places;  ///< [C][n_k]

  std::int64_t size() const {
    std::size_t n = 0;
    for (const auto& p : places) n += p.size();
    return static_cast<std::int64_t>(n);
  }
};

std::pair<Classes, Classes> split(const std::vector<Tensor>& events, at::ScalarType type,
                                  const ClassRatioTraining& o) {
  Classes training, validation;
  std::vector<Tensor> features, labels, weights;
  std::int64_t first = 0;
  const auto classes = static_cast<double>(events.size());
  for (std::size_t k = 0; k < events.size(); ++k) {
    const std::int64_t n = events[k].size(0);
    const std::int64_t held = std::clamp<std::int64_t>(
        std::llround(o.validation_share * static_cast<double>(n)), 1, n - 1);
    std::vector<std::int64_t> order = detail::permutation(n, o.seed, k, k_split_family);
    for (std::int64_t& place : order) place += first;
    validation.places.emplace_back(order.begin(), order.begin() + held);
    training.places.emplace_back(order.begin() + held, order.end());
    features.push_back(events[k].detach().to(at::kCPU, type));
    labels.push_back(at::full({n}, static_cast<std::int64_t>(k), at::kLong));
    weights.push_back(at::full({n}, 1.0 / (classes * static_cast<double>(n)), type));
    first += n;
  }
  training.x = at::cat(features, 0);
  training.labels = at::cat(labels, 0);
  training.weights = at::cat(weights, 0) * static_cast<double>(first);
  validation.x = training.x;
  validation.labels = training.labels;
  validation.weights = training.weights;
  return {std::move(training), std::move(validation)};
}

/// Places of a member's events: all of them, or as many drawn with replacement, class by class.
std::vector<std::int64_t> sample(const Classes& events, const ClassRatioTraining& o,
                                 std::uint64_t number) {
  std::vector<std::int64_t> result;
  result.reserve(static_cast<std::size_t>(events.size()));
  for (std::size_t k = 0; k < events.places.size(); ++k) {
    const std::vector<std::int64_t>& from = events.places[k];
    RandomStream random(o.seed, number * events.places.size() + k, k_bootstrap_family);
    for (std::size_t j = 0; j < from.size(); ++j) {
      result.push_back(o.bootstrap ? from[random.bits() % from.size()] : from[j]);
    }
  }
  return result;
}

/// Sum over events of weight times cross entropy.
Tensor total_loss(ClassNetworkImpl& network, const Classes& events, const Tensor& places) {
  const Tensor logits = network.outputs(events.x.index_select(0, places), {});
  const Tensor log_p = at::log_softmax(logits, 1)
                           .gather(1, events.labels.index_select(0, places).unsqueeze(1))
                           .squeeze(1);
  return -(events.weights.index_select(0, places) * log_p).sum();
}

/// The training of one member, in one thread.
class MemberTraining {
 public:
  MemberTraining(ClassNetworkImpl& network, const Classes& training, const Classes& validation,
                 const ClassRatioTraining& options, std::int64_t number)
      : network_(network),
        training_(training),
        validation_(validation),
        options_(options),
        number_(number),
        own_(sample(training, options, 2 * static_cast<std::uint64_t>(number))),
        held_(to_tensor(sample(validation, options, 2 * static_cast<std::uint64_t>(number) + 1))),
        flat_(network.parameters()),
        optimizer_(flat_.values, options.weight_decay),
        batches_(std::max<std::int64_t>(
            1, (static_cast<std::int64_t>(own_.size()) + options.batch_size - 1) /
                   options.batch_size)) {}

  ClassRatioMember run(const std::function<bool(std::int64_t, double)>& progress) {
    ClassRatioMember result;
    result.best_loss = std::numeric_limits<double>::infinity();
    Tensor best;
    for (std::int64_t epoch = 0; epoch < options_.epochs; ++epoch) {
      one_epoch(epoch);
      const double loss = validate();
      result.validation_loss.push_back(loss);
      if (loss < result.best_loss) {
        result.best_loss = loss;
        result.best_epoch = epoch;
        best = flat_.values.clone();
      }
      result.stopped_early =
          options_.patience > 0 && epoch - result.best_epoch >= options_.patience;
      if (!progress(epoch, loss) || result.stopped_early) break;
    }
    const at::NoGradGuard no_graph;
    flat_.values.copy_(best);
    return result;
  }

 private:
  void one_epoch(std::int64_t epoch) {
    const auto n = static_cast<std::int64_t>(own_.size());
    std::vector<std::int64_t> places = detail::permutation(
        n, options_.seed, static_cast<std::uint64_t>(epoch * options_.members + number_),
        k_order_family);
    for (std::int64_t& place : places) place = own_[static_cast<std::size_t>(place)];
    const Tensor order = to_tensor(places);
    for (std::int64_t batch = 0; batch < batches_; ++batch) {
      one_step(order.slice(0, batch * n / batches_, (batch + 1) * n / batches_),
               epoch * batches_ + batch);
    }
  }

  void one_step(const Tensor& places, std::int64_t step) {
    const at::AutoGradMode with_graph(true);
    const Tensor loss =
        total_loss(network_, training_, places) / static_cast<double>(places.size(0));
    std::vector<Tensor> pieces;
    for (const Tensor& piece :
         torch::autograd::grad({loss}, flat_.parameters(), {}, false, false, false)) {
      pieces.push_back(piece.flatten());
    }
    if (!std::isfinite(loss.item<double>())) {
      throw Error(ErrorKind::numerical,
                  "the loss of member " + std::to_string(number_) + " is not finite at step " +
                      std::to_string(step),
                  k_where);
    }
    const at::NoGradGuard no_graph;
    optimizer_.step(at::cat(pieces), rate(step));
  }

  double rate(std::int64_t step) const {
    const std::int64_t steps = options_.epochs * batches_;
    const std::int64_t warm_up = std::min(options_.warm_up, steps / 4);
    return value_at({.shape = options_.rate,
                     .start = options_.learning_rate,
                     .end = 0.0,
                     .steps = std::max<std::int64_t>(1, steps - warm_up),
                     .warm_up = warm_up,
                     .warm_up_from = options_.learning_rate / static_cast<double>(warm_up + 1)},
                    step);
  }

  double validate() {
    const at::NoGradGuard no_graph;
    double loss = 0.0, weight = 0.0;
    for (std::int64_t begin = 0; begin < held_.size(0); begin += k_chunk) {
      const Tensor places = held_.slice(0, begin, std::min(begin + k_chunk, held_.size(0)));
      loss += total_loss(network_, validation_, places).item<double>();
      weight += validation_.weights.index_select(0, places).sum().item<double>();
    }
    if (std::isfinite(loss)) return loss / weight;
    throw Error(ErrorKind::numerical,
                "the validation loss of member " + std::to_string(number_) + " is not finite",
                k_where);
  }

  ClassNetworkImpl& network_;
  const Classes& training_;
  const Classes& validation_;
  const ClassRatioTraining& options_;
  std::int64_t number_;
  std::vector<std::int64_t> own_;
  Tensor held_;
  detail::FlatParameters flat_;
  detail::AdamW optimizer_;
  std::int64_t batches_;
};

}  // namespace

ClassRatios make_class_ratios(const ClassNetworkOptions& network, std::int64_t members) {
  return ratios_of(untrained(network, members), network.classes);
}

ClassRatioFit train_class_ratios(const std::vector<Tensor>& events, ClassNetworkOptions network,
                                 const ClassRatioTraining& training) {
  check(training);
  check(events);
  network.features = events[0].size(1);
  network.classes = static_cast<std::int64_t>(events.size());
  std::vector<ClassNetwork> networks = untrained(network, training.members);
  const auto parts = split(events, network.float64 ? at::kDouble : at::kFloat, training);
  ClassRatioFit result;
  result.members.resize(networks.size());
  for (ClassNetwork& member : networks) {
    member->fit_normalisation(parts.first.x, parts.first.weights);
  }
  std::mutex mutex;
  const auto train = [&](std::int64_t i) {
    const auto progress = [&](std::int64_t epoch, double loss) {
      if (!training.progress) return true;
      const std::lock_guard<std::mutex> lock(mutex);
      return training.progress(i, epoch, loss);
    };
    const auto place = static_cast<std::size_t>(i);
    result.members[place] =
        MemberTraining(*networks[place], parts.first, parts.second, training, i).run(progress);
  };
  if (training.members == 1) {
    const detail::OneThread guard;
    train(0);
  } else {
    at::parallel_for(0, training.members, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) train(i);
    });
  }
  for (ClassNetwork& member : networks) member->to(at::kDouble);
  result.ratios = ratios_of(networks, network.classes);
  result.ratios->to(events[0].device());
  return result;
}

}  // namespace slalom
