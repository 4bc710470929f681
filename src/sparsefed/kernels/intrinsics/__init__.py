"""Vector instructions for the kernels, written for LLVM."""
