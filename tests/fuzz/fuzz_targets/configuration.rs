#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pairwise_host::fuzz::configuration(bytes));
