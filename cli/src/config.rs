//! `unlade.toml`: settings below the flags and the variables; and which of the three one came from.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::ValueEnum;
use clap::parser::ValueSource;
use serde::Deserialize;

use crate::error::Failure;

/// Larger files are not read: no settings are that long.
const MAX_BYTES: u64 = 1 << 20;

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
    pub(crate) untrusted: Option<bool>,
    pub(crate) calibration: Option<PathBuf>,
    /// Where it was read from.
    #[serde(skip)]
    source: Option<PathBuf>,
}

impl Settings {
    /// Reads the named file, which must exist, or else the first of the usual ones that does.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, Failure> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => match usual_places().into_iter().find(|path| is_there(path)) {
                Some(path) => usual(path)?,
                None => return Ok(Settings::default()),
            },
        };
        let text = read(&path).map_err(|error| {
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

    /// What errors call a setting of the file.
    fn name(&self, key: &str) -> String {
        let source = self.source.as_deref().unwrap_or(Path::new("unlade.toml"));
        format!("{}: {key}", source.display())
    }

    /// A setting that is one of a flag's choices.
    pub(crate) fn choice<T: ValueEnum>(
        &self,
        name: &str,
        value: Option<&str>,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = value else { return Ok(None) };
        T::from_str(value, false).map(Some).map_err(|_| {
            let known: Vec<String> = T::value_variants()
                .iter()
                .filter_map(|choice| Some(choice.to_possible_value()?.get_name().to_owned()))
                .collect();
            Failure::usage(format!(
                "{}: `{value}` is none of: {}",
                self.name(name),
                known.join(", ")
            ))
        })
    }
}

/// Whether there is anything of this name, be it a link to nothing.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// A file in one of the usual places. What is no file there would be skipped in silence, or waited
/// for without end.
fn usual(path: PathBuf) -> Result<PathBuf, Failure> {
    let why = match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => return Ok(path),
        Ok(metadata) if metadata.is_dir() => "it is a folder".to_owned(),
        Ok(_) => "it is a pipe or a device, no file".to_owned(),
        Err(error) => error.to_string(),
    };
    let shown = path.display();
    Err(Failure::usage(format!(
        "{shown}: cannot read the settings: {why}; --config FILE names another"
    )))
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_BYTES {
        return Err(std::io::Error::other(format!(
            "it has more than {MAX_BYTES} bytes"
        )));
    }
    Ok(text)
}

fn usual_places() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("unlade.toml")];
    places.extend(folder("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("unlade.toml")));
    places
}

/// Where the command keeps what it measured, unless told otherwise; nowhere where no folder is set.
pub(crate) fn usual_calibration() -> Option<PathBuf> {
    folder("XDG_CACHE_HOME", ".cache").map(|folder| folder.join("calibration.json"))
}

/// The command's own folder for files of a kind: in the one that a variable names, or in that of the
/// user. As the XDG specification has it, what is empty or no absolute path counts as not set.
fn folder(variable: &str, of_user: &str) -> Option<PathBuf> {
    let set = |variable| {
        std::env::var_os(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let parent = set(variable).or_else(|| set("HOME").map(|home| home.join(of_user)));
    parent.map(|parent| parent.join("unlade"))
}

/// What errors call a setting: the flag, the variable, or the file and its key, whichever it came
/// from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(BTreeMap<&'static str, String>);

impl Names {
    /// The names of a command's settings, which are those of the file.
    pub(crate) fn of(matches: &ArgMatches, settings: &Settings) -> Self {
        let names = KEYS.into_iter().filter_map(|key| {
            let id = key.replace('-', "_");
            let source = matches
                .try_contains_id(&id)
                .ok()
                .and_then(|_| matches.value_source(&id));
            let name = match source {
                Some(ValueSource::CommandLine) => return None,
                Some(ValueSource::EnvVariable) => variable(key),
                _ => settings.name(key),
            };
            Some((key, name))
        });
        Names(names.collect())
    }

    /// What to call a setting.
    pub(crate) fn name(&self, key: &str) -> String {
        self.0
            .get(key)
            .cloned()
            .unwrap_or_else(|| format!("--{key}"))
    }
}

/// The keys of the file, which are also flags and variables.
const KEYS: [&str; 11] = [
    "device",
    "semantics",
    "overflow",
    "cast",
    "threads",
    "memory",
    "batch-rows",
    "mmap",
    "no-fallback",
    "untrusted",
    "calibration",
];

/// The variable of a flag.
pub(crate) fn variable(flag: &str) -> String {
    format!("UNLADE_{}", flag.replace('-', "_").to_ascii_uppercase())
}

/// Least memory for batches: less does not hold a small one, its result, and what is read ahead.
const MIN_MEMORY: u64 = 1_000_000;

/// A number of bytes that batches fit into, with an optional unit: `512MB`, `1.5GiB`, `1000000`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    match parse_size::parse_size(text) {
        Ok(..MIN_MEMORY) => Err(format!("`{text}` is too little memory; 1MB is the least")),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err(format!(
            "`{text}` is no size; write a number of bytes, or one with a unit: 512MB, 1.5GiB"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_units() {
        assert_eq!(bytes("512MB").unwrap(), 512_000_000);
        assert_eq!(bytes("2 GiB").unwrap(), 2 << 30);
        assert_eq!(bytes("1000000").unwrap(), 1_000_000);
        assert_eq!(bytes("1.5MB").unwrap(), 1_500_000);
        for wrong in [
            "1",
            "999999",
            "999kB",
            "",
            "0",
            "0GB",
            "GB",
            "1TBx",
            "-1",
            "99999999999GiB",
            "1.5.5GB",
        ] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_setting_of_the_file_has_a_name() {
        for key in KEYS {
            let text = format!("{key} = 'x'");
            let said = toml::from_str::<Settings>(&text).map_err(|error| error.to_string());
            assert!(
                said.is_ok() || !said.unwrap_err().contains("unknown"),
                "{key}"
            );
        }
        let many = toml::from_str::<Settings>("other = 1")
            .unwrap_err()
            .to_string();
        for key in KEYS {
            assert!(many.contains(&format!("`{key}`")), "{key}: {many}");
        }
        assert_eq!(many.matches('`').count(), 2 * (KEYS.len() + 1), "{many}");
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
