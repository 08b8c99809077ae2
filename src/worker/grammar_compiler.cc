#include "worker/grammar_compiler.h"

#include <sys/prctl.h>

#include "base/background.h"
#include "grammar/error.h"
#include "grammar/packed_vocabulary.h"
#include "grammar/source_cache.h"

namespace concertina::worker {

GrammarCompiler::GrammarCompiler(std::string packed_vocabulary, std::size_t vocab_size, Answer answer)
    : packed_vocabulary_(std::move(packed_vocabulary)),
      vocab_size_(vocab_size),
      answer_(std::move(answer)),
      vocabulary_(fail(grammar::GrammarError::kUnsupported, "this rank was told no vocabulary")),
      thread_([this] { run(); }) {}

GrammarCompiler::~GrammarCompiler() {
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void GrammarCompiler::compile(request::SharedStructure structure) { push({std::move(structure), nullptr}); }
void GrammarCompiler::cancel(const request::SharedStructure& structure) {
  const std::lock_guard lock(mutex_);
  std::erase_if(jobs_, [&](const Job& job) {
    return job.structure && grammar::is_same_source(*job.structure, *structure);
  });
}
void GrammarCompiler::discard(std::shared_ptr<const grammar::CompiledGrammar> grammar) {
  push({{}, std::move(grammar)});
}

void GrammarCompiler::push(Job job) {
  {
    std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  changed_.notify_all();
}

void GrammarCompiler::run() {
  work_in_the_background();
  ::prctl(PR_SET_NAME, "grammars");
  if (!packed_vocabulary_.empty()) vocabulary_ = make_vocabulary();
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return is_stopping_ || !jobs_.empty(); });
    if (is_stopping_) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    if (job.structure) answer_(compiled(job.structure));
    job = {};
    lock.lock();
  }
}

Result<std::shared_ptr<const grammar::Vocabulary>> GrammarCompiler::make_vocabulary() {
  ASSIGN_OR_RETURN(std::vector<std::string> texts, grammar::unpack_vocabulary(packed_vocabulary_));
  std::exchange(packed_vocabulary_, {});
  if (texts.size() > vocab_size_)
    return fail(grammar::GrammarError::kInvalid,
                fmt::format("a vocabulary of {} tokens, and {} logits", texts.size(), vocab_size_));
  return std::make_shared<const grammar::Vocabulary>(std::move(texts), vocab_size_);
}

GrammarCompiled GrammarCompiler::compiled(const request::SharedStructure& structure) {
  GrammarCompiled answer{.structure = structure};
  if (!vocabulary_) return answer.error = vocabulary_.error().message(), answer;
  auto made = grammar::CompiledGrammar::compile(structure->language, structure->source, *vocabulary_);
  if (!made) return answer.error = made.error().message(), answer;
  answer.grammar = *std::move(made);
  answer.n_bytes = answer.grammar->bytes();
  return answer;
}

}  // namespace concertina::worker
