//! The header that is checked in is the one that cbindgen makes of the code, and the library exports what it declares.
#![allow(missing_docs)]

use std::path::Path;

#[test]
fn the_header_is_as_the_code_has_it() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = home.join("../../include/antiphon.h");
    let mut made = Vec::new();
    cbindgen::generate(home).expect("cbindgen").write(&mut made);
    if std::env::var_os("ANTIPHON_RENEW_HEADER").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let there = std::fs::read(&path).unwrap_or_default();
    assert!(
        there == made,
        "include/antiphon.h is not what cbindgen makes of src/: run ANTIPHON_RENEW_HEADER=1 cargo test \
         --manifest-path src/capi/Cargo.toml --test header, and look at the difference"
    );
}
