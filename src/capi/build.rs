//! The name by which programs find the library when they start. It changes with the major version alone.

use std::env::var;

fn main() {
    let major = var("CARGO_PKG_VERSION_MAJOR").unwrap_or_default();
    let argument = match var("CARGO_CFG_TARGET_VENDOR").as_deref() {
        Ok("apple") => format!("-Wl,-install_name,@rpath/libantiphon.{major}.dylib"),
        _ => format!("-Wl,-soname,libantiphon.so.{major}"),
    };
    println!("cargo:rustc-cdylib-link-arg={argument}");
    println!("cargo:rerun-if-changed=build.rs");
}
