#pragma once

#include <limits>
#include <map>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "cluster/messages.h"
#include "deployment/balance.h"
#include "deployment/deployment_error.h"
#include "deployment/ending.h"
#include "deployment/fair_queue.h"
#include "request/request.h"

namespace concertina::deployment {

// ---- Actions: what must be done, in this order.
struct SendTo {
  RankId to;
  cluster::ToRank message;
};
struct EmitToken {
  RequestId request;
  TokenId token;
  request::FinishReason reason;  // other than kNone: it is the last one, and nothing comes after it
  std::vector<request::TokenLogprob> logprobs = {};  // where the request wants some
};
struct EmitPromptLogprobs {  // those that come next in the prompt; all of them before its first token
  request::PromptLogprobs logprobs;
};
struct EmitFailed {
  RequestId request;
  Error error;  // a DeploymentError
};
struct Drained {
  std::uint64_t n_moved;
};
using JournalAction = std::variant<SendTo, EmitToken, EmitPromptLogprobs, EmitFailed, Drained>;
using JournalActions = std::vector<JournalAction>;

// An upper bound of the bytes of an Assign of that request, were it `n_tokens` long.
std::size_t assign_bytes(const request::Request& request, std::size_t n_tokens);

// Every live request: its prompt, parameters, seed and every token emitted so far, which is enough to run it
// again anywhere; and which rank computes it. Decides where requests go, when they move, and which tokens
// count. Pure; its owner carries the actions out.
//
// A rank's tokens count only with the request's current attempt and at the position that is next
// (docs/epoch_protocol.md, rule 9). Moving a request takes the journal's length and raises the attempt in one
// action, so what the old rank still sends is dropped and generated again by the new one: the same tokens.
//
// A rank's channel never fills with requests: what it has not read yet of them is counted, and more than
// `channel_bytes` of that wait here, in the queue or, of a drain, on the leaver.
//
// A request that makes ranks end must not go round for ever. One whose last two ranks ended by their own
// doing (Ending), without a token of it in between or since, is a suspect: it gets a rank to itself until it
// gives a token, suspects in turn, and when that one ends so as well, it fails. So nobody is given up for
// what another one did. Not found: a request that ends a rank other than its own.
class Journal {
 public:
  static constexpr std::size_t kMaxEnds = 3;  // in a row, the last of them alone on its rank
  // What a rank has room for: sequences in a step, tokens in its KV, and bytes on the way to it. What is
  // beyond waits here, where a rank that joins can take it. An eighth of the sequences is kept for clients of
  // whom nothing runs: else one client's long answers on all places would hold another's short one to their
  // end.
  struct RankCapacity {
    std::size_t max_num_seqs = 1;
    std::size_t kv_tokens = std::numeric_limits<std::size_t>::max();
    std::size_t channel_bytes = std::numeric_limits<std::size_t>::max();
  };
  // A rule broken on purpose, for the simulator, which must notice. kPositionAlone (9): whoever sends a token
  // for the next position is believed.
  enum class Broken : std::uint8_t { kNothing, kPositionAlone };
  explicit Journal(RankCapacity capacity, Broken broken = Broken::kNothing)
      : capacity_(capacity), broken_(broken) {}

  // `request.attempt` and `mode` are set here. It waits in the queue until a rank has room for it, and its
  // client's turn has come.
  void submit(request::Request request, ClientId client, JournalActions& actions);
  void cancel(RequestId request, JournalActions& actions);
  // It cannot be sent to any rank: it fails.
  void refuse(RequestId request, std::string why, JournalActions& actions);

  // A committed token of a rank; ignored (and counted) unless it is the next one of that request's current
  // attempt. With kError there is no token, and the request fails: it would elsewhere, too.
  // `logprobs` go on with it.
  void on_token(RankId from, const request::TokenEvent& token, JournalActions& actions,
                std::span<const request::TokenLogprob> logprobs = {});
  // Log-probabilities of a prompt's tokens, of a committed step; ignored (and counted) unless they are the
  // next ones of that request's current attempt. They go on to the client and are not kept: what is kept is
  // how far they got, which a rank that gets the request later goes on from.
  void on_prompt_logprobs(RankId from, const request::PromptLogprobs& scored, JournalActions& actions);
  // A replay has the KV of all it was told of, as of that step: the request moves there now. If the rank that
  // decodes it gave its tokens of the step before, those of this step are about to come, and go first: else
  // they would be computed again, and the client would wait for one step more.
  void on_caught_up(RankId from, RequestId request, Attempt attempt, JournalActions& actions,
                    cluster::EpochStep step = {});
  // All that the rank has to say of that step was said.
  void on_step_told(RankId from, cluster::EpochStep step, JournalActions& actions);

