// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/joint_pipeline.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "slalom/core/error.hpp"
#include "slalom/modules/batching.hpp"

namespace slalom {

namespace {

constexpr const char* k_where = "joint_pipeline";

const Likelihood& likelihood_of(const std::vector<Pipeline>& channels) {
  if (channels.empty()) throw Error(ErrorKind::model, "no channel", k_where);
  return channels.front()->likelihood();
}

bool same_model(const ModelSpec& a, const ModelSpec& b) {
  const auto same_parameter = [](const Parameter& p, const Parameter& q) {
    return p.name == q.name && p.constraint == q.constraint && p.init == q.init;
  };
  const auto same_channel = [](const ChannelSpec& c, const ChannelSpec& d) {
    return c.name == d.name && c.n_bins == d.n_bins && c.samples.size() == d.samples.size();
  };
  return a.poi == b.poi &&
         std::equal(a.parameters.begin(), a.parameters.end(), b.parameters.begin(),
                    b.parameters.end(), same_parameter) &&
         std::equal(a.channels.begin(), a.channels.end(), b.channels.begin(), b.channels.end(),
                    same_channel);
}

/// Sums of a channel: [samples, 1 + 2 variations, 2, bins].
std::vector<std::int64_t> shape_of(const PipelineImpl& channel) {
  const ModelSpec& spec = channel.likelihood().spec();
  const auto found =
      std::find_if(spec.channels.begin(), spec.channels.end(),
                   [&](const ChannelSpec& c) { return c.name == channel.channel(); });
  return {static_cast<std::int64_t>(channel.samples().size()),
          static_cast<std::int64_t>(1 + 2 * channel.options().variations.size()), 2,
          static_cast<std::int64_t>(found->n_bins)};
}

std::int64_t size_of(const PipelineImpl& channel) {
  std::int64_t size = 1;
  for (const std::int64_t n : shape_of(channel)) size *= n;
  return size;
}

}  // namespace

JointPipelineImpl::JointPipelineImpl(std::vector<Pipeline> channels, JointPipelineOptions options)
    : channels_(std::move(channels)),
      options_(std::move(options)),
      figure_(likelihood_of(channels_), options_.loss) {
  check_workspaces();
  // Not the pipelines: stages that they share would be there more than once.
  std::vector<const torch::nn::Module*> known;
  const auto add = [&](const std::string& name, const std::shared_ptr<torch::nn::Module>& stage) {
    if (std::find(known.begin(), known.end(), stage.get()) != known.end()) return;
    known.push_back(stage.get());
    register_module(name, stage);
  };
  for (const Pipeline& channel : channels_) {
    for (const auto& stage : channel->named_children()) {
      add(channel->channel() + "_" + stage.key(), stage.value());
    }
  }
}

void JointPipelineImpl::check_workspaces() const {
  for (std::size_t i = 0; i < channels_.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (channels_[i]->channel() == channels_[j]->channel()) {
        throw Error(ErrorKind::model, "two pipelines for one channel", channels_[i]->channel());
      }
    }
    if (!same_model(channels_[i]->likelihood().spec(), likelihood().spec())) {
      throw Error(ErrorKind::model, "a pipeline of another workspace", channels_[i]->channel());
    }
  }
}

void JointPipelineImpl::check_regions(const EventBatch& events) const {
  Tensor taken;
  for (const Pipeline& channel : channels_) {
    if (!channel->options().region) return;  // its cuts may do what a region does
  }
  for (const Pipeline& channel : channels_) {
    const Tensor mask = channel->options().region(events);
    if (taken.defined() && (taken & mask).any().item<bool>()) {
      throw Error(ErrorKind::usage, "events in more than one region", channel->channel());
    }
    taken = taken.defined() ? (taken | mask) : mask;
  }
}

Tensor JointPipelineImpl::yields(const EventBatch& events, const Tensor& theta) {
  check_regions(events);
  std::vector<Tensor> parts;
  for (Pipeline& channel : channels_) {
    parts.push_back(channel->yields(events, theta).flatten());
  }
  return at::cat(parts);
}

Tensor JointPipelineImpl::hard_yields(const EventBatch& events, const Tensor& theta) {
  check_regions(events);
  std::vector<Tensor> parts;
  for (Pipeline& channel : channels_) {
    parts.push_back(channel->hard_yields(events, theta).flatten());
  }
  return at::cat(parts);
}

Tensor JointPipelineImpl::part(std::size_t channel, const Tensor& yields) const {
  std::int64_t first = 0;
  for (std::size_t i = 0; i < channel; ++i) first += size_of(*channels_[i]);
  const PipelineImpl& one = *channels_[channel];
  return yields.narrow(0, first, size_of(one)).reshape(shape_of(one));
}

Templates JointPipelineImpl::templates(const Tensor& yields) const {
  const Tensor here = yields.to(at::kCPU);  // as PipelineImpl::templates()
  Templates t = likelihood().templates();
  for (std::size_t i = 0; i < channels_.size(); ++i) {
    t = channels_[i]->templates(part(i, here), t);
  }
  if (uses_observed_data(options_.loss)) t.observed = likelihood().templates().observed;
  return t;
}

Templates JointPipelineImpl::filled_templates(const Tensor& yields) const {
  Templates t = likelihood().templates();
  for (std::size_t i = 0; i < channels_.size(); ++i) {
    t = channels_[i]->filled_templates(part(i, yields), t);
  }
  return t;
}

Tensor JointPipelineImpl::loss(const Tensor& yields) const {
  const Tensor here = yields.to(at::kCPU);
  Tensor value = options_.objective ? options_.objective(likelihood(), templates(here))
                                    : figure_(filled_templates(here));
  for (std::size_t i = 0; i < channels_.size(); ++i) {
    const Tensor penalty = channels_[i]->penalty(part(i, here));
    if (penalty.defined()) value = value + penalty.to(value.device());
  }
  return value;
}

JointPipelineResult JointPipelineImpl::forward(const EventBatch& events, const Tensor& theta) {
  check_regions(events);
  std::vector<Tensor> soft, hard;
  for (Pipeline& channel : channels_) {
    const SoftHardYields found = channel->soft_and_hard_yields(events, theta);
    soft.push_back(found.soft.flatten());
    hard.push_back(found.hard.flatten());
  }
  JointPipelineResult result;
  result.yields = at::cat(soft);
  result.hard_yields = at::cat(hard);
  result.templates = templates(result.yields);
  result.hard_templates = templates(result.hard_yields);
  result.loss = loss(result.yields);
  return result;
}

double JointPipelineImpl::backward(const std::vector<EventBatch>& batches, const Tensor& theta) {
  return two_pass_backward(
      static_cast<std::int64_t>(batches.size()),
      [&](std::int64_t b) { return yields(batches[static_cast<std::size_t>(b)], theta); },
      [&](const Tensor& y) { return loss(y); });
}

void JointPipelineImpl::set_step(std::int64_t step) {
  for (Pipeline& channel : channels_) channel->set_step(step);
}

Workspace JointPipelineImpl::publish(const EventBatch& events, const Tensor& theta) {
  return export_workspace(channels_.front()->workspace(), likelihood(),
                          templates(hard_yields(events, theta)));
}

}  // namespace slalom
