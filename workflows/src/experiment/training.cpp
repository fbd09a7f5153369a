// SPDX-License-Identifier: Apache-2.0
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <torch/cuda.h>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include "experiment/data.hpp"
#include "experiment/learning.hpp"
#include "experiment/stages.hpp"
#include "experiment/state.hpp"
#include "slalom/modules/criteria.hpp"
#include "slalom/modules/diagnostics.hpp"

namespace slalom {

namespace {

[[noreturn]] void fail(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::usage, message, where);
}

std::optional<Figure> figure_of(LossKind kind) {
  switch (kind) {
    case LossKind::sigma:
    case LossKind::variance:
      return Figure::sigma;
    case LossKind::log_sigma:
      return Figure::log_sigma;
    case LossKind::log_cls:
      return Figure::log_cls;
    case LossKind::log_p0:
      return Figure::log_p0;
    case LossKind::minus_z:
      return Figure::minus_z;
    case LossKind::upper_limit:
      return Figure::upper_limit;
    case LossKind::cross_entropy:
    case LossKind::one_sidedness:
    case LossKind::effective_entries:
    case LossKind::efficiency:
      break;
  }
  return std::nullopt;
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(
    const OptimizerOptions& options, const std::vector<torch::optim::OptimizerParamGroup>& groups) {
  const double rate = value_at(options.learning_rate, 0);
  using namespace torch::optim;
  switch (options.type) {
    case OptimizerKind::adamw:
      return std::make_unique<AdamW>(groups, AdamWOptions(rate).weight_decay(options.weight_decay));
    case OptimizerKind::sgd:
      return std::make_unique<SGD>(
          groups, SGDOptions(rate).weight_decay(options.weight_decay).momentum(options.momentum));
    case OptimizerKind::rmsprop:
      return std::make_unique<RMSprop>(
          groups,
          RMSpropOptions(rate).weight_decay(options.weight_decay).momentum(options.momentum));
    case OptimizerKind::adam:
      break;
  }
  return std::make_unique<Adam>(groups, AdamOptions(rate).weight_decay(options.weight_decay));
}

/// Parameters in groups of one learning rate each: network, edges, cuts.
struct Groups {
  std::vector<torch::optim::OptimizerParamGroup> groups;
  std::vector<double> factors;
  std::vector<bool> network;
};

Groups group_parameters(const torch::nn::Module& module, const OptimizerOptions& options) {
  std::vector<std::vector<Tensor>> lists(3);
  for (const auto& item : module.named_parameters()) {
    if (!item.value().requires_grad()) continue;
    const bool edges = item.key().rfind("histogram", 0) == 0;
    const bool cuts = item.key().rfind("selection", 0) == 0;
    lists[edges ? 1 : cuts ? 2 : 0].push_back(item.value());
  }
  Groups result;
  const std::vector<double> factors{1.0, options.edges, options.cuts};
  for (std::size_t k = 0; k < lists.size(); ++k) {
    if (lists[k].empty()) continue;
    result.groups.emplace_back(lists[k]);
    result.factors.push_back(factors[k]);
    result.network.push_back(k == 0);
  }
  return result;
}

/// \throws Error (usage) for a GPU that is not here
void check_device(const std::string& name) {
  if (name.rfind("cuda", 0) != 0) return;
  const auto count = static_cast<int>(torch::cuda::device_count());
  if (std::max(static_cast<int>(at::Device(name).index()), 0) < count) return;
  fail(fmt::format("there is no device '{}': LibTorch finds {} of CUDA here", name, count),
       "/device");
}

bool all_finite(const Tensor& tensor) { return at::isfinite(tensor).all().item<bool>(); }

/// No gradients, so that what gets none does not move. LibTorch 1.13 only sets them to zero, and
/// Adam goes on by its momentum.
void clear_gradients(torch::optim::Optimizer& optimizer) {
  for (torch::optim::OptimizerParamGroup& group : optimizer.param_groups()) {
    for (Tensor& parameter : group.params()) parameter.mutable_grad() = Tensor();
  }
}

}  // namespace

Experiment::State::State(ExperimentOptions given) : options(std::move(given)) {
  check_device(options.device);
  at::set_num_threads(static_cast<int>(options.threads));
  // Gradients of a network that has learned its lesson are denormal, and slow a hundred times.
  at::globalContext().setFlushDenormal(true);
  data = experiment::load_data(options);
  variations = experiment::make_variations(options, data);
  classifier = experiment::make_classifier(options, data);
  if (!options.classifier.trainable) {
    for (Tensor& parameter : classifier->parameters()) parameter.set_requires_grad(false);
  }
  if (!linear()) {
    stages = experiment::make_pipeline(options, data, variations, classifier);
  }
  make_terms();
  std::vector<double> information(1 + variations.size(), 1.0);
  information[0] = 0.0;
  prior = at::zeros({static_cast<std::int64_t>(information.size())}, at::kDouble);
  for (std::size_t k = 0; k < information.size(); ++k) {
    prior[static_cast<std::int64_t>(k)] = information[k];
  }
  const Groups groups = group_parameters(trained(), options.optimizer);
  if (groups.groups.empty() && options.training.steps > 0) {
    fail("there is nothing to train: no network, no cut and no edge is free", "/training/steps");
  }
  if (!groups.groups.empty()) {
    optimizer = make_optimizer(options.optimizer, groups.groups);
    rate_factors = groups.factors;
    group_is_network = groups.network;
  }
  shuffled.emplace(data.train, EventLoaderOptions{.batch_size = options.training.batch_size,
                                                  .seed = options.seed,
                                                  .rescale = true});
  in_order.emplace(data.train,
                   EventLoaderOptions{.batch_size = options.training.batch_size, .shuffle = false});
  averaged = AveragedYields(options.training.averaging_rate);
  if (options.learning.strategy == Strategy::adversarial) make_adversary();
  if (options.learning.strategy == Strategy::reweighting) {
    experiment::check_process(options.learning.process, data, "/learning/process");
  }
  for (std::size_t i = 0; i < options.loss.size(); ++i) {
    const bool scores = !linear() && options.summary.type != SummaryKind::softmax;
    if (options.loss[i].term == LossKind::cross_entropy && !scores &&
        options.classifier.network.outputs != 1) {
      fail("cross entropy needs one output", fmt::format("/loss/{}/term", i));
    }
  }
}

torch::nn::Module& Experiment::State::trained() {
  return linear() ? static_cast<torch::nn::Module&>(*classifier) : *stages;
}

const torch::nn::Module& Experiment::State::trained() const {
  return linear() ? static_cast<const torch::nn::Module&>(*classifier) : *stages;
}

double Experiment::State::weight_of(const LossOptions& term, std::int64_t at_step) const {
  const bool counts = at_step >= term.from && (term.until < 0 || at_step < term.until);
  return counts ? value_at(term.weight, at_step) : 0.0;
}

double Experiment::State::weight_of(LossKind kind, std::int64_t at_step) const {
  double sum = 0.0;
  for (const LossOptions& term : options.loss) {
    if (term.term == kind) sum += weight_of(term, at_step);
  }
  return sum;
}

bool Experiment::State::has_sums_term(std::int64_t at_step) const {
  return std::any_of(options.loss.begin(), options.loss.end(), [&](const LossOptions& term) {
    return term.term != LossKind::cross_entropy && weight_of(term, at_step) != 0.0;
  });
}

/// The terms that are functions of sums, and where these are taken.
void Experiment::State::make_terms() {
  for (std::size_t i = 0; i < options.loss.size(); ++i) {
    const LossOptions& loss = options.loss[i];
    if (loss.term == LossKind::cross_entropy) continue;
    SumsTerm term;
    term.place = i;
    if (loss.term == LossKind::efficiency) make_efficiency(term);
    const auto figure = figure_of(loss.term);
    if (figure && !linear()) {
      term.figure.emplace(
          stages->likelihood(),
          ProfileLossOptions{
              .figure = *figure, .mu = loss.mu, .n_sigma = loss.n_sigma, .level = loss.level});
    }
    std::vector<ThetaPoint> wanted{ThetaPoint{}};
    if (!loss.at.empty()) {
      const std::string& name =
          loss.parameter.empty() ? options.learning.parameters.front().name : loss.parameter;
      const auto found = std::find_if(variations.begin(), variations.end(),
                                      [&](const Variation& v) { return v.name == name; });
      wanted.clear();
      for (const double theta : loss.at) wanted.push_back({found - variations.begin(), theta});
    }
    for (const ThetaPoint& point : wanted) {
      const auto place = std::find(points.begin(), points.end(), point);
      term.points.push_back(place - points.begin());
      if (place == points.end()) points.push_back(point);
    }
    terms.push_back(std::move(term));
  }
}

/// Whose efficiency it is. All samples of events have the same yields, so that one sum will do.
void Experiment::State::make_efficiency(SumsTerm& term) const {
  const std::string& chosen = options.loss[term.place].process;
  const std::string& name = chosen.empty() ? options.data.signal : chosen;
  const std::string where = fmt::format("/loss/{}/process", term.place);
  experiment::check_process(name, data, where);
  const auto& samples = stages->samples();
  const auto found = std::find(samples.begin(), samples.end(), name);
  if (found == samples.end()) fail("the channel has no sample '" + name + "'", where);
  term.sample = found - samples.begin();
  const Tensor mask = data.train.process == data.train.process_index(name);
  term.total = data.train.weights.masked_select(mask).sum().item<double>();
}

/// theta of all variations [variations], in units of their constraints.
Tensor Experiment::State::place_of(const ThetaPoint& point) const {
  Tensor place = at::zeros({static_cast<std::int64_t>(variations.size())}, at::kDouble);
  if (point.nuisance >= 0) {
    const auto& nuisance = options.nuisances[static_cast<std::size_t>(point.nuisance)];
    place[point.nuisance] = point.theta / experiment::prior_of(nuisance);
  }
  return place.to(at::Device(options.device));
}

/// Entries of the linear summary: events with weights, and shifted copies without. \returns outputs
Tensor Experiment::State::entries_of(const Classifier& network, const EventBatch& nominal_events,
                                     const ThetaPoint& point, Tensor& weights,
                                     Tensor& slopes) const {
  const auto& chosen = options.classifier.features;
  const Classifier fixed = experiment::observable(options, network);
  const auto outputs_of = [&](const EventBatch& batch) {
    return fixed.ptr()->outputs(chosen.empty() ? batch.features : batch.matrix(chosen), {});
  };
  double mu = 1.0;
  for (const LossOptions& term : options.loss) {
    if (term.term == LossKind::log_sigma) mu = term.mu;
  }
  const bool moves = point.nuisance >= 0;
  const Tensor place = place_of(point);
  const Tensor signal = (nominal_events.labels == 1).to(at::kDouble);
  const Tensor strength = 1.0 + (mu - 1.0) * signal;
  const EventBatch events =
      moves ? apply_variations(nominal_events, variations, place) : nominal_events;
  const Tensor nominal = events.weights * strength;
  const auto count = static_cast<std::int64_t>(1 + variations.size());
  std::vector<Tensor> outputs{outputs_of(events)}, all_weights{nominal};
  std::vector<Tensor> rows{events.weights * signal};
  std::vector<Tensor> copies;
  for (std::size_t v = 0; v < variations.size(); ++v) {
    const Variation& variation = variations[v];
    const Tensor mask = concerned_events(events, variation);
    const NuisanceOptions& nuisance = options.nuisances[v];
    if (experiment::slope_of(nuisance) == SlopeMethod::score) {
      rows.push_back(nominal * variation.score(events).to(at::kDouble) * mask.to(at::kDouble));
      continue;
    }
    rows.push_back(at::zeros_like(nominal));
    const double step_size = experiment::step_of(nuisance);
    const EventBatch concerned =
        nominal_events.with_weights(nominal_events.weights * strength).select(mask);
    for (const double sign : {1.0, -1.0}) {
      Tensor theta = place.clone();
      theta[static_cast<std::int64_t>(v)] += sign * step_size;
      const EventBatch copy =
          moves ? apply_variations(concerned, variations, theta)
                : apply_variation(concerned, variation, theta[static_cast<std::int64_t>(v)]);
      outputs.push_back(outputs_of(copy));
      all_weights.push_back(at::zeros_like(copy.weights));
      Tensor slope = at::zeros({count, copy.size()}, nominal.options());
      slope[static_cast<std::int64_t>(1 + v)] = copy.weights * (sign / (2.0 * step_size));
      copies.push_back(slope);
    }
  }
  copies.insert(copies.begin(), at::stack(rows));
  weights = at::cat(all_weights);
  slopes = at::cat(copies, 1);
  return at::cat(outputs);
}

LinearMoments Experiment::State::moments_of(const Classifier& network, const EventBatch& events,
                                            const ThetaPoint& point) const {
  Tensor weights, slopes;
  const Tensor outputs = entries_of(network, events, point, weights, slopes);
  return linear_moments(outputs, weights, slopes);
}

Tensor Experiment::State::sums_at(const EventBatch& events, const ThetaPoint& point) {
  if (linear()) {
    const LinearMoments moments = moments_of(classifier, events, point);
    return at::cat({moments.gram, moments.slopes});
  }
  return point.nuisance < 0 ? stages->yields(events) : stages->yields_at(events, place_of(point));
}

/// At all points [points, ...].
Tensor Experiment::State::sums_of(const EventBatch& events) {
  std::vector<Tensor> all;
  for (const ThetaPoint& point : points) all.push_back(sums_at(events, point));
  return at::stack(all);
}

/// A bin in which nothing is expected says nothing: a variation that fills it would have a kink at
/// the nominal yields, and no derivative there.
Templates Experiment::State::templates_of(const Pipeline& pipeline, const Tensor& all) const {
  const Tensor filled = all.select(1, 0).select(1, 0).detach().abs().sum(0) != 0.0;
  const Tensor sums = at::where(filled, all, at::zeros_like(all));
  if (options.model.mc_factor == 1.0) return pipeline->templates(sums);
  return pipeline->templates(
      at::stack({sums.select(2, 0), sums.select(2, 1) * options.model.mc_factor}, 2));
}

/// A term, from sums at one point.
Tensor Experiment::State::value_of(const SumsTerm& term, const Tensor& sums) const {
  const LossOptions& loss = options.loss[term.place];
  if (linear()) {
    const std::int64_t k = sums.size(1);
    const LinearMoments moments{sums.slice(0, 0, k), sums.slice(0, k)};
    return log_uncertainty(linear_information(moments, prior, options.summary.ridge));
  }
  if (term.figure) {
    const Tensor value = (*term.figure)(templates_of(stages, sums));
    return loss.term == LossKind::variance ? value * value : value;
  }
  if (loss.term == LossKind::efficiency) {
    return efficiency_penalty(sums[term.sample][0][0].sum() / term.total, loss.target, loss.bound,
                              loss.width);
  }
  const auto& samples = stages->samples();
  Tensor total = at::zeros({}, sums.options());
  if (loss.term == LossKind::one_sidedness) {
    const Tensor expected = sums.select(1, 0).select(1, 0).sum(0);
    for (std::size_t k = 0; k < samples.size(); ++k) {
      for (std::size_t v = 0; v < variations.size(); ++v) {
        if (!concerns(variations[v], samples[k])) continue;
        const Tensor sample = sums[static_cast<std::int64_t>(k)];
        const auto column = static_cast<std::int64_t>(1 + 2 * v);
        total = total + one_sidedness_penalty(expected, sample[0][0], sample[column][0],
                                              sample[column + 1][0]);
      }
    }
    return total;
  }
  Tensor sumw = at::zeros_like(sums[0][0][0]), sumw2 = at::zeros_like(sumw);
  for (std::size_t k = 0; k < samples.size(); ++k) {
    if (samples[k] == options.data.signal) continue;
    sumw = sumw + sums[static_cast<std::int64_t>(k)][0][0];
    sumw2 = sumw2 + sums[static_cast<std::int64_t>(k)][0][1];
  }
  return effective_entries_penalty(sumw, sumw2, loss.minimum);
}

/// \param sums at all points
Tensor Experiment::State::loss_of(const Tensor& sums, std::int64_t at_step) const {
  // The statistical model is on the CPU. One way there: with several, gradients would add up in an
  // order that depends on the threads of the devices.
  const Tensor here = sums.to(at::kCPU);
  Tensor total = at::zeros({}, at::kDouble);
  for (const SumsTerm& term : terms) {
    const double weight = weight_of(options.loss[term.place], at_step);
    if (weight == 0.0) continue;
    for (const std::int64_t point : term.points) {
      total =
          total + value_of(term, here[point]) * (weight / static_cast<double>(term.points.size()));
    }
  }
  return total;
}

/// At this step. \param network whether the network is trained
double Experiment::State::learning_rate(bool& network) const {
  network = true;
  double rate = value_at(options.optimizer.learning_rate, step);
  for (const PhaseOptions& phase : options.optimizer.phases) {
    if (step < phase.from) break;
    rate = value_at(phase.learning_rate, step - phase.from);
    network = phase.network;
  }
  return rate;
}

/// Of stages and optimiser. \returns the learning rate
double Experiment::State::set_schedules() {
  if (!linear()) stages->set_step(step);
  bool network = true;
  const double rate = learning_rate(network);
  if (!optimizer) return rate;
  for (std::size_t k = 0; k < rate_factors.size(); ++k) {
    const bool still = group_is_network[k] && !network;
    optimizer->param_groups()[k].options().set_lr(still ? 0.0 : rate * rate_factors[k]);
  }
  return rate;
}

double Experiment::State::backward_sums() {
  const auto loss = [this](const Tensor& sums) { return loss_of(sums, step); };
  if (options.training.gradient == GradientMode::two_pass) {
    return two_pass_backward(
        in_order->batches(),
        [this](std::int64_t b) {
          return sums_of(in_order->batch({0, b}));
        },
        loss);
  }
  const EventBatch batch =
      shuffled->batch({step / shuffled->batches(), step % shuffled->batches()});
  Tensor sums = sums_of(batch);
  if (!linear()) {
    // Squared weights have been scaled twice: once is what all events would give.
    const double share = static_cast<double>(batch.size()) / static_cast<double>(data.train.size());
    sums = at::stack({sums.select(3, 0), sums.select(3, 1) * share}, 3);
  }
  return options.training.gradient == GradientMode::averaged ? averaged.backward(sums, loss)
                                                             : naive_backward(sums, loss);
}

double Experiment::State::backward_cross_entropy() {
  const double weight = weight_of(LossKind::cross_entropy, step);
  const Tensor loss = weight * cross_entropy_of(batch_at(step));
  loss.backward();
  choose_network();
  return loss.item<double>();
}

double Experiment::State::backward() {
  if (!adversary.is_empty()) return backward_adversarial();
  double loss = 0.0;
  if (has_sums_term(step)) loss += backward_sums();
  if (weight_of(LossKind::cross_entropy, step) != 0.0) loss += backward_cross_entropy();
  return loss;
}

/// Names the stage where something stopped being finite.
void Experiment::State::check_finite(double loss) {
  for (const auto& item : trained().named_parameters()) {
    const Tensor& gradient = item.value().grad();
    const bool bad = !all_finite(item.value()) || (gradient.defined() && !all_finite(gradient));
    if (bad) {
      throw Error(ErrorKind::numerical,
                  fmt::format("the gradient of '{}' is not finite", item.key()),
                  fmt::format("step {}", step));
    }
  }
  if (!std::isfinite(loss)) {
    throw Error(ErrorKind::numerical, "the loss is not finite", fmt::format("step {}", step));
  }
}

void Experiment::State::validate(Metrics& metrics) {
  if (data.validation.features.defined() == false) return;
  const at::NoGradGuard no_graph;
  const std::int64_t last = std::max<std::int64_t>(options.training.steps - 1, 0);
  double loss = 0.0;
  if (has_sums_term(last)) {
    std::vector<Tensor> sums;
    for (const ThetaPoint& point : points) {
      sums.push_back(linear() ? sums_at(data.validation, point)
                              : hard_sums(stages, data.validation, false, point));
    }
    loss += loss_of(at::stack(sums), last).item<double>();
  }
  metrics.sigma = linear() ? sigma_at(data.validation, {})
                           : sigma_of(stages, hard_sums(stages, data.validation));
  const double weight = weight_of(LossKind::cross_entropy, last);
  if (weight != 0.0) {
    const LearningBatch batch = validation_batch();
    loss += weight * cross_entropy_of(batch).item<double>();
    if (!adversary.is_empty()) metrics.adversary = adversary_on(batch);
  }
  metrics.validation_loss = loss;
  if (best.step >= 0 && !(loss < best.loss)) {
    ++best.since;
    if (options.training.patience > 0 && best.since >= options.training.patience) stopped = true;
    return;
  }
  best = {step, loss, 0, {}};
  if (options.training.keep_best) best.tensors = named_tensors(trained());
}

Experiment::Experiment(ExperimentOptions options)
    : state_(std::make_unique<State>(std::move(options))) {}
Experiment::~Experiment() = default;
Experiment::Experiment(Experiment&&) noexcept = default;
Experiment& Experiment::operator=(Experiment&&) noexcept = default;

bool Experiment::done() const {
  return state_->stopped || state_->step >= state_->options.training.steps;
}

std::int64_t Experiment::step() const { return state_->step; }

Metrics Experiment::start() {
  Metrics metrics;
  metrics.learning_rate = state_->set_schedules();
  if (state_->options.training.validate_every > 0) state_->validate(metrics);
  return metrics;
}

Metrics Experiment::advance() {
  State& s = *state_;
  Metrics metrics;
  metrics.learning_rate = s.set_schedules();
  clear_gradients(*s.optimizer);
  try {
    metrics.loss = s.backward();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::numerical) throw;
    const std::string stage = error.where().empty() ? "" : " (" + error.where() + ")";
    throw Error(ErrorKind::numerical, error.message() + stage, fmt::format("step {}", s.step));
  }
  s.check_finite(*metrics.loss);
  if (s.options.optimizer.clip > 0.0) {
    torch::nn::utils::clip_grad_norm_(s.trained().parameters(), s.options.optimizer.clip);
  }
  s.optimizer->step();
  ++s.step;
  metrics.step = s.step;
  const std::int64_t every = s.options.training.validate_every;
  const bool last = s.step == s.options.training.steps;
  if (every > 0 && (s.step % every == 0 || last)) s.validate(metrics);
  return metrics;
}

ExperimentResult Experiment::run() {
  if (state_->step == 0) start();
  while (!done()) advance();
  return evaluate();
}

Pipeline& Experiment::pipeline() { return state_->stages; }
const ExperimentData& Experiment::data() const { return state_->data; }
const ExperimentOptions& Experiment::options() const { return state_->options; }

}  // namespace slalom
