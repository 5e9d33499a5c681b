//! The floating-point environment that results are defined in.

/// Round to nearest and no flushing to zero, for as long as this lives; then what was before.
///
/// Rust takes the default environment for granted everywhere, but the evaluator is called from
/// engines in other languages, on threads that they have set up as they like.
#[derive(Debug)]
pub(crate) struct FloatEnv {
    #[cfg(target_arch = "x86_64")]
    before: Option<u32>,
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::FloatEnv;

    /// All exceptions masked, round to nearest, denormals kept.
    const DEFAULT: u32 = 0x1f80;
    /// The exception flags, which are sticky and mean nothing here.
    const FLAGS: u32 = 0x3f;

    impl FloatEnv {
        pub(crate) fn standard() -> FloatEnv {
            let before = control();
            if before & !FLAGS == DEFAULT {
                return FloatEnv { before: None };
            }
            set_control(DEFAULT);
            FloatEnv {
                before: Some(before),
            }
        }
    }

    impl Drop for FloatEnv {
        fn drop(&mut self) {
            if let Some(before) = self.before {
                set_control(before);
            }
        }
    }

    #[cfg(not(miri))]
    pub(super) fn control() -> u32 {
        let mut control = 0u32;
        // SAFETY: stores four bytes to a variable of four bytes.
        unsafe {
            std::arch::asm!(
                "stmxcsr [{}]", in(reg) &mut control, options(nostack, preserves_flags)
            );
        }
        control
    }

    #[cfg(not(miri))]
    pub(super) fn set_control(control: u32) {
        // SAFETY: sets the register either to the environment that Rust assumes or back to what
        // the caller, who is not bound by that assumption, had it at; all exceptions were masked
        // by whoever chose the latter, or are their affair.
        unsafe {
            std::arch::asm!(
                "ldmxcsr [{}]", in(reg) &control, options(nostack, readonly, preserves_flags)
            );
        }
    }

    // Miri knows no inline assembly, and no other environment either.
    #[cfg(miri)]
    pub(super) fn control() -> u32 {
        DEFAULT
    }

    #[cfg(miri)]
    pub(super) fn set_control(_control: u32) {}
}

#[cfg(not(target_arch = "x86_64"))]
impl FloatEnv {
    /// The other architectures have no foreign environment to guard against in practice: AArch64
    /// Linux starts every thread in the default one, and no runtime we know of changes it.
    pub(crate) fn standard() -> FloatEnv {
        FloatEnv {}
    }
}

#[cfg(all(test, target_arch = "x86_64", not(miri)))]
mod tests {
    use super::{FloatEnv, x86_64};

    #[test]
    fn a_foreign_environment_is_replaced_and_restored() {
        let before = x86_64::control();
        let foreign = before | 0x8040 | 0x6000; // flush to zero, denormals are zero, truncate
        x86_64::set_control(foreign);
        let inside = {
            let _environment = FloatEnv::standard();
            x86_64::control()
        };
        let after = x86_64::control();
        x86_64::set_control(before);
        assert_eq!(inside & !0x3f, 0x1f80);
        assert_eq!(after & !0x3f, foreign & !0x3f);
    }
}
