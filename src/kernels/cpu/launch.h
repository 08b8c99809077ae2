#pragma once

#include "kernels/combine.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/experts.h"
#include "kernels/linear.h"
#include "kernels/paged_attention.h"
#include "kernels/prepare_heads.h"
#include "kernels/rms_norm.h"
#include "kernels/router.h"
#include "kernels/sampling.h"
#include "kernels/scoring.h"

// The ops on the CPU. x.cc checks shapes and calls cpu/x.cc; what an argument is stands in x.h.
namespace concertina::kernels::cpu {

void embedding(std::span<const TokenId> tokens, const tensor::Weight& table, std::span<float> out,
               device::Stream& on);
void rms_norm(std::span<const float> x, const tensor::Weight& weight, float epsilon, std::span<float> y,
              std::size_t n_rows, device::Stream& on);
void add_rms_norm(std::span<float> hidden, std::span<const float> delta, const tensor::Weight& weight,
                  float epsilon, std::span<float> y, std::size_t n_rows, device::Stream& on);
void linear(std::span<const float> x, std::span<const Projection> projections, std::size_t n_rows,
            device::Stream& on, const RowRoom& room);
void prepare_heads(std::span<float> q, std::span<float> k, std::span<const float> v,
                   std::span<const AttentionSequence> sequences, const HeadsPreparation& preparation,
                   std::size_t n_heads, const PagedKv& kv, device::Stream& on);
void paged_attention(std::span<const float> q, std::span<const AttentionSequence> sequences,
                     const PagedKv& kv, float scale, std::size_t n_heads, std::span<float> scratch,
                     std::span<float> out, device::Stream& on);
std::size_t attention_scratch_floats(std::size_t head_dim, std::size_t n_threads);
void route(std::span<const float> logits, std::size_t n_experts, std::size_t top_k, RouterWeights mode,
           std::span<ExpertId> ids, std::span<float> weights, device::Stream& on);
void expert_mlp(std::span<const ExpertRows> groups, std::span<float> scratch, device::Stream& on,
                const RowRoom& room);
void combine_rows(std::span<const float* const> rows, std::span<const float> weights, std::size_t n_tokens,
                  std::size_t top_k, std::size_t hidden_size, std::span<float> out, device::Stream& on);
void silu_multiply(std::span<const float> gate, std::span<const float> up, std::span<float> out,
                   device::Stream& on);
tensor::Weight quantize_int8(const tensor::Weight& weight);
void sample(std::span<const float> logits, std::size_t vocab_size, std::span<const SamplingRow> rows,
            SamplingScratch& scratch, Sampled& out, device::Stream& on);
void score(std::span<const float> logits, std::size_t vocab_size, std::span<const ScoringRow> rows,
           SamplingScratch& scratch, std::size_t first_row, Scored& out, device::Stream& on);

// Row first_row + m of `room` = rows[m] in `form`, m in [0, rows.size()); each is [width]. By this thread.
void narrow_rows(std::span<const float* const> rows, std::size_t width, RowForm form, const RowRoom& room,
                 std::size_t first_row, device::InstructionSet set);

// Row m of `room` = row m of x, [n_rows, width]; by the threads of the stream.
void narrow_rows(std::span<const float> x, std::size_t width, RowForm form, const RowRoom& room,
                 device::Stream& on);

}  // namespace concertina::kernels::cpu
