// What rounding costs: every form's predictions beside float32's, on held-out text and on text that the model
// wrote itself. `./dev bench quality`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <fstream>

#include "base/check.h"
#include "base/random.h"
#include "bench/engine.h"
#include "bench/forms.h"
#include "bench/summary.h"
#include "kernels/sampling.h"
#include "tokenizer/tokenizer.h"

namespace concertina::bench {
namespace {

struct Options {
  std::string model, text;
  std::size_t n_samples = 32, n_sampled = 256;
  std::string json_path = "build/bench_quality.json";
};
using Sequences = std::vector<std::vector<TokenId>>;

// How far the next-token distributions q of a form are from p, float32's, over all positions.
struct Distance {
  std::size_t n = 0, n_same_first = 0;
  double kl = 0, worst_kl = 0, own_nll = 0, reference_nll = 0;  // nats

  void add(std::span<const float> p_logits, std::span<const float> q_logits, TokenId next) {
    const std::vector<double> p = log_softmax(p_logits), q = log_softmax(q_logits);
    double one = 0;
    for (std::size_t i = 0; i < p.size(); ++i) one += std::exp(p[i]) * (p[i] - q[i]);
    kl += one, worst_kl = std::max(worst_kl, one);
    reference_nll -= p[static_cast<std::size_t>(next)];
    own_nll -= q[static_cast<std::size_t>(next)];
    n_same_first +=
        std::max_element(p.begin(), p.end()) - p.begin() == std::max_element(q.begin(), q.end()) - q.begin();
    ++n;
  }

 private:
  static std::vector<double> log_softmax(std::span<const float> logits) {
    const float most = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - most);
    std::vector<double> out;
    for (const float logit : logits) out.push_back(static_cast<double>(logit) - most - std::log(sum));
    return out;
  }
};

std::unique_ptr<Engine> make_engine(const Options& options, kernels::RowForm rows, std::size_t n_sequences) {
  auto engine = Engine::create({.model_path = options.model, .n_sequences = n_sequences, .form = rows});
  CHECK(engine.has_value(), "{}", engine.error().message());
  return std::move(*engine);
}

// Paragraphs are sequences of their own.
Sequences read_text(const Options& options) {
  const auto tokenizer = tokenizer::Tokenizer::load(options.model);
  CHECK(tokenizer.has_value(), "{}", tokenizer.error().message());
  std::ifstream file(options.text);
  CHECK(file.good(), "{}: cannot be read", options.text);
  Sequences sequences;
  for (std::string line; std::getline(file, line);) {
    if (line.empty()) continue;
    sequences.push_back(tokenizer->encode(line, tokenizer::AddSpecialTokens::kNo));
  }
  return sequences;
}

// What float32 writes at temperature 1 after the beginnings of the given text.
Sequences write_text(const Options& options, const Sequences& beginnings) {
  constexpr std::size_t kBeginning = 8;
  const auto engine = make_engine(options, kernels::RowForm::kFloat32, options.n_samples);
  Sequences sequences(options.n_samples);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const auto& from = beginnings[i % beginnings.size()];
    sequences[i].assign(from.begin(), from.begin() + kBeginning);
  }
  Random random(1);
  device::Stream on(1);
  const std::size_t vocab_size = engine->parts_of_only_rank().model->config().vocab_size;
  kernels::SamplingScratch scratch(vocab_size, on.n_threads());
  kernels::Sampled sampled(sequences.size());
  for (std::size_t position = 0; position + 1 < options.n_sampled; ++position) {
    std::vector<TokenId> tokens;
    for (const auto& sequence : sequences) tokens.push_back(sequence[position]);
    const std::span<const float> logits = engine->next_logits(position, tokens);
    if (position + 1 < kBeginning) continue;
    std::vector<kernels::SamplingRow> rows(sequences.size());
    for (kernels::SamplingRow& row : rows) row.uniform = random.uniform();
    kernels::sample(logits, vocab_size, rows, scratch, sampled, on);
    for (std::size_t i = 0; i < sequences.size(); ++i) sequences[i].push_back(sampled.tokens[i]);
  }
  return sequences;
}

Distance measure(const Options& options, kernels::RowForm rows, const Sequences& sequences) {
  const auto reference = make_engine(options, kernels::RowForm::kFloat32, 1),
             engine = make_engine(options, rows, 1);
  Distance distance;
  for (const auto& sequence : sequences) {
    for (std::size_t position = 0; position + 1 < sequence.size(); ++position) {
      const std::span<const TokenId> token(&sequence[position], 1);
      distance.add(reference->next_logits(position, token), engine->next_logits(position, token),
                   sequence[position + 1]);
    }
  }
  return distance;
}

int run(const Options& options) {
  const Sequences text = read_text(options);
  nlohmann::ordered_json json{{"model", options.model}};
  fmt::print("{:<12} {:<10} {:>9} {:>12} {:>12} {:>10} {:>10} {:>16}\n", "text", "form", "tokens",
             "nats/token", "of float32", "mean KL", "worst KL", "same first token");
  const std::pair<const char*, Sequences> texts[] = {{"held out", text},
                                                     {"its own", write_text(options, text)}};
  for (const auto& [name, sequences] : texts) {
    for (const kernels::RowForm rows : {kernels::RowForm::kBfloat16, kernels::RowForm::kInt8}) {
      const Distance d = measure(options, rows, sequences);
      const auto n = static_cast<double>(d.n);
      fmt::print("{:<12} {:<10} {:>9} {:>12.4f} {:>12.4f} {:>10.6f} {:>10.4f} {:>15.2f}%\n", name,
                 name_of(rows), d.n, d.own_nll / n, d.reference_nll / n, d.kl / n, d.worst_kl,
                 100 * static_cast<double>(d.n_same_first) / n);
      std::fflush(stdout);
      json[name][name_of(rows)] = {{"tokens", d.n},
                                   {"nats_per_token", d.own_nll / n},
                                   {"nats_per_token_float32", d.reference_nll / n},
                                   {"mean_kl", d.kl / n},
                                   {"worst_kl", d.worst_kl},
                                   {"same_first_token", static_cast<double>(d.n_same_first) / n}};
    }
  }
  write_json(options.json_path, json);
  return 0;
}

}  // namespace
}  // namespace concertina::bench

int main(int argc, char** argv) {
  concertina::bench::Options options;
  CLI::App app("What rounding costs: every form's predictions beside float32's");
  app.add_option("--model", options.model, "checkpoint folder")->required();
  app.add_option("--text", options.text, "paragraphs, each a line")->required();
  app.add_option("--samples", options.n_samples, "texts that the model writes")->capture_default_str();
  app.add_option("--json", options.json_path, "where the numbers go")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return concertina::bench::run(options);
}
