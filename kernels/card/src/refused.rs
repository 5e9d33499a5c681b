//! Why a program is not lowered.

use unlade_program::Val;

/// Why a card's limits do not admit a program.
///
/// `cut` is the last instruction that fits: the instructions up to it, with what is computed there
/// and read behind it as outputs and without a filter, are a program that the card takes, and with
/// one instruction more they are not. `None` where no instruction fits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// More values are needed at once than there are registers.
    #[error("program is too wide for the card: {what}; {}", advice(*.cut))]
    TooWide {
        /// Which registers are short, how many there are, and at which value.
        what: String,
        /// The last instruction that fits.
        cut: Option<Val>,
    },
    /// More words, bytes, constants, inputs or outputs than the card takes.
    #[error("program is too large for the card: {what}; {}", advice(*.cut))]
    TooLarge {
        /// Which limit, with both numbers.
        what: String,
        /// The last instruction that fits.
        cut: Option<Val>,
    },
}

impl Refused {
    /// The last instruction that fits; `None` where none does.
    pub fn cut(&self) -> Option<Val> {
        match *self {
            Refused::TooWide { cut, .. } | Refused::TooLarge { cut, .. } => cut,
        }
    }

    /// The same, with the place to cut.
    pub(crate) fn at(self, cut: Option<Val>) -> Refused {
        match self {
            Refused::TooWide { what, .. } => Refused::TooWide { what, cut },
            Refused::TooLarge { what, .. } => Refused::TooLarge { what, cut },
        }
    }
}

fn advice(cut: Option<Val>) -> String {
    match cut {
        Some(val) => format!("it would fit cut after {val}"),
        None => "no part of it fits, run it elsewhere".to_owned(),
    }
}
