// Streams as a rank has them, on the GPU: the same tokens and the same bits of their log-probabilities alone
// and with 63 others, however their prompts are cut.
#include <cstdio>

#include "model/cuda/test_engine.h"

namespace concertina::model::cuda {
namespace {

constexpr std::size_t kStreams = 64, kGenerated = 12;

// Around what blocks of KV, tiles of products and spans of attention end at.
constexpr std::size_t kLengths[] = {1,   2,   3,   4,   7,   8,   9,   15,  16,  17,  23,  24,  25,
                                    31,  32,  33,  47,  48,  49,  63,  64,  65,  79,  80,  81,  95,
                                    96,  97,  111, 112, 113, 116, 117, 126, 127, 128, 129, 130, 143,
                                    144, 145, 159, 160, 161, 191, 192, 193, 243, 244, 245, 254, 255,
                                    256, 257, 258, 319, 320, 321, 371, 383, 384, 385, 386, 512};
static_assert(std::size(kLengths) == kStreams);

// What a client may tell of a row: bits.
struct Told {
  TokenId token;
  float logprob;
  std::vector<request::TokenLogprob> top;
  std::uint32_t rank = 0;  // of prompts' tokens
  bool operator==(const Told&) const = default;
};

// Greedy, seeded, and each rule there is.
request::Request request_of(std::size_t i) {
  request::Request made;
  for (std::size_t t = 0; t < kLengths[i]; ++t)
    made.tokens.push_back(static_cast<TokenId>((t * 977 + i * 131 + 13) % 4096));
  made.n_prompt_tokens = kLengths[i];
  made.sampling = {.temperature = i % 2 == 0 ? 0.0f : 0.9f, .seed = 1000 + i};
  made.logprobs.n_top = static_cast<std::uint32_t>(i % 4);
  if (i % 8 == 3) made.sampling.top_k = 40, made.sampling.top_p = 0.9f;
  if (i % 8 == 5) made.sampling.min_p = 0.02f;
  if (i % 8 == 4 || i % 8 == 7)
    made.sampling.repetition_penalty = 1.3f, made.sampling.presence_penalty = 0.4f;
  if (i % 8 == 6) made.rules = request::TokenRules{.allowed_token_ids = {5, 90, 91, 1000, 4000}};
  if (i % 8 == 1) made.rules = request::TokenRules{.logit_bias = {{17, 4.5f}, {4090, -3.0f}}};
  if (i % 4 == 2) made.logprobs.n_prompt_top = 3;
  return made;
}

class Stream {
 public:
  Stream(std::size_t i, std::vector<BlockId> blocks) : request_(request_of(i)), blocks_(std::move(blocks)) {}

  bool has_ended() const { return request_.tokens.size() == request_.n_prompt_tokens + kGenerated; }
  bool decodes() const { return n_computed_ + 1 == request_.tokens.size(); }
  // Its next tokens, `most` at most.
  SequenceSlice slice(std::size_t most) {
    const std::size_t left = request_.tokens.size() - n_computed_;
    n_now_ = std::min(left, most);
    extras_.counts.update(request_);
    extras_.scored = {};
    if (request_.logprobs.n_prompt_top && n_computed_ + 1 < request_.n_prompt_tokens)
      extras_.scored =
          std::span<const TokenId>(request_.tokens)
              .subspan(n_computed_ + 1, std::min(n_now_, request_.n_prompt_tokens - 1 - n_computed_));
    return {.tokens = std::span(request_.tokens).subspan(n_computed_, n_now_),
            .start_position = n_computed_,
            .block_table = blocks_,
            .request = n_now_ == left ? &request_ : nullptr,
            .extras = has_extras(request_) ? &extras_ : nullptr,
            .n_scored_top = request_.logprobs.n_prompt_top.value_or(0)};
  }
  // What that step told; `drawn` and `scored` are this stream's first rows, which move on.
  void take(const StepOutput& output, std::size_t& drawn, std::size_t& scored) {
    constexpr auto kMost = static_cast<std::ptrdiff_t>(kernels::kMaxLogprobs);
    const auto top_of = [](const auto& all, std::size_t row, std::size_t n) {
      const auto first = all.begin() + static_cast<std::ptrdiff_t>(row) * kMost;
      return std::vector<request::TokenLogprob>(first, first + static_cast<std::ptrdiff_t>(n));
    };
    for (std::size_t i = 0; i < extras_.scored.size(); ++i, ++scored)
      told.push_back({extras_.scored[i], output.scored->logprobs[scored],
                      top_of(output.scored->top_logprobs, scored, *request_.logprobs.n_prompt_top),
                      output.scored->ranks[scored]});
    const bool drew = n_computed_ + n_now_ == request_.tokens.size();
    n_computed_ += n_now_;
    if (!drew) return;
    ASSERT_EQ(output.outcomes[drawn], request::SamplingOutcome::kToken);
    told.push_back({output.tokens[drawn], output.sampled->logprobs[drawn],
                    top_of(output.sampled->top_logprobs, drawn, *request_.logprobs.n_top)});
    request_.tokens.push_back(output.tokens[drawn++]);
  }
  std::vector<Told> told;

