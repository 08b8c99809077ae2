#include "grammar/mask_table_maker.h"

#include <algorithm>

#include "grammar/limits.h"

namespace concertina::grammar {
namespace {

constexpr std::size_t kMostConfigurations = 16'000;  // 16 MB of rows; then begun anew
constexpr std::size_t kNoText = 1'000'000;           // characters: more than any token has
constexpr std::size_t kRestWork = 16;                // a rest's share of kMaxTableWork: it is sorted and kept
constexpr std::size_t kItemsAtOnce = 32;             // of readings, looked at while a node of the trie is

}  // namespace

MaskTableMaker::MaskTableMaker(const Automaton& automaton, const Vocabulary& vocabulary, MaskTables& tables)
    : automaton_(automaton),
      vocabulary_(vocabulary),
      tables_(tables),
      configurations_(automaton),
      callers_(automaton),
      path_(vocabulary.trie().depth() + 1),
      text_path_(vocabulary.trie().depth() + 1),
      bits_(vocabulary.n_mask_words()) {}

std::vector<StateIndex> MaskTableMaker::states_from_the_start() const {
  std::vector<bool> seen(automaton_.n_states());
  std::vector<StateIndex> order;
  const auto add = [&](StateIndex state) {
    if (!seen[state]) order.push_back(state);
    seen[state] = true;
  };
  add(automaton_.start());
  for (std::size_t at = 0; at < order.size(); ++at) {
    const StateIndex state = order[at];
    for (const auto& edge : automaton_.edges(state)) add(edge.to);
    for (const auto& call : automaton_.calls(state)) {
      add(call.start);
      add(call.to);
    }
  }
  return order;
}

// Without a table the vocabulary is walked, and the walk is long where most bytes are read on, as within
// strings. Few tokens begin behind a backslash, and fewer within a character of several bytes.
int MaskTableMaker::turn_of(StateIndex state) const {
  const auto edges = automaton_.edges(state);
  if (edges.front().first >= 0x80) return 2;
  int n_bytes = 0;
  for (const auto& edge : edges) n_bytes += edge.last - edge.first + 1;
  return n_bytes < 64 ? 1 : 0;
}

void MaskTableMaker::run() {
  tables_.tables_.resize(automaton_.n_states());
  auto order = states_from_the_start();
  std::erase_if(order, [&](StateIndex state) { return automaton_.edges(state).empty(); });
  std::stable_sort(order.begin(), order.end(),
                   [&](StateIndex a, StateIndex b) { return turn_of(a) < turn_of(b); });
  for (const StateIndex state : order) {
    const std::size_t reading = (configurations_.work() + callers_.work()) / kItemsAtOnce;
    if (tables_.work_ + reading > kMaxTableWork || configurations_.has_overflown()) return;
    if (configurations_.size() > kMostConfigurations) configurations_.clear();
    if (callers_.size() > kMostConfigurations) callers_.clear();
    make(state);
  }
}

void MaskTableMaker::make(StateIndex state) {
  taken_.clear();
  n_text_ = 0;
  std::fill(bits_.begin(), bits_.end(), 0);
  ends_.clear();
  rests_.clear();
  walk(configurations_.from_edges_of(state));
  if (!ends_.empty()) find_rests(state);
  if (configurations_.has_overflown()) return;
  tables_.tables_[state] = keep_taken();
  tables_.tables_[state].rests = keep_rests();
}

void MaskTableMaker::take(std::span<const TokenId> tokens) {
  taken_.insert(taken_.end(), tokens.begin(), tokens.end());
  for (const TokenId token : tokens)
    bits_[static_cast<std::size_t>(token) / 64] |= std::uint64_t{1} << (token % 64);
}

// Where text is read on with, whichever, most of the mask is known: of how many characters, 0 if it does not
// pay.
std::size_t MaskTableMaker::take_text(Index from) {
  const auto run =
      std::min<std::size_t>(static_cast<std::size_t>(configurations_.text_run(from)), Vocabulary::kMostText);
  if (vocabulary_.n_text_up_to(run) < vocabulary_.n_mask_words()) return 0;
  bits_ = vocabulary_.text_up_to(run);
  n_text_ = vocabulary_.n_text_up_to(run);
  return run;
}

// Tokens that are read within the rule, and nodes at which it may end before a token does.
void MaskTableMaker::walk(Index from) {
  const auto& trie = vocabulary_.trie();
  const auto nodes = trie.nodes();
  const std::size_t n_known = take_text(from);
  path_[0] = from;
  text_path_[0] = 0;
  for (std::uint32_t at = 1; at < nodes.size();) {
    const auto& node = nodes[at];
    ++tables_.work_;
    const Index to = configurations_.row(path_[node.depth - 1])[node.byte];
    if (to == Configurations::kDead) {
      at = node.end;
      continue;
    }
    const std::size_t n_characters = text_path_[node.depth - 1] + (node.text == TextState::kBetween ? 1 : 0);
    text_path_[node.depth] = node.is_text ? n_characters : kNoText;
    take(trie.tokens_of(at));
    if (configurations_.ends(to) && node.end > at + 1) ends_.push_back(at);
    path_[node.depth] = to;
    const bool all_below = node.text_below != TokenTrie::kNotText && node.text_below > 0 &&
                           node.text_below <= configurations_.text_run(to);
    const bool is_known = text_path_[node.depth] + node.text_below <= n_known;
    if (all_below && !is_known) take(trie.tokens_below(at));
    at = configurations_.goes_on(to) && !all_below ? at + 1 : node.end;
  }
  tables_.work_ += taken_.size() / 2;
}

void MaskTableMaker::find_rests(StateIndex state) {
  const Index callers = callers_.from_callers_of(state);
  if (!callers_.has_overflown())
    for (const std::uint32_t node : ends_) walk_rests(node, callers);
  if (!callers_.has_overflown()) return;
  // Too many callers to read on with all of them: what begins as one of them may.
  callers_.clear();
  rests_.clear();
  for (const std::uint32_t node : ends_) take_rests(node, automaton_.follow(state));
}

// Of the tokens below `top`, those that some caller reads on.
void MaskTableMaker::walk_rests(std::uint32_t top, Index callers) {
  const auto nodes = vocabulary_.trie().nodes();
  const std::uint16_t depth = nodes[top].depth;
  path_[depth] = callers;
  for (std::uint32_t at = top + 1; at < nodes[top].end;) {
    const auto& node = nodes[at];
    ++tables_.work_;
    const Index to = callers_.row(path_[node.depth - 1])[node.byte];
    if (to == Configurations::kDead) {
      at = node.end;
      continue;
    }
    add_rest(at, depth);
    path_[node.depth] = to;
    at = callers_.goes_on(to) ? at + 1 : node.end;
  }
}

void MaskTableMaker::take_rests(std::uint32_t top, const ByteBits& follow) {
  const auto nodes = vocabulary_.trie().nodes();
  for (std::uint32_t child = top + 1; child < nodes[top].end; child = nodes[child].end) {
    ++tables_.work_;
    if (!follow[nodes[child].byte]) continue;
    for (std::uint32_t at = child; at < nodes[child].end; ++at) add_rest(at, nodes[top].depth);
  }
}

void MaskTableMaker::add_rest(std::uint32_t node, std::uint16_t depth) {
  for (const TokenId token : vocabulary_.trie().tokens_of(node)) {
    if ((bits_[static_cast<std::size_t>(token) / 64] >> (token % 64)) & 1) continue;
    ++tables_.work_;
    rests_.push_back({vocabulary_.bytes_of(token).substr(depth), token});
  }
}

// As a list where bits are set faster one by one than a mask's words are joined.
StateTable MaskTableMaker::keep_taken() {
  if (n_text_ > 0 || taken_.size() >= vocabulary_.n_mask_words() / 4) {
    const auto [known, is_new] = known_bits_.try_emplace(bits_);
    if (is_new) {
      known->second = {StateTable::Kind::kBits, static_cast<std::uint32_t>(tables_.bits_.size()), {}};
      tables_.bits_.push_back(bits_);
    }
    return known->second;
  }
  std::sort(taken_.begin(), taken_.end());
  const auto [known, is_new] = known_lists_.try_emplace(taken_);
  if (is_new) {
    known->second = {StateTable::Kind::kList, static_cast<std::uint32_t>(tables_.lists_.size()), {}};
    tables_.lists_.push_back(taken_);
  }
  return known->second;
}

std::optional<std::uint32_t> MaskTableMaker::keep_rests() {
  if (rests_.empty()) return std::nullopt;
  RestsKey key;
  for (const auto& rest : rests_) key.emplace_back(rest.token, static_cast<std::uint32_t>(rest.bytes.size()));
  const auto [known, is_new] =
      known_rests_.try_emplace(std::move(key), static_cast<std::uint32_t>(tables_.rests_.size()));
  if (is_new) {
    tables_.work_ += rests_.size() * kRestWork;
    tables_.rests_.emplace_back(std::move(rests_));
  }
  return known->second;
}

MaskTables::MaskTables(const Automaton& automaton, const Vocabulary& vocabulary) {
  MaskTableMaker(automaton, vocabulary, *this).run();
}

MaskTables::Counts MaskTables::counts() const {
  Counts counts{.n_bits = bits_.size(), .work = work_};
  for (const auto& table : tables_) counts.n_tables += table.kind != StateTable::Kind::kNone;
  counts.bytes = tables_.size() * sizeof(StateTable);
  for (const auto& list : lists_) counts.bytes += list.size() * sizeof(TokenId);
  for (const auto& bits : bits_) counts.bytes += bits.size() * sizeof(std::uint64_t);
  for (const auto& rests : rests_)
    counts.bytes += rests.nodes().size() * sizeof(TokenTrie::Node) + rests.n_tokens() * sizeof(TokenId);
  return counts;
}

}  // namespace concertina::grammar