  // All that was sent to the rank is with the kernel.
  void on_channel_drained(RankId rank, JournalActions& actions);

  // What this rank has room for; until it is said, what the constructor was told.
  void set_capacity(RankId rank, const RankCapacity& capacity) { capacities_[rank] = capacity; }

  // The ranks that requests may go to; a rank that is new gets queued requests at once.
  void set_members(std::span<const cluster::Member> members, JournalActions& actions);

  // Leavers get no new requests; each of theirs is replayed on a stayer beside the leaver's decoding, then
  // moves. Drained follows when none is left on a leaver, maybe in this very call. What moves between stayers
  // goes on.
  void begin_drain(std::span<const RankId> leavers, JournalActions& actions);
  void cancel_drain(JournalActions& actions);

  // Moves requests between ranks that carry unequal shares (Balance), as a drain does: replayed beside their
  // decoding, then taken over. Not during a drain, which moves requests itself. For calls as often as tokens
  // come: it looks each Balance::kInterval.
  void rebalance(Time now, JournalActions& actions);

  // The rank is dead: nothing it still sends counts. Its requests go to the ranks that were replaying them,
  // or to the front of the queue; all in one action with the rise of their attempts. Those that find a place
  // in this action are told that the dead rank is where their KV may be copied from. One that waits is not
  // (docs/epoch_protocol.md, rule 20): else ranks kept the memory of the dead for as long as a queue lasts,
  // and the rank that the queue waits for might wait for that memory.
  void fence(RankId rank, JournalActions& actions);
  // How the process of a rank ended, fenced or not.
  void on_ended(RankId rank, const Ending& ending, JournalActions& actions);

  const request::Request* find(RequestId request) const;
  std::optional<RankId> rank_of(RequestId request) const;  // none: unknown, or in the queue
  std::vector<RequestId> live_requests() const;            // ascending
  std::size_t n_live() const { return entries_.size(); }
  std::size_t n_queued() const { return queue_.size(); }
  std::size_t n_queued_of(ClientId client) const { return queue_.n_of(client); }
  std::size_t n_clients_queued() const { return queue_.n_clients(); }
  std::size_t n_free_places() const;  // short requests that would not have to wait
  std::size_t n_on(RankId rank) const;
  std::uint64_t n_ignored_outputs() const { return n_ignored_outputs_; }
  std::uint64_t n_rescued() const { return n_rescued_; }  // requests of fenced ranks that went elsewhere
  std::uint64_t n_rebalanced() const { return n_rebalanced_; }  // requests that moved by rebalance()

 private:
  struct Replay {
    RankId rank;
    Attempt attempt;
    enum class Cause : std::uint8_t { kDrain, kBalance } cause;
    enum class State : std::uint8_t { kBehind, kCaughtUp } state = State::kBehind;
    cluster::EpochStep caught_up_at = {};
  };
  struct Entry {
    request::Request request;
    ClientId client;
    std::optional<RankId> rank;  // none: queued
    std::optional<Replay> replay;
    Attempt last_attempt;
    std::size_t n_tokens_given = 0;  // how long it was when its rank got it
    std::optional<Time> moved_at;    // by rebalance(), the last time
    std::size_t n_ends = 0;          // of its ranks, in a row, without a token in between
    std::size_t n_tokens_ended = 0;  // how long it was then
  };
  // What a fenced rank carried, replays too, until it is known how it ended.
  struct Carried {
    RequestId request;
    std::size_t n_tokens;
  };
  // Requests that a fence takes from a rank, while it looks for places for them.
  struct Rescued {
    std::optional<cluster::Member> from;  // none: an epoch that the journal was not told of
    std::vector<RequestId> requests;      // ascending
  };
  struct Load {
    std::size_t n_requests = 0;      // replays towards it included
    std::size_t n_tokens = 0;        // of those, as far as the journal knows
    std::size_t n_unread_bytes = 0;  // of requests, sent since its channel was last empty
    cluster::EpochStep told = {};    // the last step that it gave something of
  };

