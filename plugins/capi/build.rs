//! Gives the shared library the name under which programs look for it. Its number is that of the
//! ABI: `UNLADE_ABI_MAJOR`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libunlade.so.0");
}
