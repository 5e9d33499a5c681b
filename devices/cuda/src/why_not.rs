//! Why no GPU is used.

use std::env;

/// Why no GPU is used, in words that say what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WhyNot {
    /// There is no driver library.
    #[error(
        "libcuda.so.1 is not installed: install NVIDIA's driver; nothing else of CUDA is needed"
    )]
    NoLibrary,
    /// The driver is too old: it lacks a function.
    #[error(
        "the NVIDIA driver is too old, it lacks {lacks}: install version 470 (CUDA 11.4) or newer"
    )]
    OldDriver {
        /// The function.
        lacks: &'static str,
    },
    /// The library is the one that comes with the toolkit for linking, not the driver's.
    #[error(
        "the libcuda.so found first is the toolkit's stub, not the driver's: take its folder out of \
         LD_LIBRARY_PATH"
    )]
    Stub,
    /// The driver is there and says no.
    #[error("the NVIDIA driver does not start: {0}")]
    Refuses(String),
    /// The driver sees no GPU, or is told to show none.
    #[error("the NVIDIA driver shows no GPU{}", hidden(.visible))]
    NoDevice {
        /// What `CUDA_VISIBLE_DEVICES` says, where it is set.
        visible: Option<String>,
    },
    /// There are GPUs, and none of them can be used.
    #[error("no GPU can be used: {}", .0.join("; "))]
    Unusable(
        /// Each one's name, and why.
        Vec<String>,
    ),
    /// This process is a forked child.
    #[error(transparent)]
    Forked(#[from] unlade_hal::fork::Forked),
}

impl WhyNot {
    pub(crate) fn no_device() -> Self {
        let visible = env::var("CUDA_VISIBLE_DEVICES").ok();
        WhyNot::NoDevice { visible }
    }
}

fn hidden(visible: &Option<String>) -> String {
    match visible {
        Some(visible) => format!(": CUDA_VISIBLE_DEVICES is `{visible}`"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_hides_the_gpus_is_named() {
        let hidden = WhyNot::NoDevice {
            visible: Some(String::new()),
        };
        assert!(hidden.to_string().ends_with("CUDA_VISIBLE_DEVICES is ``"));
        let none = WhyNot::NoDevice { visible: None };
        assert!(none.to_string().ends_with("no GPU"));
    }
}
