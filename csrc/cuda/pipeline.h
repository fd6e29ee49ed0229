// A ring of stages in shared memory between the warps that fill them and those that multiply.
//
// Every stage has the mbarriers `full` and `empty`, completed in turn, and between them `landed`
// where what the copy engine brings is converted before it is multiplied. The ring is walked with a
// Turn, which knows the stage and the parity of the present lap; each of those who walk it keeps
// its own and never counts anything else.
#pragma once

#include "cuda/ptx.h"

namespace pyscale::cuda {

constexpr int kSharedMost = 227 << 10;  // bytes of shared memory of a Hopper thread block
constexpr int kBarrierBytes = 1024;     // of these for barriers
constexpr int kStageLeast = 8 << 10;    // bytes
static_assert(3 * sizeof(uint64_t) * ((kSharedMost - kBarrierBytes) / kStageLeast) <=
              kBarrierBytes);

#ifdef PYSCALE_HOPPER

struct Turn {
  int stage = 0;
  uint32_t parity = 0;
};

class Ring {
 public:
  // As many stages of that size as shared memory holds. Called by all threads of the block, of
  // which the first initialises. A phase of `full` takes `fills` arrivals, one of `empty` `reads`,
  // one of `landed` that of who asks the copy engine.
  __device__ Ring(int stage_bytes, uint32_t fills, uint32_t reads)
      : memory_(shared_memory()),
        full_(reinterpret_cast<uint64_t*>(memory_ + kSharedMost - kBarrierBytes)),
        bytes_(stage_bytes),
        stages_((kSharedMost - kBarrierBytes) / stage_bytes),
        empty_(full_ + stages_),
        landed_(empty_ + stages_) {
    if (threadIdx.x == 0) {
      for (int s = 0; s < stages_; ++s) {
        barrier_init(full_ + s, fills);
        barrier_init(empty_ + s, reads);
        barrier_init(landed_ + s, 1);
      }
      fence_barrier_init();
      fence_async();
    }
    __syncthreads();
  }

  // The stage, once its readers of the lap before are done with it. The barriers are new in the
  // first lap: their phase of the other parity counts as complete.
  __device__ unsigned char* wait_empty(const Turn& turn) const {
    barrier_wait(empty_ + turn.stage, turn.parity ^ 1);
    return memory_ + turn.stage * bytes_;
  }

  // The stage, once the copy engine has brought it.
  __device__ unsigned char* wait_landed(const Turn& turn) const {
    barrier_wait(landed_ + turn.stage, turn.parity);
    return memory_ + turn.stage * bytes_;
  }

  // The stage's address in shared memory, once it is filled.
  __device__ uint32_t wait_full(const Turn& turn) const {
    barrier_wait(full_ + turn.stage, turn.parity);
    return shared_address(memory_) + static_cast<uint32_t>(turn.stage * bytes_);
  }

  __device__ int stages() const { return stages_; }

  // What the copy engine is to tell of its bytes.
  __device__ uint64_t* full(const Turn& turn) const { return full_ + turn.stage; }
  __device__ uint64_t* landed(const Turn& turn) const { return landed_ + turn.stage; }

  // One arrival for all that this warp wrote to the stage.
  __device__ void fill(const Turn& turn) const {
    fence_async();
    __syncwarp();
    if (threadIdx.x % kWarp == 0) barrier_arrive(full_ + turn.stage);
  }

  // One arrival for all that this warp read of the stage.
  __device__ void release(int stage) const {
    if (threadIdx.x % kWarp == 0) barrier_arrive(empty_ + stage);
  }

  __device__ void advance(Turn& turn) const {
    if (++turn.stage < stages_) return;
    turn.stage = 0;
    turn.parity ^= 1;
  }

 private:
  unsigned char* memory_;
  uint64_t* full_;
  int bytes_, stages_;
  uint64_t *empty_, *landed_;
};

#endif  // PYSCALE_HOPPER

}  // namespace pyscale::cuda
