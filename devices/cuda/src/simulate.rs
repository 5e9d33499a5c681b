//! Choosing the simulated driver in the place of a real one.
//!
//! A process has one driver. [`simulate`] loads `libunlade_sim_gpu.so`, which says that it is
//! `libcuda.so`, before anything asks for that; the dynamic linker then hands it out to whoever
//! does.

use std::ffi::{CStr, CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{env, fs, ptr};

use crate::driver::{Driver, SIMULATOR};

/// Where the library is, if it is not beside the program.
const VARIABLE: &str = "UNLADE_SIM_GPU_LIBRARY";

/// The library's file.
const LIBRARY: &str = "libunlade_sim_gpu.so";

/// Why the simulated driver is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotSimulate {
    /// The library is nowhere.
    #[error(
        "there is none of {}: `cargo build --release -p unlade-sim-gpu` makes \
         target/release/{LIBRARY}; copy that to one of these places, or set {VARIABLE} to its path",
        .looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NotFound {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// A driver is there already.
    #[error(
        "this process has already loaded {0}: a process has one driver, so choose the simulated GPU \
         before anything asks for CUDA"
    )]
    OtherDriver(String),
    /// The library is not what it should be.
    #[error("{path} is not the simulated GPU: {what}")]
    Unusable {
        /// The library.
        path: String,
        /// What is wrong with it.
        what: String,
    },
}

/// Makes the simulated GPU this process's only one: devices are found as `sim-gpu:0` and so on. It
/// is looked for where `UNLADE_SIM_GPU_LIBRARY` says; else beside the program, in `deps` beside it,
/// and in `../lib/unlade` from it. Nothing happens where that is done already.
///
/// # Errors
/// Where the library is not found, or another driver was loaded first.
pub fn simulate() -> Result<(), CannotSimulate> {
    if let Some(loaded) = loaded_driver() {
        return Err(CannotSimulate::OtherDriver(loaded));
    }
    let looked = places();
    let Some(path) = looked.iter().find(|path| path.is_file()) else {
        return Err(CannotSimulate::NotFound { looked });
    };
    // The name by which the linker knows it is the one that it is found by below.
    let path = path.canonicalize().unwrap_or_else(|_error| path.clone());
    let unusable = |what: String| CannotSimulate::Unusable {
        path: path.display().to_string(),
        what,
    };
    load(&path).map_err(unusable)?;
    match Driver::open() {
        Ok(driver) if driver.is_simulated() => Ok(()),
        Ok(_) => Err(unusable("CUDA finds another driver".to_owned())),
        Err(why) => Err(unusable(why.to_string())),
    }
}

/// Where the library is looked for, in order.
fn places() -> Vec<PathBuf> {
    if let Some(path) = env::var_os(VARIABLE) {
        return vec![path.into()];
    }
    let program = env::current_exe().unwrap_or_default();
    let beside = program.parent().unwrap_or(Path::new("."));
    ["", "deps", "../lib/unlade"]
        .map(|folder| beside.join(folder).join(LIBRARY))
        .to_vec()
}

/// A CUDA driver that is mapped into this process and is not the simulated one.
fn loaded_driver() -> Option<String> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let path = |line: &str| Some(line.get(line.find('/')?..)?.to_owned());
    let is_driver = |path: &String| {
        let file = path.rsplit('/').next().unwrap_or_default();
        file.starts_with("libcuda.so")
    };
    maps.lines().filter_map(path).find(is_driver)
}

/// Loads the library for as long as the process lives, and looks whether it is the one.
fn load(path: &Path) -> Result<(), String> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: Loading a library runs its initialisers; this one has none but Rust's own. It is
    // never closed.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        return Err(linker_error());
    }
    symbol(library, SIMULATOR)?;
    let entry = symbol(library, b"cuInit\0")?;
    let mut found = libc::Dl_info {
        dli_fname: ptr::null(),
        dli_fbase: ptr::null_mut(),
        dli_sname: ptr::null(),
        dli_saddr: ptr::null_mut(),
    };
    // SAFETY: It fills the one structure that it is pointed to.
    let known = unsafe { libc::dladdr(entry, &raw mut found) };
    if known == 0 || found.dli_fname.is_null() {
        return Err("its entry points belong to no library".to_owned());
    }
    // SAFETY: The linker's own text, which lives as long as the library.
    let owner = unsafe { CStr::from_ptr(found.dli_fname) };
    match owner == name.as_c_str() {
        true => Ok(()),
        false => Err(format!(
            "its entry points are those of {}",
            owner.to_string_lossy()
        )),
    }
}

/// The address of a symbol, whose name ends with a zero.
fn symbol(library: *mut c_void, name: &[u8]) -> Result<*const c_void, String> {
    let name = CStr::from_bytes_with_nul(name).map_err(|error| error.to_string())?;
    // SAFETY: The library is open, and the name a text.
    let address = unsafe { libc::dlsym(library, name.as_ptr()) };
    match address.is_null() {
        true => Err(format!("it lacks {}", name.to_string_lossy())),
        false => Ok(address),
    }
}

fn linker_error() -> String {
    // SAFETY: The thread's last error, which is read before another call can change it.
    let error = unsafe { libc::dlerror() };
    if error.is_null() {
        return "it cannot be loaded".to_owned();
    }
    // SAFETY: It is not null, and so a text.
    unsafe { CStr::from_ptr(error) }
        .to_string_lossy()
        .into_owned()
}
