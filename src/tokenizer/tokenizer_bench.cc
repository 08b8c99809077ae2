#include <benchmark/benchmark.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "base/utf8.h"
#include "tokenizer/test_folder.h"
#include "tokenizer/tokenizer.h"

// Run from the repository's root. One line a model and kind of text. TOKENIZER_BENCH_FOLDERS: folders of
// published tokenizers, parted by colons, beside the demo model's.
namespace concertina::tokenizer {
namespace {

const std::filesystem::path kDemo = "models/demo";

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

constexpr std::size_t kTextBytes = 1'000'000;

std::string repeated(std::string_view unit) {
  std::string out;
  while (out.size() < kTextBytes) out += unit;
  return out;
}

std::string random_characters(char32_t first, char32_t last) {
  std::mt19937 random(1);
  std::string out;
  while (out.size() < kTextBytes) append_utf8(first + random() % (last - first + 1), out);
  return out;
}

std::string prose() {
  std::ifstream stream(kDemo / "README.md");
  return repeated(std::string(std::istreambuf_iterator<char>(stream), {}));
}

struct Text {
  const char* name;
  std::string text;
};

// Most have no place to cut: one word of a million bytes.
std::vector<Text> texts() {
  return {{"prose", prose()},
          {"spaces", repeated(" ")},
          {"new lines", repeated("\n")},
          {"spaces and new lines", repeated(" \n")},
          {"tabs", repeated("\t")},
          {"one letter", repeated("a")},
          {"one sign", repeated("<")},
          {"one word again and again", repeated("the")},
          {"begun special tokens", repeated("<|im")},
          {"digits", repeated("1")},
          {"random letters", random_characters('a', 'z')},
          {"random ASCII", random_characters(0x21, 0x7E)},
          {"random Cyrillic", random_characters(0x430, 0x44F)},
          {"random CJK", random_characters(0x4E00, 0x9FFF)},
          {"random emoji", random_characters(0x1F300, 0x1F5FF)},
          {"combining marks", repeated("\u0301")}};
}

void encode(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text) {
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.encode(text, AddSpecialTokens::kNo));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}

void add_benchmarks(const std::filesystem::path& folder) {
  const auto tokenizer = Tokenizer::load(folder);
  if (!tokenizer) {
    std::cerr << tokenizer.error().message() << "\n";
    return;
  }
  for (Text& text : texts()) {
    benchmark::RegisterBenchmark((folder.filename().string() + ": " + text.name).c_str(),
                                 [tokenizer = *tokenizer, text = std::move(text.text)](
                                     benchmark::State& state) { encode(state, tokenizer, text); })
        ->Unit(benchmark::kMillisecond);
  }
}

const bool added = [] {
  add_benchmarks(kDemo);
  const char* more = std::getenv("TOKENIZER_BENCH_FOLDERS");
  std::istringstream folders(more == nullptr ? "" : more);
  for (std::string folder; std::getline(folders, folder, ':');) add_benchmarks(folder);
  return true;
}();

}  // namespace
}  // namespace concertina::tokenizer
