#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/build_identity.h"
#include "cluster/types.h"
#include "request/request.h"

// What the front and a rank tell each other, over one ordered channel each: docs/epoch_protocol.md says when.
// Every message has this one name, in every part that sends, carries or reads it; transport/codec.h has the
// bytes.
namespace concertina::cluster {

// ---- To a rank.
struct Assign {
  request::Request request;
  // Who has computed KV of it, and may be alive or not: what can be copied from there is not computed again.
  std::optional<Member> kv_source;
  bool operator==(const Assign&) const = default;
};
struct Feed {  // more tokens of a replay
  RequestId request;
  std::vector<TokenId> tokens;
  bool operator==(const Feed&) const = default;
};
struct TakeOver {  // a replay becomes the request, with all of its generated tokens
  RequestId request;
  Attempt attempt;
  std::vector<TokenId> generated;
  bool operator==(const TakeOver&) const = default;
};
struct Drop {
  RequestId request;
  bool operator==(const Drop&) const = default;
};
struct Prepare {  // to every member of the target epoch, and its leavers
  EpochPlan plan;
  // [plan.members] each: filled where processes are known.
  std::vector<LinkAddress> addresses, kv_addresses;
  bool operator==(const Prepare&) const = default;
};
struct CancelPrepare {
  Epoch epoch;
  bool operator==(const CancelPrepare&) const = default;
};
struct Commit {
  Epoch from, to;
  bool operator==(const Commit&) const = default;
};
// The epoch is in force: to joiners (after the first FLIPPED), in bootstrap to all, and to frozen ranks with
// the ballot they froze for (Ballot{}: none). Each reports RankFlipped, once.
struct Enter {
  Epoch epoch;
  Ballot ballot;
  bool operator==(const Enter&) const = default;
};
struct Freeze {  // void the step under way, read no peer, answer RankFrozen after all tokens, await Enter
  Ballot ballot;
  bool operator==(const Freeze&) const = default;
};
struct Forget {  // unmap the memory of a rank that left
  Member whom;
  bool operator==(const Forget&) const = default;
};
// The process of a rank has ended, so no Assign after this names it as a source. kNo: what it wrote may be
// wrong, by the way it ended, and what was copied from it does not count.
struct SourceEnded {
  Member source;
  enum class Trust : std::uint8_t { kNo, kYes } trust = Trust::kNo;
  bool operator==(const SourceEnded&) const = default;
};
struct Release {  // nobody can address it any more: it exits
  bool operator==(const Release&) const = default;
};
using ToRank = std::variant<Assign, Feed, TakeOver, Drop, Prepare, CancelPrepare, Commit, Enter, Freeze,
                            Forget, SourceEnded, Release>;

// ---- From a rank. `member`: whose channel it came on.
struct RankHello {  // its control channel and exchange memory are up
  Member member;
  LinkAddress address, kv_address;  // of its exchange memory and of its KV, for peers
  std::size_t kv_blocks_total = 0, block_size = 0, max_num_seqs = 0;  // what it has room for
  BuildIdentity identity;
  bool operator==(const RankHello&) const = default;
};
struct LoadProgress {
  Member member;
  std::uint64_t loaded_bytes = 0, total_bytes = 0;
  bool operator==(const LoadProgress&) const = default;
};
struct RankPrepared {
  Member member;
  Epoch epoch;
  std::uint64_t moved_bytes = 0;
  bool operator==(const RankPrepared&) const = default;
};
struct RankPrepareFailed {
  Member member;
  Epoch epoch;
  std::string error;
  // kPeer: it could not reach the memory of another member, which in all likelihood has ended, and whose exit
  // is on its way. kRoom: it has no room for its share of the weights; more ranks would help.
  enum class Cause : std::uint8_t { kOwn, kPeer, kRoom } cause = Cause::kOwn;
  bool operator==(const RankPrepareFailed&) const = default;
};
struct RankFlipped {
  Member member;
  Epoch epoch;
  double pause_ms = 0;
  bool operator==(const RankFlipped&) const = default;
};
struct RankFrozen {
  Member member;
  Ballot ballot;
  bool operator==(const RankFrozen&) const = default;
};
struct Heartbeat {
  Member member;
  std::uint64_t progress = 0;  // changes whenever its step gets on
  std::uint64_t loaded = 0;    // changes whenever its loader gets on
  bool operator==(const Heartbeat&) const = default;
};
struct PeerSuspected {
  Member member;  // who reports
  RankId whom;
  Epoch epoch;
  std::string what;
  StepId step;
  std::uint32_t exchange = 0;  // in its step
  bool operator==(const PeerSuspected&) const = default;
};
struct LeaveAsked {  // it wants to leave: it got a SIGTERM
  Member member;
  bool operator==(const LeaveAsked&) const = default;
};
struct RankFailed {  // it cannot go on, and exits
  Member member;
  std::string error;
  bool operator==(const RankFailed&) const = default;
};
// Where the time of a rank's MoE layers went, since its start.
struct MoeTimes {
  std::uint64_t n_layers = 0;  // computed
  double route_ms = 0, dispatch_ms = 0, wait_ms = 0, compute_ms = 0, combine_ms = 0;
  bool operator==(const MoeTimes&) const = default;
};
// What became of requests that this rank was given after another rank had computed some of them.
struct KvMoves {
  std::uint64_t n_requests = 0;
  std::uint64_t n_tokens_copied = 0;      // their KV came by copy
  std::uint64_t n_tokens_recomputed = 0;  // known when they came, and computed here
  std::uint64_t n_copies_failed = 0;      // not a token came: no room, no record, not trusted
  bool operator==(const KvMoves&) const = default;
};
struct RankStats {
  std::size_t n_running = 0, n_waiting = 0, kv_blocks_used = 0, kv_blocks_total = 0;
  std::uint64_t n_preemptions = 0;
  std::uint64_t n_nonfinite_logits = 0;              // requests that ended for want of finite logits
  std::vector<std::pair<RankId, double>> waited_ms;  // for each peer of the epoch in force
  MoeTimes moe_times;
  KvMoves kv_moves;
  bool operator==(const RankStats&) const = default;
};
struct RankReport {  // news of its counts, where no token goes
  Member member;
  RankStats stats;
  bool operator==(const RankReport&) const = default;
};
// Which step: all ranks take part in it at the same time.
struct EpochStep {
  Epoch epoch;  // 0: not known
  StepId step;
  auto operator<=>(const EpochStep&) const = default;
};
struct StepOutput {  // of one committed step
  Member member;
  std::vector<request::TokenEvent> tokens;
  std::vector<request::CaughtUp> caught_up;
  std::optional<RankStats> stats;                             // if there is news
  std::vector<request::PromptLogprobs> prompt_logprobs = {};  // told before the tokens
  // [tokens], or empty where no request wants any: each one's own, then the highest.
  std::vector<std::vector<request::TokenLogprob>> logprobs = {};
  EpochStep step = {};
  bool operator==(const StepOutput&) const = default;
};
using FromRank =
    std::variant<RankHello, LoadProgress, RankPrepared, RankPrepareFailed, RankFlipped, RankFrozen, Heartbeat,
                 PeerSuspected, LeaveAsked, RankFailed, RankReport, StepOutput>;

}  // namespace concertina::cluster
