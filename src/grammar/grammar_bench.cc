// Masks and compiling over the schemas of testdata/schemas. Run from the repository's root.
// GRAMMAR_BENCH_TOKENIZER: a folder with a tokenizer.json; without it the demo model's vocabulary, made as
// large as published ones with pairs of its tokens.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "grammar/matcher.h"
#include "tokenizer/tokenizer.h"

namespace concertina::grammar {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t kVocabulary = 151'936;

std::vector<std::string> token_texts() {
  const char* folder = std::getenv("GRAMMAR_BENCH_TOKENIZER");
  const auto tokenizer = tokenizer::Tokenizer::load(folder == nullptr ? "models/demo" : folder);
  if (!tokenizer) {
    std::cerr << tokenizer.error().message() << "\n";
    std::exit(1);
  }
  std::vector<std::string> texts;
  for (TokenId id = 0; id < static_cast<TokenId>(tokenizer->vocab_size()); ++id)
    texts.emplace_back(tokenizer->is_special(id) ? std::string_view() : tokenizer->token_bytes(id));
  const std::size_t n = texts.size();
  for (std::size_t i = 300; i < n && texts.size() < 150'000; ++i)
    for (std::size_t j = 300; j < 600 && texts.size() < 150'000; ++j) texts.push_back(texts[i] + texts[j]);
  return texts;
}

const std::shared_ptr<const Vocabulary>& vocabulary() {
  static const auto made = std::make_shared<const Vocabulary>(token_texts(), kVocabulary);
  return made;
}

// The longest token that fits, again and again: near enough to what a tokenizer gives.
std::vector<TokenId> tokens_of(const std::string& text) {
  static const auto ids = [] {
    std::unordered_map<std::string_view, TokenId> all;
    for (TokenId id = 0; id < static_cast<TokenId>(kVocabulary); ++id)
      if (!vocabulary()->bytes_of(id).empty()) all.emplace(vocabulary()->bytes_of(id), id);
    return all;
  }();
  std::vector<TokenId> tokens;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t length = std::min<std::size_t>(text.size() - at, 24);
    while (length > 1 && !ids.contains(std::string_view(text).substr(at, length))) --length;
    tokens.push_back(ids.at(std::string_view(text).substr(at, length)));
    at += length;
  }
  return tokens;
}

double microseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

std::vector<double> all_masks_us;  // of all schemas

void add_percentiles(benchmark::State& state, std::vector<double> all) {
  std::sort(all.begin(), all.end());
  state.counters["p50_us"] = all[all.size() / 2];
  state.counters["p99_us"] = all[all.size() * 99 / 100];
  state.counters["worst_us"] = all.back();
}

// Every mask of the document, written in three ways, by a matcher of its own each time.
void masks(benchmark::State& state, const Json& file) {
  const auto grammar = *CompiledGrammar::compile(Language::kJsonSchema, file["schema"].dump(), vocabulary());
  std::vector<std::vector<TokenId>> texts;
  for (const auto& text : {file["document"].dump(), file["document"].dump(2)})
    texts.push_back(tokens_of(text));
  std::vector<std::uint64_t> mask(vocabulary()->n_mask_words());
  std::vector<double> all;
  double accept_us = 0;
  for (auto _ : state) {
    for (const auto& tokens : texts) {
      Matcher matcher(grammar);
      for (const TokenId token : tokens) {
        auto begin = std::chrono::steady_clock::now();
        matcher.fill_mask(mask);
        all.push_back(microseconds_since(begin));
        begin = std::chrono::steady_clock::now();
        if (matcher.accept(token) != Matcher::Accepted::kYes || !((mask[token / 64] >> (token % 64)) & 1))
          state.SkipWithError("the document is refused");
        accept_us += microseconds_since(begin);
      }
    }
  }
  all_masks_us.insert(all_masks_us.end(), all.begin(), all.end());
  add_percentiles(state, all);
  state.counters["accept_us"] = accept_us / static_cast<double>(all.size());
}

void compile(benchmark::State& state, const Json& file) {
  const std::string source = file["schema"].dump();
  vocabulary();
  for (auto _ : state)
    benchmark::DoNotOptimize(CompiledGrammar::compile(Language::kJsonSchema, source, vocabulary()));
  const auto grammar = *CompiledGrammar::compile(Language::kJsonSchema, source, vocabulary());
  const auto counts = grammar->tables().counts();
  state.counters["source_bytes"] = static_cast<double>(source.size());
  std::size_t n_states = 0;  // that bytes lead on from
  for (StateIndex i = 0; i < grammar->automaton().n_states(); ++i)
    n_states += !grammar->automaton().edges(i).empty();
  state.counters["states"] = static_cast<double>(n_states);
  state.counters["without"] = static_cast<double>(n_states - counts.n_tables);
  state.counters["work_k"] = static_cast<double>(counts.work) / 1000;
  state.counters["kb"] = static_cast<double>(counts.bytes) / 1024;
  state.counters["bitmaps"] = static_cast<double>(counts.n_bits);
}

void all_masks(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(all_masks_us.data());
  if (!all_masks_us.empty()) add_percentiles(state, all_masks_us);
}

const bool added = [] {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator("src/grammar/testdata/schemas"))
    paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  for (const auto& path : paths) {
    const Json file = Json::parse(std::ifstream(path));
    benchmark::RegisterBenchmark(("masks: " + path.stem().string()).c_str(),
                                 [file](benchmark::State& state) { masks(state, file); })
        ->Iterations(50)
        ->Unit(benchmark::kMillisecond);
  }
  benchmark::RegisterBenchmark("masks: all schemas", all_masks)->Iterations(1);
  for (const auto& path : paths) {
    const Json file = Json::parse(std::ifstream(path));
    benchmark::RegisterBenchmark(("compile: " + path.stem().string()).c_str(),
                                 [file](benchmark::State& state) { compile(state, file); })
        ->Iterations(3)
        ->Unit(benchmark::kMillisecond);
  }
  return true;
}();

}  // namespace
}  // namespace concertina::grammar