 private:
  request::Request request_;
  request::Extras extras_;
  std::vector<BlockId> blocks_;
  std::size_t n_computed_ = 0, n_now_ = 0;
};

void run_step(Engine& engine, const std::vector<std::pair<Stream*, std::size_t>>& parts) {
  std::vector<SequenceSlice> slices;
  for (const auto& [stream, most] : parts) slices.push_back(stream->slice(most));
  const StepOutput output = engine.run(slices);
  std::size_t drawn = 0, scored = 0;
  for (const auto& [stream, most] : parts) stream->take(output, drawn, scored);
}

// All at once: who decodes takes a token, and prompts what is left of the step, in chunks of `chunk`.
std::vector<Stream> run_together(std::size_t block_size, std::size_t chunk) {
  Engine engine(source_dir() / "models/demo", block_size);
  std::vector<Stream> streams;
  for (std::size_t i = 0; i < kStreams; ++i) streams.emplace_back(i, engine.blocks());
  for (;;) {
    std::vector<std::pair<Stream*, std::size_t>> parts;
    std::size_t left = Engine::kMaxTokens - kStreams;
    for (Stream& stream : streams) {
      if (stream.has_ended() || (!stream.decodes() && left == 0)) continue;
      const std::size_t most = stream.decodes() ? 1 : std::min(chunk, left);
      if (!stream.decodes()) left -= most;
      parts.emplace_back(&stream, most);
    }
    if (parts.empty()) return streams;
    EXPECT_TRUE(engine.pass().poison_buffers(0xff).has_value());
    run_step(engine, parts);
  }
}

TEST_F(CudaModel, SixtyFourStreamsAreTheSameAloneAndTogether) {
  std::vector<Stream> alone;
  {
    Engine engine(source_dir() / "models/demo");
    for (std::size_t i = 0; i < kStreams; ++i) alone.emplace_back(i, engine.blocks());
    for (Stream& stream : alone)
      while (!stream.has_ended()) run_step(engine, {{&stream, Engine::kMaxTokens}});
  }
  std::size_t n_tokens = 0, n_differing = 0;
  for (const auto& [block_size, chunk] :
       std::vector<std::pair<std::size_t, std::size_t>>{{16, 1}, {16, 7}, {64, 64}, {5, 128}, {48, 129}}) {
    const std::vector<Stream> together = run_together(block_size, chunk);
    for (std::size_t i = 0; i < kStreams; ++i) {
      n_tokens += alone[i].told.size();
      n_differing += together[i].told != alone[i].told;
      EXPECT_EQ(together[i].told.size(), alone[i].told.size()) << "stream " << i;
      EXPECT_TRUE(together[i].told == alone[i].told)
          << "stream " << i << ", a prompt of " << kLengths[i] << ", chunks of " << chunk;
    }
  }
  std::printf("  compared: %zu rows of %zu streams in 5 companies; streams that differ: %zu\n", n_tokens,
              kStreams, n_differing);
}

}  // namespace
}  // namespace concertina::model::cuda
