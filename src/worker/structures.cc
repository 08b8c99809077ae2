#include "worker/structures.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace concertina::worker {

namespace {
constexpr std::size_t kMaxGrammars = 64, kMaxGrammarBytes = std::size_t{128} << 20;
}  // namespace

Structures::Structures(std::size_t vocab_size, Compiler compiler)
    : compiler_(std::move(compiler)),
      n_words_((vocab_size + 63) / 64),
      cache_({kMaxGrammars, kMaxGrammarBytes}) {}

Structures::Is Structures::begin(RequestId request, request::SharedStructure structure, Time now) {
  end(request);
  const bool is_asked_for = is_awaited(*structure);
  Entry& entry = entries_[request];
  entry.structure = std::move(structure);
  entry.mask.resize(n_words_);
  entry.asked_at = now;
  if (const auto* found = cache_.find(*entry.structure)) {
    entry.grammar = *found;
    entry.is = Is::kReady;
    return entry.is;
  }
  if (!is_asked_for) compiler_.compile(entry.structure);
  ++n_awaited_;
  return entry.is;
}

bool Structures::is_awaited(const request::Structure& structure) const {
  if (n_awaited_ == 0) return false;
  return std::any_of(entries_.begin(), entries_.end(), [&](const auto& one) {
    return one.second.is == Is::kAwaited && grammar::is_same_source(*one.second.structure, structure);
  });
}

// Else clients that ask and leave, over and over, would have all others wait for what nobody wants.
void Structures::cancel_unless_awaited(const request::SharedStructure& structure) {
  if (!is_awaited(*structure)) compiler_.cancel(structure);
}

void Structures::end(RequestId request) {
  auto found = entries_.extract(request);
  if (found.empty()) return;
  Entry& entry = found.mapped();
  if (entry.is == Is::kAwaited) {
    --n_awaited_;
    cancel_unless_awaited(entry.structure);
  }
  if (entry.answer) entry.answer.reset();
  if (entry.grammar) let_go(std::move(entry.grammar));
  std::erase(decided_, request);
}

// What the cache keeps on costs nothing here.
void Structures::let_go(std::shared_ptr<const grammar::CompiledGrammar> grammar) {
  if (grammar.use_count() == 1) compiler_.discard(std::move(grammar));
}

std::optional<Structures::Is> Structures::state(RequestId request) const {
  const auto found = entries_.find(request);
  return found == entries_.end() ? std::nullopt : std::optional(found->second.is);
}

void Structures::decide(RequestId request, Entry& entry, const GrammarCompiled& compiled) {
  entry.is = compiled.grammar ? Is::kReady : Is::kFailed;
  entry.grammar = compiled.grammar;
  entry.failure = compiled.error;
  --n_awaited_;
  decided_.push_back(request);
}

void Structures::on(const GrammarCompiled& compiled) {
  for (auto& [request, entry] : entries_)
    if (entry.is == Is::kAwaited && grammar::is_same_source(*entry.structure, *compiled.structure))
      decide(request, entry, compiled);
  if (!compiled.grammar || cache_.find(*compiled.structure) != nullptr) return;
  for (auto& gone : cache_.keep(compiled.structure, compiled.grammar, compiled.n_bytes))
    let_go(std::move(gone));
}

void Structures::on_time(Time now) {
  if (n_awaited_ == 0) return;
  for (auto& [request, entry] : entries_) {
    if (entry.is != Is::kAwaited || now < entry.asked_at + kMaxWait) continue;
    decide(request, entry,
           {.structure = entry.structure,
            .grammar = nullptr,
            .error = fmt::format("its grammar was not compiled within {} s", to_ms(kMaxWait) / 1000)});
    cancel_unless_awaited(entry.structure);
  }
}

std::optional<Time> Structures::deadline() const {
  if (n_awaited_ == 0) return std::nullopt;
  std::optional<Time> first;
  for (const auto& [request, entry] : entries_)
    if (entry.is == Is::kAwaited && (!first || entry.asked_at + kMaxWait < *first))
      first = entry.asked_at + kMaxWait;
  return first;
}

void Structures::look(const request::Request& request, Entry& entry) const {
  if (entry.n_masked == request.tokens.size()) return;
  if (!entry.answer) entry.answer.emplace(entry.grammar, request);
  entry.leaves =
      entry.answer->fill_mask(request, entry.mask) ? Entry::Leaves::kMask : Entry::Leaves::kAnything;
  entry.n_masked = request.tokens.size();
}

std::span<const std::uint64_t> Structures::mask(const request::Request& request) {
  Entry& entry = entries_.at(request.id);
  CHECK(entry.is == Is::kReady, "request {} is computed, and its grammar is not there", request.id);
  look(request, entry);
  if (entry.leaves == Entry::Leaves::kAnything) return {};
  return entry.mask;
}

std::optional<TokenId> Structures::forced(const request::Request& request) {
  const std::size_t n_generated = request.tokens.size() - request.n_prompt_tokens;
  if (request.rules || request.logprobs.n_top || n_generated < request.stop.min_tokens) return std::nullopt;
  if (state(request.id) != Is::kReady) return std::nullopt;
  std::optional<TokenId> only;
  const auto words = mask(request);
  for (std::size_t word = 0; word < words.size(); ++word) {
    if (words[word] == 0) continue;
    if (only || !std::has_single_bit(words[word])) return std::nullopt;
    only = static_cast<TokenId>(word * 64 + static_cast<std::size_t>(std::countr_zero(words[word])));
  }
  return only;
}

}  // namespace concertina::worker
