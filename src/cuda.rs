//! libtorch's CUDA part, loaded at run time, so that one binary serves machines with and without a GPU.
//!
//! Invariant: a machine without an NVIDIA device never loads it unless the configuration insists on CUDA; once loaded it
//! stays for the life of the process.

use std::path::Path;
use std::sync::OnceLock;

/// What the NVIDIA driver makes where there is a device.
const DRIVER: &str = "/dev/nvidiactl";

/// Whether the driver sees a device.
pub fn has_driver() -> bool {
    Path::new(DRIVER).exists()
}

/// Loads `libtorch_cuda.so` from beside libtorch; the reason where it cannot be loaded. Done once.
pub fn load() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED
        .get_or_init(|| {
            // SAFETY: the library is libtorch's own; its initialisers register kernels and run before any tensor is made.
            #[expect(unsafe_code, reason = "loading a library runs its initialisers")]
            let library = unsafe { libloading::Library::new("libtorch_cuda.so") };
            let reason = |error: libloading::Error| {
                std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string)
            };
            library.map(std::mem::forget).map_err(reason)
        })
        .clone()
}
