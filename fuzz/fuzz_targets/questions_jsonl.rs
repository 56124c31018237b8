#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| understudy::fuzz::questions_jsonl(bytes));
