//! libFuzzer's bytes to the entry point of the same name.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: agenttrace_fuzz::one_thread(),
    |data: &[u8]| agenttrace_fuzz::perf_compressed(data)
);
