#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| understudy_actors::fuzz::payload(bytes));
