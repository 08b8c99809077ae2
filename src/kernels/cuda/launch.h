#pragma once

#include <cstddef>
#include <cstdint>

struct CUstream_st;

// The ops on the GPU: what each computes, on plain memory of the device. Every function enqueues on `on` and
// returns; Queue::check and wait say what failed. Included by .cu files too, so no project header: fmt does
// not compile there. All arithmetic is that of docs/gpu.md.
namespace concertina::kernels::cuda {

using Stream = CUstream_st*;
using Bf16 = std::uint16_t;  // the bits of a bfloat16

// ---- Products. n_in is a multiple of 16, rows begin on 8 bytes.

// A weight's sum over n_in is cut in so many spans of equal length, each a chain of its own, added in
// ascending order: of the shape alone, so that a row's bits depend on nothing else.
constexpr std::size_t n_spans(std::size_t n_out, std::size_t n_in) {
  const std::size_t n_tiles = (n_out + 127) / 128;
  std::size_t spans = 1;
  while (spans < 8 && spans * n_tiles < 64 && n_in / (2 * spans) >= 256 && n_in % (32 * spans) == 0)
    spans *= 2;
  return spans;
}

// y[row] = x[row] @ weight^T in float32.
struct Linear {
  const Bf16* x;       // [n_rows, n_in]
  const Bf16* weight;  // [n_out, n_in]
  float* y;            // [n_rows, n_out]
  std::uint32_t n_rows, n_in, n_out;
};
void linear(const Linear& product, Stream on);

// ---- Rows.

void embedding(const std::int32_t* tokens, std::uint32_t n_rows, const Bf16* table, std::uint32_t width,
               float* hidden, Stream on);

// hidden += delta, if there is one; then normed = hidden / sqrt(mean(hidden^2) + epsilon) * weight, rounded.
struct AddRmsNorm {
  float* hidden;        // [n_rows, width]
  const float* delta;   // [n_rows, width] or null
  const float* weight;  // [width]
  float epsilon;
  Bf16* normed;  // [n_rows, width]
  std::uint32_t n_rows, width;
};
void add_rms_norm(const AddRmsNorm& norm, Stream on);

void gather_rows(const Bf16* rows, const std::uint32_t* which, std::uint32_t n, std::uint32_t width,
                 Bf16* out, Stream on);

// ---- Attention.

// A layer's KV: [block][K, V][kv_head][block_size][head_dim] in BF16.
struct PagedKv {
  Bf16* data;
  std::uint32_t block_size, n_kv_heads, head_dim;
};

// Where a batch's rows lie: sequences by number, each with its first row, its rows, the position of the
// first, and where its blocks begin in `blocks`.
struct SequenceRows {
  std::uint32_t row_begin, n_rows, start_position, block_begin;
};
// Rows of one sequence that one thread block attends for, at most n_rows_of_item().
struct AttentionItem {
  std::uint32_t sequence, row_begin, n_rows;  // row_begin: in the batch
};
struct AttentionStep {
  const SequenceRows* sequences;
  const std::uint32_t* row_sequence;  // [n_rows]
  const std::uint32_t* blocks;
  const AttentionItem* items;
  std::uint32_t n_rows, n_items;
};
// 16 queries of a group of heads: so many rows. A group of more than 16 heads is refused by who loads a
// model.
constexpr std::uint32_t n_rows_of_item(std::uint32_t n_heads, std::uint32_t n_kv_heads) {
  return 16 / (n_heads / n_kv_heads);
}
constexpr std::uint32_t kMaxHeadDim = 256;

enum class HeadNorm : std::uint32_t { kNone, kPerHead, kFullWidth };

// qkv [n_rows, (n_heads + 2 n_kv_heads) head_dim] -> q, normed, rotated and rounded; k likewise, and v
// rounded, to their positions of the KV.
struct PrepareHeads {
  const float* qkv;
  HeadNorm norm;
  const float* q_norm;  // [head_dim] or [n_heads head_dim]
  const float* k_norm;
  float epsilon;
  const float* cosines;  // [positions, rotary_dim / 2]
  const float* sines;
  std::uint32_t rotary_dim, n_heads;
  Bf16* q;  // [n_rows, n_heads, head_dim]
};
void prepare_heads(const PrepareHeads& heads, const AttentionStep& step, const PagedKv& kv, Stream on);

// Causal attention of each row over positions 0 to its own, whose KV is there.
void attend(const Bf16* q, const AttentionStep& step, const PagedKv& kv, float scale, std::uint32_t n_heads,
            Bf16* out, Stream on);

// ---- Experts.

constexpr std::uint32_t kMaxExperts = 512, kMaxTopK = 32;

// The top_k experts of each row, highest logit first, ties to the lower id; weights as kernels/router.h says.
struct Route {
  const float* logits;  // [n_rows, n_experts]
  std::uint32_t n_rows, n_experts, top_k;
  bool over_all;       // the softmax goes over all experts, else over the chosen
  std::uint32_t* ids;  // [n_rows, top_k]
  float* weights;      // [n_rows, top_k]
};
void route(const Route& routed, Stream on);

// Which rows each slot computes, made on the device. An entry is row * top_k + place.
struct SlotLists {
  std::uint32_t* begin;    // [n_slots + 1] of each slot's entries
  std::uint32_t* entries;  // [n_rows top_k]
  std::uint32_t* items;    // [max_items, 3]: slot, first place in `entries`, count
  std::uint32_t* n_items;  // [1]
};
// Entries of an item, at most: no bit depends on it.
constexpr std::uint32_t kItemRows = 256;
std::uint32_t max_items(std::uint32_t n_entries, std::uint32_t n_slots);
void group_by_slot(const std::uint32_t* slots, std::uint32_t n_entries, std::uint32_t n_slots,
                   const SlotLists& lists, Stream on);

// An expert lies in its slot as gate | up [intermediate, hidden] each, then down [hidden, intermediate].
struct ExpertMlp {
  const Bf16* slots;
  std::uint32_t n_slots, hidden_size, intermediate_size;
  const Bf16* x;  // [n_rows, hidden_size]
  std::uint32_t n_rows, top_k;
  SlotLists lists;
  Bf16* middle;  // [n_rows top_k, intermediate_size]: silu(gate) up
  Bf16* out;     // [n_rows top_k, hidden_size], by entry
};
void expert_mlp(const ExpertMlp& mlp, Stream on);

// hidden[row] += the sum over j = 0..top_k-1, in this order, of weights[row][j] * rows[row][j], by fused
// multiply-add from zero; then normed as in add_rms_norm.
struct CombineNorm {
  const Bf16* rows;      // [n_rows, top_k, width]
  const float* weights;  // [n_rows, top_k]
  std::uint32_t top_k;
  AddRmsNorm norm;  // delta is null
};
void combine_norm(const CombineNorm& combine, Stream on);

// ---- Sampling.

struct Edit {
  std::int32_t token;
  float divisor, bias;
};
// As kernels/sampling.h has it; offsets are into the step's arrays.
struct DrawRow {
  std::uint32_t mask_begin, has_mask;  // in words of 64 tokens
  std::uint32_t edit_begin, n_edits;
  float temperature, top_p, min_p, uniform;
  std::int32_t top_k;
  std::int32_t n_logprobs;  // -1: none, not even the token's
};
struct Drawn {
  std::int32_t token;     // -1: none
  std::uint32_t outcome;  // SamplingOutcome
  float logprob;
};
struct TopLogprob {
  std::int32_t token;
  float logprob;
};
constexpr std::uint32_t kMaxTopLogprobs = 20;
struct Sample {
  const float* logits;  // [n_rows, vocab_size]
  std::uint32_t n_rows, vocab_size;
  const DrawRow* rows;
  const std::uint64_t* masks;
  const Edit* edits;
  float* changed;   // [n_rows, vocab_size]
  Drawn* drawn;     // [n_rows]
  TopLogprob* top;  // [n_rows, kMaxTopLogprobs]
};
void sample(const Sample& step, Stream on);

// As kernels/scoring.h has it: of rows whose token is known.
struct ScoreRow {
  std::int32_t token;
  std::uint32_t n_top;  // kMaxTopLogprobs at most
};
struct Score {
  float logprob;
  std::uint32_t rank;
};
struct Scoring {
  const float* logits;  // [n_rows, vocab_size]
  std::uint32_t n_rows, vocab_size;
  const ScoreRow* rows;
  Score* scores;    // [n_rows]
  TopLogprob* top;  // [n_rows, kMaxTopLogprobs]
};
void score(const Scoring& scoring, Stream on);

// ---- Weights that nobody trained.

// Normal numbers of that deviation, each a function of (seed, place).
void fill_random(Bf16* to, std::uint64_t n, float deviation, std::uint64_t seed, Stream on);

// ---- For the test of the rule that all products rest on (docs/row_invariance.md).

enum class Instruction : std::uint32_t {
  kMma,
  kMmaSwapped,
  kWgmma8,
  kWgmma16,
  kWgmma32,
  kWgmma64,
  kWgmma128,
  kWgmma256,
  kWgmmaRegisters64
};
constexpr std::uint32_t kInstructions = 9;
const char* name_of(Instruction instruction);
// y[64][256] = x[256][n_in] @ weight[64][n_in]^T, each output one chain, by that instruction.
void chain_by(Instruction instruction, const Bf16* weight, const Bf16* x, float* y, std::uint32_t n_in,
              Stream on);

}  // namespace concertina::kernels::cuda