  enum class Room : std::uint8_t { kNeeded, kIgnored };
  enum class Client : std::uint8_t { kNew, kRuns };  // kNew: nothing of it runs
  std::optional<RankId> pick_rank(Room room, std::size_t n_tokens, std::size_t n_bytes,
                                  const std::set<RankId>& avoided, Client client) const;
  Client standing_of(const Entry& entry) const;
  const RankCapacity& capacity_of(RankId rank) const;
  std::size_t n_places(RankId rank, const Load& load, Client client) const;
  bool is_full(RankId rank, const Load& load, std::size_t n_tokens, Client client) const;
  bool is_choked(RankId rank, const Load& load, std::size_t n_bytes) const;
  Load load_of(RankId rank) const;
  std::optional<cluster::Member> member_of(RankId rank) const;
  void lose_rank(Entry& entry, Rescued& rescued, JournalActions& actions);

  bool is_suspect(RequestId request) const { return suspects_.contains(request); }
  std::set<RankId> ranks_of_suspects() const;
  std::optional<RequestId> next_suspect() const;
  void evict(RankId rank, JournalActions& actions);
  void count_end(const Carried& carried, std::size_t n_carried, RankId rank, const Ending& ending,
                 JournalActions& actions);
  void make_suspect(Entry& entry, JournalActions& actions);
  void send_home(Entry& entry, JournalActions& actions);

  void advance(JournalActions& actions);
  void assign_suspects(JournalActions& actions);
  void assign_queued(JournalActions& actions, const Rescued& rescued = {});
  void start_replays(JournalActions& actions);
  void move_caught_up(JournalActions& actions);
  std::vector<Balance::Rank> ranks_to_balance() const;
  std::vector<Balance::Running> requests_to_balance(Time now) const;
  bool may_move(const Entry& entry, Time now) const;
  void check_drained(JournalActions& actions);

  void remove(RequestId request, Entry& entry, JournalActions& actions);
  void finish(Entry& entry, JournalActions& actions);
  void assign(Entry& entry, RankId rank, std::optional<cluster::Member> kv_source, JournalActions& actions);
  void send_request(const Entry& entry, RankId to, cluster::Assign assign, JournalActions& actions);
  void hand_over(Entry& entry, RankId target, JournalActions& actions);
  void start_replay(Entry& entry, RankId target, Replay::Cause cause, JournalActions& actions);
  void stop_replay(Entry& entry, JournalActions& actions);
  void forget_replay(Entry& entry);
  void settle(Entry& entry, RankId rank);
  void leave_rank(Entry& entry);
  bool awaits_tokens(const Entry& entry) const;
  bool can_take_over(const Entry& entry) const;
  void take_over(Entry& entry, JournalActions& actions);

  bool is_its(const Entry& entry, RankId from, Attempt attempt) const;

  RankCapacity capacity_;  // of ranks that have not said theirs
  Broken broken_;
  std::map<RankId, RankCapacity> capacities_;
  std::unordered_map<RequestId, Entry> entries_;
  FairQueue queue_;
  std::set<RequestId> suspects_, replayed_;
  Balance balance_;
  std::unordered_map<ClientId, std::size_t>
      n_running_of_;                                // requests on ranks; clients without any are not here
  std::map<RankId, Load> loads_;                    // of every rank that has or may have requests
  std::map<RankId, std::vector<Carried>> carried_;  // by ranks that are fenced and not known to have ended
  std::map<RankId, Incarnation> members_;
  std::set<RankId> leavers_;
  cluster::EpochStep last_told_;  // by any rank
  bool draining_ = false;
  std::uint64_t n_moved_ = 0, n_ignored_outputs_ = 0, n_rescued_ = 0, n_rebalanced_ = 0;
};

}  // namespace concertina::deployment
