// Which instruction set's kernels run.
#pragma once

#include <vector>

#include "cpu/kernels.h"

namespace pyscale::cpu {

// The fastest kernels this machine can run, or those the environment variable PYSCALE_ISA names.
// Chosen at the first call that succeeds; a name that is unknown here, or more than the machine
// has, is an error that lists the others.
const Kernels& kernels();

// Every instruction set compiled in, fastest first, whether or not this machine has it.
const std::vector<const Kernels*>& compiled_kernels();

}  // namespace pyscale::cpu
