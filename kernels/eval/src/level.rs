//! Which instructions of the CPU the kernels may use, and the one place where they are entered.

use std::fmt;

use crate::frame::{Entry, Frame, Kernel, Step};
use crate::isa;

/// A set of CPU features that every kernel is compiled for.
///
/// A `Level` can only be had for the machine at hand ([`Level::PORTABLE`], [`Level::detect`],
/// [`Level::available`]), so that holding one proves that its instructions may be executed. All
/// levels give the same bits.
///
/// ```
/// use unlade_eval::Level;
///
/// assert!(Level::available().contains(&Level::PORTABLE));
/// assert_eq!(Level::available().last(), Some(&Level::detect()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(Features);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Features {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// No more than what the target architecture guarantees.
    pub const PORTABLE: Level = Level(Features::Portable);

    /// The best level of this machine.
    pub fn detect() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            if avx512_present() {
                return Level(Features::Avx512);
            }
            if avx2_present() {
                return Level(Features::Avx2);
            }
        }
        Level::PORTABLE
    }

    /// Every level of this machine, the best one last.
    pub fn available() -> &'static [Level] {
        #[cfg(target_arch = "x86_64")]
        {
            const ALL: [Level; 3] = [
                Level(Features::Portable),
                Level(Features::Avx2),
                Level(Features::Avx512),
            ];
            let usable = if !avx2_present() {
                1
            } else if !avx512_present() {
                2
            } else {
                3
            };
            &ALL[..usable]
        }
        #[cfg(not(target_arch = "x86_64"))]
        &[Level::PORTABLE]
    }

    /// The name: `portable`, `avx2` or `avx512`.
    pub const fn name(self) -> &'static str {
        match self.0 {
            Features::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Features::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Features::Avx512 => "avx512",
        }
    }

    /// The level for kernels that AVX-512 makes no faster: each one less is compiled sooner.
    pub(crate) fn without_avx512(self) -> Level {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // What implies the one implies the other.
            Features::Avx512 => Level(Features::Avx2),
            _ => self,
        }
    }

    /// The entry point of a kernel compiled for this level.
    pub(crate) fn entry<K: Kernel>(self) -> Entry {
        match self.0 {
            Features::Portable => portable::<K>,
            #[cfg(target_arch = "x86_64")]
            Features::Avx2 => avx2::<K>,
            #[cfg(target_arch = "x86_64")]
            Features::Avx512 => avx512::<K>,
        }
    }

    /// Runs a routine compiled for this level.
    #[inline]
    pub(crate) fn call<R: Routine>(self, routine: R) -> R::Output {
        match self.0 {
            Features::Portable => routine.run::<isa::Portable>(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this level is only ever made where `avx2_present`.
            Features::Avx2 => unsafe { call_avx2(routine) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this level is only ever made where `avx512_present`.
            Features::Avx512 => unsafe { call_avx512(routine) },
        }
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something to run once at a level, outside a program.
pub(crate) trait Routine {
    type Output;

    /// Must be `#[inline(always)]`, so that it is compiled with the features of its caller.
    fn run<I: isa::Isa>(self) -> Self::Output;
}

/// Haswell (2013), Zen and later.
#[cfg(target_arch = "x86_64")]
fn avx2_present() -> bool {
    // Miri interprets few vector intrinsics; it checks the portable level.
    !cfg!(miri)
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
}

/// Ice Lake (2019), Zen 4 and later. Skylake's AVX-512 has no byte compress and throttles: it
/// gets AVX2.
#[cfg(target_arch = "x86_64")]
fn avx512_present() -> bool {
    avx2_present()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vbmi2")
}

fn portable<K: Kernel>(step: &Step, frame: &mut Frame<'_, '_>) {
    K::run::<isa::Portable>(step, frame);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn avx2<K: Kernel>(step: &Step, frame: &mut Frame<'_, '_>) {
    K::run::<isa::Avx2>(step, frame);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(
    enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2"
)]
fn avx512<K: Kernel>(step: &Step, frame: &mut Frame<'_, '_>) {
    K::run::<isa::Avx512>(step, frame);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn call_avx2<R: Routine>(routine: R) -> R::Output {
    routine.run::<isa::Avx2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(
    enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2"
)]
fn call_avx512<R: Routine>(routine: R) -> R::Output {
    routine.run::<isa::Avx512>()
}
