#![no_main]

use std::sync::LazyLock;

static SCRATCH: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a scratch directory"));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| understudy_checkpoints::fuzz::segment(SCRATCH.path(), bytes));
