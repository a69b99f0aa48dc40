//! Any bytes as the first packet of a connection: read or refused, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    rowgate::wire::read_startup(bytes);
});
