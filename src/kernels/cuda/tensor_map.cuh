#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <initializer_list>

#include "kernels/cuda/launch.h"

// How the copy engine sees a weight: a tensor of which it brings boxes to shared memory, 128 bytes of K wide and
// swizzled, with zeros for what lies outside.
namespace concertina::kernels::cuda {

// A dimension beside K: how many, how far apart in elements, how many a box has.
struct MapDimension {
  uint64_t n, stride;
  uint32_t n_in_box;
};

constexpr uint32_t kBoxDepth = 64;  // of K: 128 bytes

inline bool encode_map(const Bf16* base, uint64_t n_in, std::initializer_list<MapDimension> others, CUtensorMap& map) {
  static const auto encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found;
    cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
    return found == cudaDriverEntryPointSuccess ? reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function) : nullptr;
  }();
  if (encode == nullptr || reinterpret_cast<uintptr_t>(base) % 16 != 0) return false;
  cuuint64_t sizes[5] = {n_in}, strides[4];
  cuuint32_t box[5] = {kBoxDepth}, steps[5] = {1, 1, 1, 1, 1};
  uint32_t rank = 1;
  for (const MapDimension& d : others) {
    sizes[rank] = d.n, strides[rank - 1] = d.stride * sizeof(Bf16), box[rank] = d.n_in_box;
    ++rank;
  }
  return encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, rank, const_cast<Bf16*>(base), sizes, strides, box, steps,
                CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

}  // namespace concertina::kernels::cuda
