//! `unlade.toml`: settings below the flags and the variables.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Deserialize;

use crate::error::Failure;

/// What the file may set; names are those of the flags.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Settings {
    pub(crate) device: Option<String>,
    pub(crate) semantics: Option<String>,
    pub(crate) overflow: Option<String>,
    pub(crate) cast: Option<String>,
    pub(crate) threads: Option<usize>,
    pub(crate) memory: Option<String>,
    pub(crate) batch_rows: Option<usize>,
    pub(crate) mmap: Option<bool>,
    pub(crate) no_fallback: Option<bool>,
    /// Where it was read from.
    #[serde(skip)]
    source: Option<PathBuf>,
}

impl Settings {
    /// Reads the named file, which must exist, or else the first of the usual ones that does.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, Failure> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => match usual_places().into_iter().find(|path| path.is_file()) {
                Some(path) => path,
                None => return Ok(Settings::default()),
            },
        };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Failure::usage(format!(
                "{}: cannot read the settings: {error}",
                path.display()
            ))
        })?;
        let mut settings: Settings = toml::from_str(&text)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        settings.source = Some(path);
        Ok(settings)
    }

    /// A setting that is one of a flag's choices.
    pub(crate) fn choice<T: ValueEnum>(
        &self,
        name: &str,
        value: Option<&str>,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = value else { return Ok(None) };
        T::from_str(value, false).map(Some).map_err(|_| {
            let source = self.source.as_deref().unwrap_or(Path::new("unlade.toml"));
            let known: Vec<String> = T::value_variants()
                .iter()
                .filter_map(|choice| Some(choice.to_possible_value()?.get_name().to_owned()))
                .collect();
            Failure::usage(format!(
                "{}: {name} = \"{value}\" is none of: {}",
                source.display(),
                known.join(", ")
            ))
        })
    }
}

fn usual_places() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("unlade.toml")];
    let home = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")));
    places.extend(home.map(|home| home.join("unlade/unlade.toml")));
    places
}

/// A number of bytes with an optional unit: `512MB`, `1.5GiB`, `1000000`.
pub(crate) fn bytes(text: &str) -> Result<u64, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "`{text}` is no size; write a number of bytes, or one with a unit: 512MB, 1.5GiB"
        ))
    };
    parse_size::parse_size(text).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_units() {
        assert_eq!(bytes("512MB").unwrap(), 512_000_000);
        assert_eq!(bytes("2 GiB").unwrap(), 2 << 30);
        assert_eq!(bytes("17").unwrap(), 17);
        assert_eq!(bytes("1.5kB").unwrap(), 1500);
        for wrong in ["", "GB", "1TBx", "-1", "99999999999GiB", "1.5.5GB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn unknown_settings_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("unlade.toml");
        std::fs::write(&path, "device = \"cpu\"\ntreads = 2\n").unwrap();
        let message = Settings::load(Some(&path)).unwrap_err().to_string();
        assert!(
            message.contains("treads") && message.contains("threads"),
            "{message}"
        );
    }
}
