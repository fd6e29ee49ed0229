#include "emulator/tensor_map.h"

#include <algorithm>
#include <cstring>

#include "emulator/block.h"
#include "emulator/fail.h"

namespace pyscale::emulator {
namespace {

constexpr uint64_t kMark = 0x70616D726F736E74;
constexpr uint32_t kMostBox = 256;  // elements of a box in each dimension
constexpr uint32_t kPiece = 16;     // bytes: what addresses, pitches and rows are multiples of
constexpr uint32_t kSwizzledRow = 128;
constexpr uint32_t kAtOnce = 4;  // one load in so many lands as soon as it is issued

uint32_t size_of(CUtensorMapDataType type) {
  switch (type) {
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT16:
    case CU_TENSOR_MAP_DATA_TYPE_BFLOAT16:
    case CU_TENSOR_MAP_DATA_TYPE_UINT16:
      return 2;
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT32:
    case CU_TENSOR_MAP_DATA_TYPE_UINT32:
    case CU_TENSOR_MAP_DATA_TYPE_INT32:
      return 4;
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT64:
    case CU_TENSOR_MAP_DATA_TYPE_UINT64:
    case CU_TENSOR_MAP_DATA_TYPE_INT64:
      return 8;
    default:
      return 0;
  }
}

TensorMap decode(const CUtensorMap* opaque) {
  TensorMap map;
  std::memcpy(&map, opaque, sizeof(map));
  if (map.mark != kMark) fail("load_tile: the tensor map was not encoded");
  return map;
}

}  // namespace

CUresult encode_tensor_map(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank,
                           void* address, const cuuint64_t* dimensions, const cuuint64_t* strides,
                           const cuuint32_t* box, const cuuint32_t* element_strides,
                           CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                           CUtensorMapL2promotion, CUtensorMapFloatOOBfill fill) {
  const uint32_t size = size_of(type);
  if (rank != 2 || size == 0 || interleave != CU_TENSOR_MAP_INTERLEAVE_NONE ||
      fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE ||
      (swizzle != CU_TENSOR_MAP_SWIZZLE_128B && swizzle != CU_TENSOR_MAP_SWIZZLE_NONE))
    return CUDA_ERROR_NOT_SUPPORTED;  // by the emulator
  const bool swizzled = swizzle == CU_TENSOR_MAP_SWIZZLE_128B;
  bool good = map != nullptr && address != nullptr &&
              reinterpret_cast<uintptr_t>(address) % kPiece == 0 && strides[0] % kPiece == 0 &&
              strides[0] < uint64_t{1} << 40 && box[0] * size % kPiece == 0 &&
              (!swizzled || box[0] * size <= kSwizzledRow);
  for (int i = 0; i < 2; ++i)
    good = good && dimensions[i] > 0 && dimensions[i] <= uint64_t{1} << 32 && box[i] > 0 &&
           box[i] <= kMostBox && element_strides[i] == 1;
  if (!good) return CUDA_ERROR_INVALID_VALUE;
  const TensorMap encoded{kMark,         static_cast<const unsigned char*>(address),
                          dimensions[0], dimensions[1],
                          strides[0],    box[0],
                          box[1],        size,
                          swizzled};
  *map = {};
  std::memcpy(map, &encoded, sizeof(encoded));
  return CUDA_SUCCESS;
}

void TileLoads::issue(void* to, const CUtensorMap* opaque, uint64_t* word, int column, int row) {
  const TensorMap map = decode(opaque);
  if (map.swizzled && map.row_bytes() != kSwizzledRow)
    fail("load_tile: a swizzled box of ", map.row_bytes(), " bytes a row; the emulator takes ",
         kSwizzledRow);
  const uint32_t destination =
      block.shared.offset(to, map.box_bytes(), kSwizzleAlignment, "load_tile's destination");
  TransactionBarrier& barrier = block.transactions.at(word, "load_tile");
  if (!barrier.published)
    fail("load_tile: no fence_barrier_init came between barrier_init and the use of ",
         barrier.describe());
  block.shared.poison(destination, map.box_bytes());
  const Load load{map, &barrier, destination, column, row};
  if (block.scheduler.random().once_in(kAtOnce))
    land(load);
  else
    loads_.push_back(load);
}

void TileLoads::complete_one(Random& random) {
  const size_t i = random.below(static_cast<uint32_t>(loads_.size()));
  std::swap(loads_[i], loads_.back());
  const Load load = loads_.back();
  loads_.pop_back();
  land(load);
}

// Row by row; what lies outside of the tensor is 0.
void TileLoads::land(const Load& load) {
  const TensorMap& map = load.map;
  const int64_t begin = std::max<int64_t>(load.column, 0);
  const int64_t end = std::min(load.column + map.box_columns, static_cast<int64_t>(map.columns));
  std::vector<unsigned char> line(map.row_bytes());
  for (uint32_t r = 0; r < map.box_rows; ++r) {
    const int64_t row = load.row + r;
    std::fill(line.begin(), line.end(), static_cast<unsigned char>(0));
    if (row >= 0 && row < static_cast<int64_t>(map.rows) && begin < end)
      std::memcpy(line.data() + (begin - load.column) * map.size,
                  map.address + static_cast<uint64_t>(row) * map.pitch +
                      static_cast<uint64_t>(begin) * map.size,
                  static_cast<size_t>(end - begin) * map.size);
    for (uint32_t at = 0; at < map.row_bytes(); at += kPiece) {
      const uint32_t inside = r * map.row_bytes() + at;
      block.shared.write(load.destination + (map.swizzled ? swizzle128(inside) : inside),
                         line.data() + at, kPiece);
    }
  }
  load.barrier->complete(map.box_bytes());
}

}  // namespace pyscale::emulator
