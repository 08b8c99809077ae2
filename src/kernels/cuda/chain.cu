// The same chain by every instruction that products use or may come to use, for the test that they are one function.
#include <cuda_runtime.h>

#include "kernels/cuda/product.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace concertina::kernels::cuda {

namespace {

constexpr uint32_t kOut = 64, kRows = 256;

// Core matrices of 8 x 8: two side by side make K = 16, groups of 8 rows follow 256 bytes apart.
__device__ inline uint32_t core_place(uint32_t row, uint32_t k) {
  return (row / 8 * 2 + k / 8) * 64 + row % 8 * 8 + k % 8;
}
__device__ inline uint64_t descriptor(const Bf16* tile) {
  const auto address = static_cast<uint64_t>(__cvta_generic_to_shared(tile));
  return (address & 0x3ffff) >> 4 | uint64_t{128 >> 4} << 16 | uint64_t{256 >> 4} << 32;
}

__device__ inline void load_tile(const Bf16* from, uint32_t n_rows, uint32_t n_in, uint32_t k, Bf16* tile) {
  for (uint32_t i = threadIdx.x; i < n_rows * 16; i += blockDim.x)
    tile[core_place(i / 16, i % 16)] = from[static_cast<size_t>(i / 16) * n_in + k + i % 16];
}

__device__ inline void begin_group() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void end_group() {
  asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
}

enum class Operand { kShared, kRegisters };

// One warpgroup has N rows of x.
template <int N, Operand kOperand>
__global__ void __launch_bounds__(128) wgmma_kernel(const Bf16* weight, const Bf16* x, float* y, uint32_t n_in) {
  __shared__ __align__(128) Bf16 a_tile[kOut * 16], b_tile[N * 16];
  float d[N / 2] = {};
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, row_begin = blockIdx.x * N;
  for (uint32_t k = 0; k < n_in; k += 16) {
    load_tile(weight, kOut, n_in, k, a_tile);
    load_tile(x + static_cast<size_t>(row_begin) * n_in, N, n_in, k, b_tile);
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
    uint32_t a[4];
    for (int i = 0; i < 4; ++i)
      a[i] = *reinterpret_cast<const uint32_t*>(
          a_tile + core_place(warp * 16 + lane / 4 + i % 2 * 8, lane % 4 * 2 + i / 2 * 8));
    begin_group();
    if constexpr (kOperand == Operand::kShared) {
      wgmma<N>(d, descriptor(a_tile), descriptor(b_tile));
    } else {
      wgmma_registers64(d, a, descriptor(b_tile));
    }
    end_group();
    __syncthreads();
  }
  for (int i = 0; i < N / 2; ++i) {
    const uint32_t out = warp * 16 + lane / 4 + i / 2 % 2 * 8, row = row_begin + i / 4 * 8 + lane % 4 * 2 + i % 2;
    y[row * kOut + out] = d[i];
  }
}

// A warp has 16 rows of `m` by 8 of `n`; m is the weight, or x.
__global__ void mma_kernel(const Bf16* m, const Bf16* n, float* y, uint32_t n_in, uint32_t m_stride, uint32_t n_stride) {
  const uint32_t lane = threadIdx.x, m_begin = blockIdx.x * 16, n_begin = blockIdx.y * 8;
  WarpRows<1, 1> rows;
  for (int i = 0; i < 2; ++i) rows.weight[0][i] = m + static_cast<size_t>(m_begin + lane / 4 + i * 8) * n_in;
  rows.x[0] = n + static_cast<size_t>(n_begin + lane / 4) * n_in;
  float sums[1][1][4] = {};
  add_chain(rows, 0, n_in, sums);
  for_outputs(sums[0], [&](uint32_t of_m, uint32_t of_n, float sum) {
    y[(m_begin + of_m) * m_stride + (n_begin + of_n) * n_stride] = sum;
  });
}

}  // namespace

const char* name_of(Instruction instruction) {
  constexpr const char* kNames[] = {"mma.sync, weights as A", "mma.sync, rows as A", "wgmma n8",  "wgmma n16", "wgmma n32",
                                    "wgmma n64",              "wgmma n128",          "wgmma n256", "wgmma n64, A in registers"};
  return kNames[static_cast<uint32_t>(instruction)];
}

void chain_by(Instruction instruction, const Bf16* weight, const Bf16* x, float* y, std::uint32_t n_in, Stream on) {
  constexpr Operand kShared = Operand::kShared;
  switch (instruction) {
    case Instruction::kMma:
      return mma_kernel<<<dim3(kOut / 16, kRows / 8), kWarp, 0, on>>>(weight, x, y, n_in, 1, kOut);
    case Instruction::kMmaSwapped:
      return mma_kernel<<<dim3(kRows / 16, kOut / 8), kWarp, 0, on>>>(x, weight, y, n_in, kOut, 1);
    case Instruction::kWgmma8:
      return wgmma_kernel<8, kShared><<<kRows / 8, 128, 0, on>>>(weight, x, y, n_in);
    case Instruction::kWgmma16:
      return wgmma_kernel<16, kShared><<<kRows / 16, 128, 0, on>>>(weight, x, y, n_in);
    case Instruction::kWgmma32:
      return wgmma_kernel<32, kShared><<<kRows / 32, 128, 0, on>>>(weight, x, y, n_in);
    case Instruction::kWgmma64:
      return wgmma_kernel<64, kShared><<<kRows / 64, 128, 0, on>>>(weight, x, y, n_in);
    case Instruction::kWgmma128:
      return wgmma_kernel<128, kShared><<<kRows / 128, 128, 0, on>>>(weight, x, y, n_in);
    case Instruction::kWgmma256:
      return wgmma_kernel<256, kShared><<<kRows / 256, 128, 0, on>>>(weight, x, y, n_in);
    case Instruction::kWgmmaRegisters64:
      return wgmma_kernel<64, Operand::kRegisters><<<kRows / 64, 128, 0, on>>>(weight, x, y, n_in);
  }
}

}  // namespace concertina::kernels::cuda
