// TMA: tensor maps as the driver would encode them, and the loading of tiles.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <vector>

#include "emulator/random.h"

namespace pyscale::emulator {

class TransactionBarrier;

// What the emulator keeps in the 128 opaque bytes of a CUtensorMap: two dimensions, columns first.
struct TensorMap {
  uint64_t mark;
  const unsigned char* address;
  uint64_t columns, rows;
  uint64_t pitch;  // bytes
  uint32_t box_columns, box_rows;
  uint32_t size;  // bytes of an element
  bool swizzled;

  uint32_t row_bytes() const { return box_columns * size; }
  uint32_t box_bytes() const { return row_bytes() * box_rows; }
};
static_assert(sizeof(TensorMap) <= sizeof(CUtensorMap));

// The driver's cuTensorMapEncodeTiled, for two dimensions, with the 128-byte swizzle or none.
CUresult encode_tensor_map(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank,
                           void* address, const cuuint64_t* dimensions, const cuuint64_t* strides,
                           const cuuint32_t* box, const cuuint32_t* element_strides,
                           CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                           CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill);

// The tile loads of a block that are under way.
class TileLoads {
 public:
  void begin() { loads_.clear(); }
  bool empty() const { return loads_.empty(); }

  // Begins one: the destination is poisoned. One in four lands at once, the others when no thread
  // can run.
  void issue(void* to, const CUtensorMap* map, uint64_t* barrier, int column, int row);
  // Lands any one of those under way.
  void complete_one(Random& random);

 private:
  struct Load {
    TensorMap map;
    TransactionBarrier* barrier;
    uint32_t destination;
    int64_t column, row;
  };
  static void land(const Load& load);

  std::vector<Load> loads_;
};

}  // namespace pyscale::emulator
