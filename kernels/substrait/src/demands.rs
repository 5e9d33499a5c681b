//! What options of functions and failure behaviours of casts ask of the rules.
//!
//! In Substrait each call may say what overflow does; in a kernel that is said once. So what calls
//! ask for is gathered, and two that ask for different things are refused.

use substrait::proto::FunctionOption;
use unlade_expr::{Dialect, FloatZeroDivision, OnError, Semantics};

use crate::error::SubstraitError;
use crate::functions::{Function, Options};

/// What is asked for, and by whom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demands {
    overflow: Option<(OnError, String)>,
    cast: Option<(OnError, String)>,
    divide_by_zero: Option<(OnError, String)>,
    float_divide_by_zero: Option<(FloatZeroDivision, String)>,
    /// A division of integers whose overflow is to be no error.
    silent_division: Option<String>,
}

/// What an option's value asks for.
#[derive(Clone, Copy, PartialEq)]
enum Demand {
    /// What is so anyway.
    Nothing,
    Overflow(OnError),
    DivideByZero(OnError),
    FloatDivideByZero(FloatZeroDivision),
}

impl Demands {
    /// That a cast throws where a value has no counterpart.
    pub(crate) fn throwing_cast(&mut self) -> Result<(), SubstraitError> {
        let by = "a cast that throws".to_owned();
        meet(&mut self.cast, OnError::Trap, by)
    }

    /// What a call's options ask for. Of the values of an option the first counts that can be met.
    pub(crate) fn options(
        &mut self,
        function: &Function,
        anchor: u32,
        options: &[FunctionOption],
        of_floats: Option<bool>,
    ) -> Result<(), SubstraitError> {
        let refuse = |what: String| SubstraitError::Call {
            name: function.name.to_owned(),
            anchor,
            what,
        };
        for option in options {
            let name = option.name.as_str();
            let known = function.options.by_name(name);
            if !known {
                return Err(refuse(format!("it has no option `{name}`")));
            }
            let Some(of_floats) = of_floats else {
                let what =
                    format!("what `{name}` means depends on its output type, which is not set");
                return Err(refuse(what));
            };
            let mut met = option.preference.iter().filter_map(|value| {
                let demand = demand(name, value, of_floats)?;
                Some((demand, value))
            });
            let Some((demand, value)) = met.next() else {
                let values = option.preference.join(" or ");
                return Err(refuse(format!(
                    "`{name}` is {values}, which is not computed here"
                )));
            };
            let by = format!("`{}` with {name} {value}", function.name);
            if demand == Demand::Overflow(OnError::Wrap) && function.options == Options::Division {
                self.silent_division.get_or_insert_with(|| by.clone());
            }
            match demand {
                Demand::Nothing => {}
                Demand::Overflow(mode) => meet(&mut self.overflow, mode, by)?,
                Demand::DivideByZero(mode) => meet(&mut self.divide_by_zero, mode, by)?,
                Demand::FloatDivideByZero(mode) => meet(&mut self.float_divide_by_zero, mode, by)?,
            }
        }
        Ok(())
    }

    /// Rules with what is asked for in the place of what they say about it.
    pub(crate) fn over(&self, base: &Semantics) -> Result<Semantics, SubstraitError> {
        let mut rules = *base;
        replace(&mut rules.overflow, &self.overflow);
        replace(&mut rules.cast, &self.cast);
        replace(&mut rules.divide_by_zero, &self.divide_by_zero);
        replace(&mut rules.float_divide_by_zero, &self.float_divide_by_zero);
        match &self.silent_division {
            Some(by) if rules.dialect == Dialect::Arrow => {
                Err(SubstraitError::Unsupported(format!(
                    "{by}: by the arrow rules the least integer divided by -1 is an error; ask for ERROR"
                )))
            }
            _ => Ok(rules),
        }
    }
}

impl Options {
    /// The options there are, by name.
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Options::None => &[],
            Options::Arithmetic => &["overflow", "rounding"],
            Options::Division => &[
                "overflow",
                "rounding",
                "on_domain_error",
                "on_division_by_zero",
            ],
            Options::Modulus => &["overflow", "division_type", "on_domain_error"],
        }
    }

    fn by_name(self, name: &str) -> bool {
        self.names().contains(&name)
    }
}

/// What a value of an option asks for, or `None` where that cannot be met.
fn demand(option: &str, value: &str, of_floats: bool) -> Option<Demand> {
    Some(match (option, value, of_floats) {
        // Floats do not overflow: they become infinite, by whatever producers say of that.
        ("overflow", "SILENT" | "ERROR", true) => Demand::Nothing,
        ("overflow", "SILENT", false) => Demand::Overflow(OnError::Wrap),
        ("overflow", "ERROR", false) => Demand::Overflow(OnError::Trap),
        ("rounding", "TIE_TO_EVEN", true) => Demand::Nothing,
        ("division_type", "TRUNCATE", _) => Demand::Nothing,
        // NaN in, NaN out.
        ("on_domain_error", "NAN", true) => Demand::Nothing,
        ("on_domain_error" | "on_division_by_zero", "NULL", false) => {
            Demand::DivideByZero(OnError::Null)
        }
        ("on_domain_error" | "on_division_by_zero", "ERROR", false) => {
            Demand::DivideByZero(OnError::Trap)
        }
        ("on_division_by_zero", "IEEE", true) => Demand::FloatDivideByZero(FloatZeroDivision::Ieee),
        ("on_division_by_zero", "NULL", true) => Demand::FloatDivideByZero(FloatZeroDivision::Null),
        ("on_division_by_zero", "ERROR", true) => {
            Demand::FloatDivideByZero(FloatZeroDivision::Trap)
        }
        _ => return None,
    })
}

fn meet<T: Copy + PartialEq>(
    slot: &mut Option<(T, String)>,
    mode: T,
    by: String,
) -> Result<(), SubstraitError> {
    match slot {
        Some((other, first)) if *other != mode => Err(SubstraitError::Conflict {
            first: first.clone(),
            second: by,
        }),
        Some(_) => Ok(()),
        None => {
            *slot = Some((mode, by));
            Ok(())
        }
    }
}

fn replace<T: Copy>(mode: &mut T, demand: &Option<(T, String)>) {
    if let Some((demanded, _)) = demand {
        *mode = *demanded;
    }
}
