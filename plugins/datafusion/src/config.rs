//! What a session can be told: `SET unlade.*`.

use std::any::Any;
use std::fmt;
use std::str::FromStr;

use datafusion::common::config::{
    ConfigEntry, ConfigExtension, ConfigField, ExtensionOptions, Visit,
};
use datafusion::common::{DataFusionError, config_err, config_namespace};
use unlade::Placement;

config_namespace! {
    /// Options of a session, by `SET unlade.NAME = ...` or `SessionConfig::with_option_extension`.
    pub struct UnladeConfig {
        /// Whether anything is taken.
        pub enabled: bool, default = true

        /// `offload`: what is taken runs on devices. `explain`: it runs in DataFusion, and EXPLAIN shows what would be taken. `require`: what cannot be taken, and a batch that another device had to take, is an error.
        pub mode: Mode, default = Mode::Offload

        /// The device to run on, by its name, or `auto` for the one that is predicted to be the fastest.
        pub device: String, default = UnladeConfig::AUTO.to_owned()

        /// Whether to take all that can be taken, however little it is.
        pub force: bool, default = false

        /// Rows from which on taking an operator is worth it, where the number of its input is known.
        pub min_rows: usize, default = 10_000

        /// Whether EXPLAIN shows why operators were left, by a node over each that costs nothing.
        pub notes: bool, default = true
    }
}

impl ConfigExtension for UnladeConfig {
    const PREFIX: &'static str = "unlade";
}

/// As `extensions_options!` makes it, but that options are told by their whole names: whoever sends a
/// session's options to another process sets them there by these.
impl ExtensionOptions for UnladeConfig {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), DataFusionError> {
        ConfigField::set(self, key, value)
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        let mut entries = Entries(Vec::new());
        self.visit(&mut entries, UnladeConfig::PREFIX, "");
        entries.0
    }
}

struct Entries(Vec<ConfigEntry>);

impl Entries {
    fn add(&mut self, key: &str, value: Option<String>, description: &'static str) {
        self.0.push(ConfigEntry {
            key: key.to_owned(),
            value,
            description,
        });
    }
}

impl Visit for Entries {
    fn some<V: fmt::Display>(&mut self, key: &str, value: V, description: &'static str) {
        self.add(key, Some(value.to_string()), description);
    }

    fn none(&mut self, key: &str, description: &'static str) {
        self.add(key, None, description);
    }
}

impl UnladeConfig {
    /// The device's name that leaves the choice to placement.
    pub const AUTO: &'static str = "auto";

    pub(crate) fn placement(&self) -> Placement {
        match self.device.as_str() {
            UnladeConfig::AUTO => Placement::Auto,
            name => Placement::Device(name.into()),
        }
    }
}

/// What becomes of what is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It runs on devices.
    #[default]
    Offload,
    /// It runs in DataFusion, and `EXPLAIN` shows what would be taken.
    Explain,
    /// What cannot be taken is an error, and so is a batch that another device had to take.
    Require,
}

impl FromStr for Mode {
    type Err = DataFusionError;

    fn from_str(text: &str) -> Result<Self, DataFusionError> {
        match text.to_lowercase().as_str() {
            "offload" => Ok(Mode::Offload),
            "explain" => Ok(Mode::Explain),
            "require" => Ok(Mode::Require),
            _ => config_err!("unlade.mode is offload, explain or require, not `{text}`"),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Offload => "offload",
            Mode::Explain => "explain",
            Mode::Require => "require",
        })
    }
}

impl ConfigField for Mode {
    fn visit<V: Visit>(&self, visitor: &mut V, key: &str, description: &'static str) {
        visitor.some(key, self, description);
    }

    fn set(&mut self, _key: &str, value: &str) -> Result<(), DataFusionError> {
        *self = value.parse()?;
        Ok(())
    }
}
