// What co-moments need besides the tile kernel: part of kernels.inl, which includes this file.

// ---- spread: a row of a matrix to one step of many slices ----

template <class From>
void spread(double* __restrict__ panel, const void* row, const double* shift, int64_t count,
            int64_t slice) {
  constexpr int lanes = kLanes<double>;
  const auto* from = static_cast<const From*>(row);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes, panel += slice)
    for (int e = 0; e < lanes; ++e)
      panel[e] = static_cast<double>(from[i + e].value()) - shift[i + e];
  for (int e = 0; i < count && e < lanes; ++e)
    panel[e] = i + e < count ? static_cast<double>(from[i + e].value()) - shift[i + e] : 0;
}

// ---- add_tile, mirror_tile: from a tile to the caller's matrix ----

template <int edge>
void add_tile(double* S, int64_t pitch, double* tile, int64_t rows, int64_t columns,
              bool diagonal) {
  constexpr int lanes = kLanes<double>;
  for (int64_t i = 0; i < rows; ++i, S += pitch, tile += edge) {
    const int64_t count = diagonal ? i + 1 : columns;
    int64_t j = 0;
    for (; j + lanes <= count; j += lanes) {
      const Vector<double> sum = read(S + j) + read(tile + j);
      write(S + j, sum);
      write(tile + j, sum);
    }
    for (; j < count; ++j) tile[j] = S[j] += tile[j];
  }
}

template <int edge>
void mirror_tile(double* S, int64_t pitch, const double* tile, int64_t rows, int64_t columns,
                 bool diagonal) {
  constexpr int lanes = kLanes<double>;
  for (int64_t i = 0; i < rows; i += lanes)
    for (int64_t j = 0; j < columns && !(diagonal && j > i); j += lanes) {
      if (i + lanes <= rows && j + lanes <= columns && !(diagonal && j == i)) {
        Vector<double> square[lanes];
#pragma GCC unroll 16
        for (int r = 0; r < lanes; ++r) square[r] = read(tile + (i + r) * edge + j);
        transpose<double>(square);
#pragma GCC unroll 16
        for (int r = 0; r < lanes; ++r) write(S + (j + r) * pitch + i, square[r]);
        continue;
      }
      for (int64_t r = i; r < rows && r < i + lanes; ++r)
        for (int64_t c = j; c < (diagonal ? r : columns) && c < j + lanes; ++c)
          S[c * pitch + r] = tile[r * edge + c];
    }
}
