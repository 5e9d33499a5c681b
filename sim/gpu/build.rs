//! Gives the simulated driver the name by which CUDA programs look for the real one.
//!
//! The dynamic linker hands out what is already loaded under a name. So a program that has loaded
//! this library, and a test executable that contains it and exports its symbols, need no
//! `libcuda.so`: whoever asks for one gets the simulated one.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");
    println!("cargo:rustc-link-arg-tests=-rdynamic");
    println!("cargo:rustc-link-arg-tests=-Wl,-soname,libcuda.so");
}
