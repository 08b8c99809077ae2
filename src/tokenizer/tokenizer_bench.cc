#include <benchmark/benchmark.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tokenizer/test_folder.h"
#include "tokenizer/tokenizer.h"

namespace concertina::tokenizer {
namespace {

const std::filesystem::path kDemo = "models/demo";  // run from the repository's root

// The demo model's file with its vocabulary made as large as published ones (150,000 entries, about 9 MB).
std::string large_file() {
  auto file = nlohmann::ordered_json::parse(std::ifstream(kDemo / "tokenizer.json"));
  auto& vocab = file["model"]["vocab"];
  auto& merges = file["model"]["merges"];
  std::vector<std::string> texts;
  for (const auto& [text, id] : vocab.items()) texts.push_back(text);
  nlohmann::json known = vocab;
  TokenId next = 4096;
  for (std::size_t i = 300; next < 150'000; ++i) {
    for (std::size_t j = 300; j < 600 && next < 150'000; ++j) {
      const std::string text = texts[i] + texts[j];
      if (known.contains(text)) continue;
      known[text] = next;
      vocab.push_back({text, next++});
      merges.push_back({texts[i], texts[j]});
    }
  }
  return file.dump(1);
}

void load_a_large_file(benchmark::State& state) {
  const TestFolder folder(large_file());
  for (auto _ : state) benchmark::DoNotOptimize(Tokenizer::load(folder.path()).value());
  state.counters["file_mb"] =
      static_cast<double>(std::filesystem::file_size(folder.path() / "tokenizer.json")) / 1e6;
}
BENCHMARK(load_a_large_file)->Unit(benchmark::kMillisecond);

std::string prose(std::size_t n_bytes) {
  std::ifstream stream(kDemo / "README.md");
  const std::string text(std::istreambuf_iterator<char>(stream), {});
  std::string out;
  while (out.size() < n_bytes) out += text;
  return out;
}

void encode_prose(benchmark::State& state) {
  const Tokenizer tokenizer = Tokenizer::load(kDemo).value();
  const std::string text = prose(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.encode(text, AddSpecialTokens::kNo));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}
BENCHMARK(encode_prose)->Arg(1 << 12)->Arg(1 << 20);

void encode_one_long_word(benchmark::State& state) {
  const Tokenizer tokenizer = Tokenizer::load(kDemo).value();
  const std::string text(static_cast<std::size_t>(state.range(0)), 'a');
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.encode(text, AddSpecialTokens::kNo));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}
BENCHMARK(encode_one_long_word)->Arg(1 << 12)->Arg(1 << 20);

}  // namespace
}  // namespace concertina::tokenizer
