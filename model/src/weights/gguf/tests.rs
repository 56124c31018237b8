//! Whole GGUF files.
