// The core's functions on drawn arguments, held to the definitions.
#pragma once

#include <stdexcept>

#include "checks/random.h"

namespace pyscale::checks {

// What was found to be wrong.
struct Wrong : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// One drawn case each. Throws Wrong.
void check_gram(Random& random);
void check_hsic_pairs(Random& random);
void check_self_moments(Random& random);
void check_cross_moments(Random& random);
void check_merge_moments(Random& random);

// Arguments that do not fit, of every kind: refused with an Error, and nothing is written.
void check_refusals(Random& random);

}  // namespace pyscale::checks
