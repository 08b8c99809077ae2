#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "grammar/compiled_grammar.h"

namespace concertina::worker {

// From the compiler: what became of a source.
struct GrammarCompiled {
  request::SharedStructure structure;
  std::shared_ptr<const grammar::CompiledGrammar> grammar;  // null: `error` says why
  std::size_t n_bytes = 0;                                  // that it takes
  std::string error;
};

// Compiles grammars on a thread of its own, in the background: a large one takes a fraction of a second.
// Every source is answered, in the order in which they came, unless it is cancelled before its turn. What one
// costs is bounded (grammar/limits.h), and how many wait by the requests that a rank has. At its start the
// thread makes the vocabulary's tree.
class GrammarCompiler {
 public:
  using Answer = std::function<void(GrammarCompiled)>;
  // packed_vocabulary: grammar/packed_vocabulary.h; empty: none, and no source has a grammar. vocab_size: of
  // the logits. `answer` is called on the compiler's thread.
  GrammarCompiler(std::string packed_vocabulary, std::size_t vocab_size, Answer answer);
  ~GrammarCompiler();  // waits for the source that is compiled; the others get no answer
  GrammarCompiler(const GrammarCompiler&) = delete;
  GrammarCompiler& operator=(const GrammarCompiler&) = delete;

  // Any thread.
  void compile(request::SharedStructure structure);
  void cancel(const request::SharedStructure& structure);  // equal sources that wait get no answer
  void discard(std::shared_ptr<const grammar::CompiledGrammar> grammar);  // it may be large: is freed there

 private:
  struct Job {
    request::SharedStructure structure;
    std::shared_ptr<const grammar::CompiledGrammar> garbage;
  };
  void push(Job job);
  void run();
  Result<std::shared_ptr<const grammar::Vocabulary>> make_vocabulary();
  GrammarCompiled compiled(const request::SharedStructure& structure);

  std::string packed_vocabulary_;
  const std::size_t vocab_size_;
  const Answer answer_;
  Result<std::shared_ptr<const grammar::Vocabulary>> vocabulary_;  // the thread's
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;  // guarded by mutex_, as is_stopping_
  bool is_stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace concertina::worker
