//! Round trips against the bare limits.
fn main() {}
