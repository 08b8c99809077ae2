#include "exchange/scratch.h"

namespace concertina::exchange {

Result<Scratch> Scratch::make(const Layout& layout, std::size_t n_experts) {
  Scratch scratch;
  const std::size_t n_entries = layout.max_entries(), n_results = layout.max_results();
  ASSIGN_OR_RETURN(scratch.entry_member, ReservedArray<std::uint32_t>::make(n_entries, "own entries"));
  ASSIGN_OR_RETURN(scratch.entry_position, ReservedArray<std::uint32_t>::make(n_entries, "own entries"));
  ASSIGN_OR_RETURN(scratch.result_rows,
                   ReservedArray<const float*>::make(n_entries, "addresses of result rows"));
  ASSIGN_OR_RETURN(scratch.received, ReservedArray<Entry>::make(n_results, "received entries"));
  ASSIGN_OR_RETURN(scratch.in, ReservedArray<const float*>::make(n_results, "addresses of activations"));
  ASSIGN_OR_RETURN(scratch.out, ReservedArray<float*>::make(n_results, "addresses of results"));
  scratch.slot_begin.resize(n_experts + 2);
  scratch.n_sent.resize(layout.max_ranks);
  scratch.next_sent.resize(layout.max_ranks);
  scratch.first_result.resize(layout.max_ranks);
  return scratch;
}

}  // namespace concertina::exchange
