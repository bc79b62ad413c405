//! libFuzzer's bytes to the entry point of the same name.
#![no_main]

#[path = "../src/unwind.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(
    init: agenttrace_fuzz::one_thread(),
    |data: &[u8]| entry::unwind(data)
);
