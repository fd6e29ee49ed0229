// Matrices whose surroundings are watched.
#pragma once

#include <cstdint>
#include <vector>

#include "checks/random.h"
#include "core/matrix.h"

namespace pyscale::checks {

// A matrix in a mapping of its own, between two pages that may not be touched. It lies against
// either of them or anywhere between, its rows some elements further apart than they are long.
// All bytes but its elements are 0xff, which is NaN in every type: used by mistake, they show.
class Fenced {
 public:
  Fenced(Random& random, int64_t rows, int64_t columns, DType dtype);
  ~Fenced();
  Fenced(const Fenced&) = delete;
  Fenced& operator=(const Fenced&) = delete;

  const Matrix& matrix() const { return matrix_; }
  int64_t rows() const { return matrix_.rows; }
  int64_t columns() const { return matrix_.columns; }
  double get(int64_t i, int64_t j) const;
  void set(int64_t i, int64_t j, double value);

  void protect();                     // an input: whoever writes to it faults
  void remember();                    // an output: what its bytes are now
  bool as_remembered() const;         // every byte
  bool as_remembered_beside() const;  // every byte but the elements

 private:
  Matrix matrix_;
  char* pages_;  // between the fences
  int64_t bytes_;
  std::vector<char> remembered_;
};

}  // namespace pyscale::checks
