#include "transport/codec.h"
#include "transport/codec_parts.h"
#include "transport/error.h"

namespace concertina::transport {

using cluster::ToRank;

namespace {

template <typename Numbers, typename Out>
void add_all(const Numbers& numbers, Out* out) {
  out->Add(numbers.begin(), numbers.end());
}
template <typename Numbers>
std::vector<TokenId> tokens_of(const Numbers& numbers) {
  return {numbers.begin(), numbers.end()};
}

void write(const cluster::Member& member, Member& out) {
  out.set_rank(member.rank.value());
  out.set_incarnation(member.incarnation.value());
}
cluster::Member read(const Member& in) { return {RankId(in.rank()), Incarnation(in.incarnation())}; }

void write(const request::SamplingParams& params, Sampling& out) {
  out.set_temperature(params.temperature);
  out.set_top_k(params.top_k);
  out.set_top_p(params.top_p);
  out.set_min_p(params.min_p);
  out.set_seed(params.seed);
  out.set_choice_index(params.choice_index);
  if (!params.has_penalties()) return;
  out.set_repetition_penalty(params.repetition_penalty);
  out.set_frequency_penalty(params.frequency_penalty);
  out.set_presence_penalty(params.presence_penalty);
}
request::SamplingParams read(const Sampling& in) {
  return {.temperature = in.temperature(),
          .top_k = in.top_k(),
          .top_p = in.top_p(),
          .min_p = in.min_p(),
          .seed = in.seed(),
          .choice_index = in.choice_index(),
          .repetition_penalty = in.has_repetition_penalty() ? in.repetition_penalty() : 1.0f,
          .frequency_penalty = in.frequency_penalty(),
          .presence_penalty = in.presence_penalty()};
}

void write(const request::StopParams& params, Stop& out) {
  out.set_max_tokens(params.max_tokens);
  out.set_ignore_eos(params.ignore_eos);
  add_all(params.eos_token_ids, out.mutable_eos_token_ids());
  add_all(params.stop_token_ids, out.mutable_stop_token_ids());
  out.set_min_tokens(params.min_tokens);
}
request::StopParams read(const Stop& in) {
  return {.max_tokens = in.max_tokens(),
          .ignore_eos = in.ignore_eos(),
          .eos_token_ids = tokens_of(in.eos_token_ids()),
          .stop_token_ids = tokens_of(in.stop_token_ids()),
          .min_tokens = in.min_tokens()};
}

void write(const request::TokenRules& rules, TokenRules& out) {
  for (const request::TokenBias& one : rules.logit_bias) {
    out.add_bias_tokens(one.token);
    out.add_biases(one.bias);
  }
  add_all(rules.allowed_token_ids, out.mutable_allowed_token_ids());
  for (const std::vector<TokenId>& word : rules.bad_words) add_all(word, out.add_bad_words()->mutable_ids());
  if (rules.thinking == request::ThinkingBudget{}) return;
  Thinking& thinking = *out.mutable_thinking();
  thinking.set_n_tokens(rules.thinking.n_tokens);
  add_all(rules.thinking.end, thinking.mutable_end());
  add_all(rules.thinking.other_end, thinking.mutable_other_end());
  add_all(rules.thinking.begin, thinking.mutable_begin());
}
request::TokenRules read(const TokenRules& in) {
  request::TokenRules rules{.allowed_token_ids = tokens_of(in.allowed_token_ids())};
  for (int i = 0; i < std::min(in.bias_tokens_size(), in.biases_size()); ++i)
    rules.logit_bias.push_back({in.bias_tokens(i), in.biases(i)});
  for (const Tokens& word : in.bad_words())
    if (word.ids_size() > 0) rules.bad_words.push_back(tokens_of(word.ids()));
  const Thinking& thinking = in.thinking();
  rules.thinking = {thinking.n_tokens(), tokens_of(thinking.end()), tokens_of(thinking.other_end()),
                    tokens_of(thinking.begin())};
  return rules;
}

void write(const request::LogprobParams& params, LogprobsWanted& out) {
  if (params.n_top) out.set_top(*params.n_top);
  if (params.n_prompt_top) out.set_prompt_top(*params.n_prompt_top);
  out.set_next_prompt_position(params.next_prompt_position);
}
request::LogprobParams read(const LogprobsWanted& in) {
  return {.n_top = in.has_top() ? std::optional(in.top()) : std::nullopt,
          .n_prompt_top = in.has_prompt_top() ? std::optional(in.prompt_top()) : std::nullopt,
          .next_prompt_position = in.next_prompt_position()};
}

void write(const request::Structure& structure, Structure& out) {
  out.set_language(static_cast<std::uint32_t>(structure.language));
  out.set_source(structure.source);
  add_all(structure.begins_after, out.mutable_begins_after());
  if (structure.thought_begin) out.set_thought_begin(*structure.thought_begin);
}
Result<request::SharedStructure> read(const Structure& in) {
  const auto beyond = [](const char* what, std::size_t found, std::size_t bound) {
    return fail(TransportError::kBadFrame,
                fmt::format("a structure with {} {}, and it must be below {}", what, found, bound));
  };
  if (in.language() >= request::kStructureLanguages)
    return beyond("language", in.language(), request::kStructureLanguages);
  if (in.source().size() > request::kMaxStructureBytes)
    return beyond("bytes", in.source().size(), request::kMaxStructureBytes + 1);
  const auto n_begins_after = static_cast<std::size_t>(in.begins_after_size());
  if (n_begins_after > request::kMaxThoughtEndTokens)
    return beyond("tokens that it begins after", n_begins_after, request::kMaxThoughtEndTokens + 1);
  return request::Structure{request::StructureLanguage(in.language()), in.source(),
                            tokens_of(in.begins_after()),
                            in.has_thought_begin() ? std::optional(in.thought_begin()) : std::nullopt};
}

void write(const cluster::Assign& message, Frame& frame) {
  const request::Request& request = message.request;
  Assign& out = *frame.mutable_assign();
  out.set_request(request.id.value());
  out.set_attempt(request.attempt.value());
  add_all(request.tokens, out.mutable_tokens());
  out.set_n_prompt_tokens(request.n_prompt_tokens);
  write(request.sampling, *out.mutable_sampling());
  write(request.stop, *out.mutable_stop());
  out.set_replay(request.mode == request::Mode::kReplay);
  if (message.kv_source) write(*message.kv_source, *out.mutable_kv_source());
  if (request.rules) write(*request.rules, *out.mutable_rules());
  if (request.logprobs != request::LogprobParams{}) write(request.logprobs, *out.mutable_logprobs());
  out.set_priority(request.priority);
  if (request.structure) write(*request.structure, *out.mutable_structure());
}
Result<ToRank> read(const Assign& in) {
  request::SharedStructure structure;
  if (in.has_structure()) {
    ASSIGN_OR_RETURN(structure, read(in.structure()));
  }
  return cluster::Assign{{.id = RequestId(in.request()),
                          .attempt = Attempt(in.attempt()),
                          .tokens = tokens_of(in.tokens()),
                          .n_prompt_tokens = in.n_prompt_tokens(),
                          .sampling = read(in.sampling()),
                          .stop = read(in.stop()),
                          .mode = in.replay() ? request::Mode::kReplay : request::Mode::kLive,
                          .rules = in.has_rules() ? read(in.rules()) : request::SharedTokenRules{},
                          .logprobs = in.has_logprobs() ? read(in.logprobs()) : request::LogprobParams{},
                          .priority = in.priority(),
                          .structure = std::move(structure)},
                         in.has_kv_source() ? std::optional(read(in.kv_source())) : std::nullopt};
}

void write(const cluster::Feed& message, Frame& frame) {
  frame.mutable_feed()->set_request(message.request.value());
  add_all(message.tokens, frame.mutable_feed()->mutable_tokens());
}
void write(const cluster::TakeOver& message, Frame& frame) {
  TakeOver& out = *frame.mutable_take_over();
  out.set_request(message.request.value());
  out.set_attempt(message.attempt.value());
  add_all(message.generated, out.mutable_generated());
}
void write(const cluster::Drop& message, Frame& frame) {
  frame.mutable_drop()->set_request(message.request.value());
}

void write(const cluster::Placement& placement, Prepare& out) {
  for (const auto& layer : placement.layers) {
    LayerPlacement& layer_out = *out.add_layers();
    for (const auto& [rank, experts] : layer) {
      RankSlots& slots = *layer_out.add_ranks();
      slots.set_rank(rank.value());
      for (const ExpertId expert : experts) slots.add_experts(expert.value());
    }
  }
}
cluster::Placement read_placement(const Prepare& in) {
  cluster::Placement placement;
  for (const LayerPlacement& layer : in.layers()) {
    auto& slots = placement.layers.emplace_back();
    for (const RankSlots& rank : layer.ranks()) {
      auto& experts = slots[RankId(rank.rank())];
      for (const std::uint32_t expert : rank.experts()) experts.emplace_back(expert);
    }
  }
  return placement;
}

void write(const cluster::Prepare& message, Frame& frame) {
  Prepare& out = *frame.mutable_prepare();
  out.set_epoch(message.plan.epoch.value());
  for (std::size_t i = 0; i < message.plan.members.size(); ++i) {
    Member& member = *out.add_members();
    write(message.plan.members[i], member);
    if (i < message.addresses.size()) write(message.addresses[i], *member.mutable_link());
    if (i < message.kv_addresses.size()) write(message.kv_addresses[i], *member.mutable_kv());
  }
  write(message.plan.placement, out);
  for (const cluster::Member& leaver : message.plan.leavers) write(leaver, *out.add_leavers());
}
cluster::Prepare read(const Prepare& in) {
  cluster::Prepare message{.plan = {.epoch = Epoch(in.epoch()), .placement = read_placement(in)}};
  for (const Member& member : in.members()) {
    message.plan.members.push_back(read(member));
    message.addresses.push_back(read(member.link()));
    message.kv_addresses.push_back(read(member.kv()));
  }
  for (const Member& leaver : in.leavers()) message.plan.leavers.push_back(read(leaver));
  return message;
}

void write(const cluster::CancelPrepare& message, Frame& frame) {
  frame.mutable_cancel_prepare()->set_epoch(message.epoch.value());
}
void write(const cluster::Commit& message, Frame& frame) {
  frame.mutable_commit()->set_from_epoch(message.from.value());
  frame.mutable_commit()->set_to_epoch(message.to.value());
}
void write(const cluster::Enter& message, Frame& frame) {
  frame.mutable_enter()->set_epoch(message.epoch.value());
  frame.mutable_enter()->set_ballot(message.ballot.value());
}
void write(const cluster::Freeze& message, Frame& frame) {
  frame.mutable_freeze()->set_ballot(message.ballot.value());
}
void write(const cluster::Forget& message, Frame& frame) {
  frame.mutable_forget()->set_rank(message.whom.rank.value());
  frame.mutable_forget()->set_incarnation(message.whom.incarnation.value());
}
using Trust = cluster::SourceEnded::Trust;
void write(const cluster::SourceEnded& message, Frame& frame) {
  SourceEnded& out = *frame.mutable_source_ended();
  out.set_rank(message.source.rank.value());
  out.set_incarnation(message.source.incarnation.value());
  out.set_trusted(message.trust == Trust::kYes);
}
cluster::SourceEnded read(const SourceEnded& in) {
  return {{RankId(in.rank()), Incarnation(in.incarnation())}, in.trusted() ? Trust::kYes : Trust::kNo};
}
void write(const cluster::Release&, Frame& frame) { frame.mutable_release(); }

}  // namespace

tl::unexpected<Error> unknown_message(const Frame& frame) {
  return fail(TransportError::kUnknownMessage, fmt::format("a message of number {}, which is not known here",
                                                           static_cast<int>(frame.message_case())));
}

Frame frame_of(const ToRank& message) {
  Frame frame;
  std::visit([&frame](const auto& m) { write(m, frame); }, message);
  return frame;
}

Result<ToRank> to_rank_of(const Frame& frame) {
  switch (frame.message_case()) {
    case Frame::kAssign:
      return read(frame.assign());
    case Frame::kFeed:
      return cluster::Feed{RequestId(frame.feed().request()), tokens_of(frame.feed().tokens())};
    case Frame::kTakeOver:
      return cluster::TakeOver{RequestId(frame.take_over().request()), Attempt(frame.take_over().attempt()),
                               tokens_of(frame.take_over().generated())};
    case Frame::kDrop:
      return cluster::Drop{RequestId(frame.drop().request())};
    case Frame::kPrepare:
      return read(frame.prepare());
    case Frame::kCancelPrepare:
      return cluster::CancelPrepare{Epoch(frame.cancel_prepare().epoch())};
    case Frame::kCommit:
      return cluster::Commit{Epoch(frame.commit().from_epoch()), Epoch(frame.commit().to_epoch())};
    case Frame::kEnter:
      return cluster::Enter{Epoch(frame.enter().epoch()), Ballot(frame.enter().ballot())};
    case Frame::kFreeze:
      return cluster::Freeze{Ballot(frame.freeze().ballot())};
    case Frame::kForget:
      return cluster::Forget{{RankId(frame.forget().rank()), Incarnation(frame.forget().incarnation())}};
    case Frame::kSourceEnded:
      return read(frame.source_ended());
    case Frame::kRelease:
      return cluster::Release{};
    default:
      return unknown_message(frame);
  }
}

}  // namespace concertina::transport
