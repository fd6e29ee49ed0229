// Some features of both operands of a product, packed for the tile kernel.
#pragma once

#include <optional>

#include "cpu/grid.h"
#include "cpu/panels.h"
#include "cpu/parallel.h"
#include "cpu/sample.h"

namespace pyscale::cpu {

// In T = float or double, less a shift where one is asked for; or as pairs of bfloat16 numbers
// where those would do as they lie in memory.
template <class T>
class Chunk {
 public:
  // Of A B^T. A's are B's where the grid is symmetric.
  Chunk(const Matrix& A, const Matrix& B, const Grid& grid);

  // Chooses the features that `pack` packs: less the sample's shift, or none where that is null.
  void choose(Range features, const Sample<T>* sample);

  // Packs some panels, A's counted first and then B's; threads may pack others at the same time.
  int64_t panels() const { return a_.count() + (b_ ? b_->count() : 0); }
  void pack(Range panels);

  // Adds the chunk's part of the product to a tile, once all panels are packed.
  void multiply(double* tile, Cell at, Ahead& ahead) const;

 private:
  template <class U>
  void multiply(double* tile, Cell at, const Panels<U>& a, const Panels<U>& b, Ahead& ahead) const;

  Matrix A_, B_;
  Grid grid_;
  Panels<T> a_;
  std::optional<Panels<T>> b_;
  std::optional<Panels<Pair>> pairs_;
  Range features_{0, 0};
  bool in_pairs_ = false;
  alignas(64) T shift_[kDepth];
};

}  // namespace pyscale::cpu
