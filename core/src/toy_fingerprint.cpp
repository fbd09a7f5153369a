// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <nettle/sha2.h>

#include "slalom/core/toy_store.hpp"

namespace slalom {

namespace {

/// SHA-256 of numbers and texts, each in a form that does not depend on the machine.
class Hash {
 public:
  Hash() { sha256_init(&state_); }
  void integer(std::uint64_t bits) {
    std::uint8_t bytes[8];
    for (std::uint8_t& byte : bytes) {
      byte = static_cast<std::uint8_t>(bits & 0xffU);
      bits >>= 8U;
    }
    sha256_update(&state_, sizeof bytes, bytes);
  }
  template <typename Enumeration>
  void name(Enumeration value) {
    integer(static_cast<std::uint64_t>(value));
  }
  void number(double value) { integer(std::bit_cast<std::uint64_t>(value)); }
  void numbers(const std::vector<double>& values) {
    integer(values.size());
    for (const double value : values) number(value);
  }
  void indices(const std::vector<std::size_t>& values) {
    integer(values.size());
    for (const std::size_t value : values) integer(value);
  }
  void text(const std::string& value) {
    integer(value.size());
    for (const char c : value) integer(static_cast<unsigned char>(c));
  }
  std::string hexadecimal() {
    std::uint8_t bytes[8];
    sha256_digest(&state_, sizeof bytes, bytes);
    std::string text;
    for (const std::uint8_t byte : bytes) {
      text += "0123456789abcdef"[byte >> 4U];
      text += "0123456789abcdef"[byte & 0xfU];
    }
    return text;
  }

 private:
  sha256_ctx state_{};
};

void add(Hash& hash, const Parameter& p) {
  hash.text(p.name);
  for (const double x : {p.init, p.lower, p.upper, p.auxdata, p.sigma, p.tau}) hash.number(x);
  hash.name(p.fixed);
  hash.name(p.constraint);
}

void add(Hash& hash, const SampleSpec& sample) {
  hash.text(sample.name);
  hash.numbers(sample.nominal);
  hash.integer(sample.histosys.size());
  for (const HistosysTerm& term : sample.histosys) {
    hash.integer(term.parameter);
    hash.numbers(term.hi);
    hash.numbers(term.lo);
  }
  hash.integer(sample.normsys.size());
  for (const NormsysTerm& term : sample.normsys) {
    hash.integer(term.parameter);
    hash.number(term.hi);
    hash.number(term.lo);
  }
  hash.integer(sample.factors.size());
  for (const FactorTerm& term : sample.factors) hash.integer(term.parameter);
  hash.integer(sample.binwise.size());
  for (const BinwiseTerm& term : sample.binwise) {
    hash.name(term.type);
    hash.indices(term.parameters);
    hash.numbers(term.uncertainty);
  }
}

void add(Hash& hash, const FitOptions& fit) {
  hash.numbers(fit.init);
  hash.integer(fit.fixed.size());
  for (const auto& [parameter, value] : fit.fixed) {
    hash.integer(parameter);
    hash.number(value);
  }
  hash.indices(fit.floating);
  hash.number(fit.tolerance);
  hash.name(fit.max_iterations);
  hash.name(fit.search_minima);
  hash.name(fit.warm_start);
}

}  // namespace

std::string fingerprint(const ModelSpec& spec, const FitOptions& fit) {
  Hash hash;
  hash.integer(spec.parameters.size());
  for (const Parameter& p : spec.parameters) add(hash, p);
  hash.integer(spec.channels.size());
  for (const ChannelSpec& channel : spec.channels) {
    hash.text(channel.name);
    hash.integer(channel.n_bins);
    hash.integer(channel.samples.size());
    for (const SampleSpec& sample : channel.samples) add(hash, sample);
  }
  hash.name(spec.normsys_code);
  hash.name(spec.histosys_code);
  add(hash, fit);
  return hash.hexadecimal();
}

}  // namespace slalom
