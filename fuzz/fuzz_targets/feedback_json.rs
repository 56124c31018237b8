#![no_main]

use std::sync::LazyLock;

use understudy::fuzz::Gateway;

static GATEWAY: LazyLock<(tempfile::TempDir, Gateway)> = LazyLock::new(|| {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let gateway = Gateway::new(scratch.path());
    (scratch, gateway)
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| GATEWAY.1.body(bytes));
