#include "cpu/chunk.h"

#include <algorithm>
#include <type_traits>

namespace pyscale::cpu {

template <class T>
Chunk<T>::Chunk(const Matrix& A, const Matrix& B, const Grid& grid)
    : A_(A), B_(B), grid_(grid), a_(A.rows) {
  if (!grid.symmetric) b_.emplace(B.rows);
  const bool bfloat16 = std::is_same_v<T, float> && A.dtype == DType::bf16;
  if (bfloat16 && grid.symmetric && kernel_set<Pair>().multiply != nullptr) pairs_.emplace(A.rows);
}

template <class T>
void Chunk<T>::choose(Range features, const Sample<T>* sample) {
  features_ = features;
  if (sample)
    std::copy_n(sample->shift(), kDepth, shift_);
  else
    std::fill_n(shift_, kDepth, T{0});
  // Chunk by chunk: a centred Gram does not change with any feature's shift.
  in_pairs_ = pairs_ && (!sample || sample->near_zero());
}

template <class T>
void Chunk<T>::pack(Range panels) {
  const int64_t first = features_.begin, depth = features_.end - first, own = a_.count();
  if (in_pairs_) return pairs_->pack(panels, A_, first, depth, nullptr);
  a_.pack({panels.begin, std::min(panels.end, own)}, A_, first, depth, shift_);
  if (b_) b_->pack({std::max(panels.begin, own) - own, panels.end - own}, B_, first, depth, shift_);
}

template <class T>
void Chunk<T>::multiply(double* tile, Cell at, Ahead& ahead) const {
  if (in_pairs_) return multiply(tile, at, *pairs_, *pairs_, ahead);
  multiply(tile, at, a_, b_ ? *b_ : a_, ahead);
}

template <class T>
template <class U>
void Chunk<T>::multiply(double* tile, Cell at, const Panels<U>& a, const Panels<U>& b,
                        Ahead& ahead) const {
  const int64_t edge = grid_.edge;
  kernel_set<U>().multiply(tile, a.panel(at.row), b.panel(at.column),
                           divide_up(features_.end - features_.begin, kFeatures<U>),
                           std::min(edge, grid_.rows - at.row * edge),
                           std::min(edge, grid_.columns - at.column * edge),
                           grid_.symmetric && at.row == at.column, ahead);
}

template class Chunk<float>;
template class Chunk<double>;

}  // namespace pyscale::cpu
