#pragma once

#include <algorithm>
#include <vector>

#include "kvcache/sequence_records.h"
#include "request/extras.h"
#include "scheduler/stop_ids.h"
#include "scheduler/types.h"

namespace concertina::scheduler {

// What the scheduler knows of a request.
struct Sequence {
  request::Request request;
  StopIds stop_ids;
  request::Extras extras;  // of the plan that is made
  enum class HasExtras : std::uint8_t { kNo, kYes } has_extras = HasExtras::kNo;
  std::vector<BlockId> blocks;
  std::optional<kvcache::RecordSlot> record;  // where peers read of it, while it has blocks
  std::optional<kvcache::ReservationId>
      reservation;          // of the copy that it waits for; none: it waits for none
  std::size_t n_moved = 0;  // tokens at the beginning whose KV another rank has computed, as far as is known
  std::size_t n_computed = 0;   // committed: KV of tokens [0, n_computed) is there
  std::uint64_t age = 0;        // order of arrival: the lower the older
  std::uint64_t last_step = 0;  // the committed step that it last had a share of
  bool reported_caught_up = false;
  enum class Held : std::uint8_t { kNo, kYes } held = Held::kNo;  // kYes: the last token is not computed
  std::size_t n_planned = 0;                                      // tokens of the plan that is made

  bool is_live() const { return request.mode == request::Mode::kLive; }
  std::size_t n_known() const { return request.tokens.size(); }
  std::size_t n_generated() const { return n_known() - request.n_prompt_tokens; }
  // A replay needs the KV of all but the last token; of a lone first token it computes that one, to have
  // something to report. One that is held has the last of them to come: it has not caught up.
  std::size_t n_wanted() const {
    const std::size_t n = is_live() ? n_known() : std::max<std::size_t>(1, n_known() - 1);
    return held == Held::kYes ? n - 1 : n;
  }
  // It misses no more than a stream that goes on elsewhere, or just went on here, may be told of at once.
  // These are computed beside the decodes, whatever the limit of prefill: a client waits for the next token.
  // Under the limit streams that came by copy had a token a step together, and 16 that moved at once took 4
  // s.
  bool decodes() const {
    const std::size_t n = n_missing();
    if (n == 1 && is_live()) return true;
    return n > 0 && n <= kFewTokens && n_generated() > 0;
  }
  // Tokens whose KV may come from elsewhere: behind them stands the row of a prompt's token that is not
  // scored.
  std::size_t n_creditable() const {
    return is_scored() ? n_known() : std::min(n_known(), request.logprobs.next_prompt_position - 1);
  }
  bool is_scored() const { return request::is_scored(request); }
  void clear();  // as it was made, but for the room of its tokens and blocks
  std::size_t n_missing() const { return n_wanted() > n_computed ? n_wanted() - n_computed : 0; }
};

inline void Sequence::clear() {
  Sequence empty;
  std::swap(empty.request.tokens, request.tokens), empty.request.tokens.clear();
  std::swap(empty.blocks, blocks), empty.blocks.clear();
  *this = std::move(empty);
}

// Who goes first: by priority, then by age.
inline bool older(const Sequence* a, const Sequence* b) {
  if (a->request.priority != b->request.priority) return a->request.priority < b->request.priority;
  return a->age < b->age;
}

// Sequences of one kind, in that order. Of two no one is as old as the other.
struct Queue {
  std::vector<Sequence*> items;
  void insert(Sequence* sequence) { items.insert(place_of(sequence), sequence); }
  bool contains(const Sequence* sequence) const {
    const auto place = place_of(sequence);
    return place != items.end() && *place == sequence;
  }
  bool remove(const Sequence* sequence) {
    const auto place = place_of(sequence);
    if (place == items.end() || *place != sequence) return false;
    items.erase(place);
    return true;
  }

 private:
  std::vector<Sequence*>::const_iterator place_of(const Sequence* sequence) const {
    return std::lower_bound(items.begin(), items.end(), sequence, older);
  }
};

}  // namespace concertina::scheduler
