#pragma once

#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/time.h"
#include "grammar/answer.h"
#include "grammar/source_cache.h"
#include "worker/grammar_compiler.h"

namespace concertina::worker {

// Structures of the requests that a rank has: their grammars, where each answer stands, and the masks of a
// step. What is kept of an answer is a cache of (grammar, generated tokens): nothing of it outlives the
// request here, and nothing is told to anybody. The step thread's.
class Structures {
 public:
  // A grammar that is not there by then does not come: the limits allow a few seconds.
  static constexpr Duration kMaxWait = std::chrono::seconds(60);

  // What it has done elsewhere.
  struct Compiler {
    std::function<void(request::SharedStructure)> compile;  // on(GrammarCompiled) must follow, or cancel()
    // Nobody waits for it any more: it need not be compiled.
    std::function<void(const request::SharedStructure&)> cancel;
    std::function<void(std::shared_ptr<const grammar::CompiledGrammar>)> discard;
  };
  Structures(std::size_t vocab_size, Compiler compiler);  // of the logits

  enum class Is : std::uint8_t { kReady, kAwaited, kFailed };
  Is begin(RequestId request, request::SharedStructure structure, Time now);
  void end(RequestId request);                       // others are ignored
  std::optional<Is> state(RequestId request) const;  // none: it has no structure, or is not here
  const std::string& failure(RequestId request) const { return entries_.at(request).failure; }

  void on(const GrammarCompiled& compiled);
  void on_time(Time now);  // those that have waited for too long have failed
  std::optional<Time> deadline() const;
  // Whose state has changed since the last call.
  std::vector<RequestId> take_decided() { return std::exchange(decided_, {}); }

  // What may come next; empty: anything. Of a request that is ready; until it has more tokens, or ends.
  std::span<const std::uint64_t> mask(const request::Request& request);
  // The one token that may come next, an end counting, where the structure leaves one alone and nothing else
  // that the request asks for depends on its logits. Of one that is not ready: none.
  std::optional<TokenId> forced(const request::Request& request);

 private:
  struct Entry {
    request::SharedStructure structure;
    Time asked_at;
    Is is = Is::kAwaited;
    std::optional<grammar::Answer> answer;
    std::shared_ptr<const grammar::CompiledGrammar> grammar;
    std::string failure;
    std::vector<std::uint64_t> mask;  // [n_words], taken when the request comes
    std::size_t n_masked = 0;         // tokens that it is the mask behind; 0: of none
    enum class Leaves : std::uint8_t { kAnything, kMask } leaves = Leaves::kAnything;
  };
  void look(const request::Request& request, Entry& entry) const;
  void decide(RequestId request, Entry& entry, const GrammarCompiled& compiled);
  bool is_awaited(const request::Structure& structure) const;
  void cancel_unless_awaited(const request::SharedStructure& structure);
  void let_go(std::shared_ptr<const grammar::CompiledGrammar> grammar);

  const Compiler compiler_;
  const std::size_t n_words_;
  grammar::SourceCache<std::shared_ptr<const grammar::CompiledGrammar>> cache_;
  std::unordered_map<RequestId, Entry> entries_;
  std::vector<RequestId> decided_;
  std::size_t n_awaited_ = 0;
};

}  // namespace concertina::worker
